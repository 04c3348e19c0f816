"""Which transport takes a call, and why."""

from __future__ import annotations

import re
import sys
from typing import Any, Literal, NamedTuple

from las_langchain.catalog import model_info
from las_langchain.errors import BadRequestError
from las_langchain.provider_rows import PROVIDERS
from las_langchain.providers import Target
from las_langchain.records import Operation
from las_langchain.transports.wire.dialects import is_openais, needs_translation

Json = dict[str, Any]
Name = Literal["wire", "litellm", "local"]

# The options of providers that are not litellm's alone to understand.
_UNDERSTOOD = frozenset({"api_version", "organization", "azure_ad_token", "extra_headers", "base_model"})
# What litellm's users set to have a part in its calls.
_STATE = (
    "callbacks input_callback success_callback failure_callback _async_success_callback _async_failure_callback "
    "_async_input_callback pre_call_rules post_call_rules cache drop_params modify_params model_alias_map proxy_auth "
    "custom_provider_map client_session aclient_session headers organization force_ipv4 ssl_certificate "
    "ssl_security_level ssl_ecdh_curve route_all_chat_openai_to_responses enable_json_schema_validation"
).split()
# litellm's own variables for what the standard ones do not say of certificates.
_OF_CERTIFICATES = ("SSL_VERIFY", "SSL_CERTIFICATE", "SSL_SECURITY_LEVEL", "SSL_ECDH_CURVE")
# What it, or OpenAI's package for it, reads of the environment.
_OF_PROVIDERS = {"openai": ("OPENAI_PROJECT_ID", "OPENAI_CUSTOM_HEADERS"), "azure": ("AZURE_AD_TOKEN",)}


class Choice(NamedTuple):
    """How a call goes.

    Attributes:
        transport: the transport's name.
        why: for people, such as ``Anthropic has a format of its own``.
    """

    transport: Name
    why: str

    def __str__(self) -> str:
        return f"{self.transport} ({self.why})"


def choose(target: Target, operation: Operation = "chat", body: Json | None = None) -> Choice:
    """The transport for a call.

    Args:
        target: where it goes; one that names a transport gets that.
        operation: what is asked for.
        body: OpenAI's request; None: one that asks for nothing out of the ordinary.

    Raises:
        BadRequestError: the target names a transport that cannot do what is asked for.
    """
    row = PROVIDERS.get(target.provider)
    if target.provider == "local":
        return Choice("local", "it runs in this process")
    if operation in ("speech", "transcription"):
        if target.transport == "wire":
            raise BadRequestError(f"transport: {operation} goes through litellm, not 'wire'", param="transport")
        return Choice("litellm", "sounds go through litellm")
    if target.transport == "wire":
        return Choice("wire", "transport='wire' asks for it")
    if row is None:
        return Choice("litellm", f"only litellm knows {target.provider}")
    if row.wire is None:
        return Choice("litellm", f"{row.title} has a format of its own")
    why = _configured(target) or _of_the_model(target) or (_asked(target, body) if body else None)
    return Choice("litellm", why) if why else Choice("wire", f"{row.title} speaks OpenAI's format")


def _configured(target: Target) -> str | None:
    """What in the configuration is litellm's to do; None: nothing."""
    if target.transport == "litellm":
        return "transport='litellm' asks for it"
    for name in target.options:
        if name not in _UNDERSTOOD:
            return f"the option {name} is litellm's"
    settings = target.setup.settings if target.setup else None
    if settings is not None:
        if settings.transport == "litellm":
            return "LAS_TRANSPORT=litellm asks for it"
        if settings.callbacks:
            return "LAS_CALLBACKS hear only of litellm's calls"
        for name in (*_OF_CERTIFICATES, *_OF_PROVIDERS.get(target.provider, ())):
            if settings.variable(name):
                return f"{name} is litellm's"
    return _of_litellm()


def _of_litellm() -> str | None:
    litellm = sys.modules.get("litellm")
    if litellm is None:
        return None
    if litellm.__dict__.get("ssl_verify", True) is not True:
        return "litellm.ssl_verify is set"
    # What is still being imported has not been given anything.
    name = next((name for name in _STATE if litellm.__dict__.get(name)), None)
    return f"litellm.{name} is set" if name else None


def _of_the_model(target: Target) -> str | None:
    if target.provider not in ("openai", "azure"):
        return None
    is_answered_by = model_info(target.provider, target.model).get("mode") == "responses"
    if is_answered_by or target.model.startswith("responses/"):
        return f"{target.model} is asked by OpenAI's Responses API"
    if target.provider == "azure" and "/" in target.model:
        return "litellm reads the family of the model in its name"
    return None


def _asked(target: Target, body: Json) -> str | None:
    """What in the request is litellm's to do; None: nothing."""
    if (name := needs_translation(target, body)) is not None:
        return f"{name} is translated by litellm"
    if target.provider == "azure" and "response_format" in body and _OLD_AZURE.match(_azures(target)):
        return "response_format is translated by litellm for this api_version or model"
    if _at_openais(target) and any(map(_is_a_choice, body.get("tools") or ())):
        return "the parameters of a tool are a choice, which litellm puts right"
    if _needs_responses(target, body):
        return f"{target.model} reasons with tools only in OpenAI's Responses API"
    return None


def _azures(target: Target) -> str:
    return f"{target.options.get('api_version') or ''} {target.model}"


# Those that know no schemas.
_OLD_AZURE = re.compile(r"20(2[0-3]|24-0[1-7])|.*gpt-3\.?5")
# The models of OpenAI's that refuse tools in a chat while they reason.
_NEW = re.compile(r"gpt-(5\.([4-9]|\d\d)|[6-9])")


def _needs_responses(target: Target, body: Json) -> bool:
    if not body.get("tools") or not _NEW.match(target.model) or body.get("reasoning_effort") == "none":
        return False
    return _at_openais(target) and any(
        tool.get("type") == "function" for tool in body["tools"] if isinstance(tool, dict)
    )


def _at_openais(target: Target) -> bool:
    # Other servers at an address of their own may have no other API, and other rules.
    return target.provider == "azure" or (target.provider == "openai" and is_openais(target.api_base))


_CHOICES = frozenset({"anyOf", "oneOf", "allOf", "enum", "const", "not"})


def _is_a_choice(tool: Any) -> bool:
    """Whether the parameters of *tool* are none but one of several, which OpenAI refuses."""
    function = tool.get("function") if isinstance(tool, dict) else None
    parameters = function.get("parameters") if isinstance(function, dict) else None
    return isinstance(parameters, dict) and not _CHOICES.isdisjoint(parameters)
