"""Which fields beside OpenAI's a client may send: those that the provider, or the settings, allow."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from las_langchain.deployments import served_model
from las_langchain.errors import BadRequestError
from las_langchain.fields import CHAT_FIELDS, EXTRA_FIELDS, OPENAI_FIELDS, for_provider, is_routing, unknown_field
from las_langchain.providers import Target, extra_fields, split_name
from las_langchain.settings import LASSettings, nearest
from las_langchain.tries import Request

Json = dict[str, Any]

_SERVERS = "; where a call goes, and with which key, is the server's alone to say"
# Made by the endpoints that translate, for the provider that was asked for; clients' are refused before.
_TRANSLATED = "extra_body"


def refuse_routing(names: Iterable[str]) -> None:
    """Refuse what says where a call goes, or with which credentials, whatever the settings say.

    Raises:
        BadRequestError: one of *names*, of a client's fields, does.
    """
    for name in names:
        if is_routing(name):
            raise unknown_field(name, _SERVERS)


def for_model(body: Json, target: Target, settings: LASSettings, known: frozenset[str] = OPENAI_FIELDS) -> Request:
    """*body* as the model that is about to be asked gets it, which may be a fallback of another provider.

    Args:
        body: a request that a client has sent.
        target: whom to ask first.
        settings: say which fields clients may send.
        known: the fields that every provider may get.

    Raises:
        BadRequestError: a field is neither known, nor allowed for *target* or a deployment of its alias.
    """
    own = body.keys() - known
    if not own:
        return body
    allowed = _allowed(target, settings)
    for name in body:
        if name in own and name not in allowed and name != _TRANSLATED:
            raise _unknown(name, known | allowed, target.provider)
    return lambda asked: for_provider(
        body, known, asked.extra_fields.union((_TRANSLATED,) if asked.provider == target.provider else ())
    )


def for_chain(body: Json) -> Json:
    """*body* as a chain gets it: without what only some of the models know that it may ask.

    Raises:
        BadRequestError: a field is unknown.
    """
    for name in body:
        if name not in OPENAI_FIELDS and name not in EXTRA_FIELDS and name not in CHAT_FIELDS:
            raise _unknown(name, OPENAI_FIELDS | EXTRA_FIELDS, "local")
    return {name: value for name, value in body.items() if name in CHAT_FIELDS}


def _allowed(target: Target, settings: LASSettings) -> frozenset[str]:
    """What clients may send to *target*, or to any other deployment of its alias."""
    alias, allowed = target.alias or "", target.extra_fields
    entry = settings.models.get(alias)
    for deployment in entry.deployments if entry else ():
        name = served_model(deployment.model, target.asked or alias, alias)
        allowed = allowed.union(extra_fields(split_name(name, settings)[0], settings), deployment.extra_fields)
    return allowed


def _unknown(name: str, known: Iterable[str], provider: str) -> BadRequestError:
    hint = nearest(name, known)
    if not hint and provider != "local":
        hint = f"; {provider} gets it only if extra_fields of [providers.{provider}] in las.toml names it"
    return unknown_field(name, hint)
