"""One call of a chat model: from its fields and a call's arguments to a target and a request."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar, cast

from langchain_core.messages import BaseMessage
from pydantic import SecretStr

from las_langchain.errors import BadRequestError, ContextWindowExceededError, LASError
from las_langchain.keys import ApiKey
from las_langchain.messages import to_openai
from las_langchain.providers import Target
from las_langchain.structured import response_format

if TYPE_CHECKING:
    from las_langchain.chat_models import ChatLAS

Json = dict[str, Any]
T = TypeVar("T")

REQUEST_FIELDS = (
    "temperature", "top_p", "top_k", "max_tokens", "stop", "n", "seed", "presence_penalty", "frequency_penalty",
    "logprobs", "top_logprobs", "logit_bias", "reasoning_effort", "response_format", "parallel_tool_calls", "user",
    "service_tier", "extra_body", "extra_headers",
)  # fmt: skip
"""Fields that go into the request under their own names."""

ALIASES = {
    "max_completion_tokens": "max_tokens",
    "request_timeout": "timeout",
    "stop_sequences": "stop",
    "base_url": "api_base",
}
"""Names that users know from other chat models."""

# Fields that are about the call itself.
_CALL_FIELDS = (
    "timeout", "stream_timeout", "max_retries", "api_key", "api_base", "organization", "transport", "model_kwargs",
)  # fmt: skip
# What is a provider's own, and never another's.
_CREDENTIALS = frozenset({"api_key", "api_base", "organization"})
# What LangChain and the stream add to a call's arguments.
_LANGCHAINS = frozenset({"ls_structured_output_format", "structured_output_format", "stream", "stream_usage"})


def renamed(given: Json) -> Json:
    """*given* under the names that the fields have.

    Raises:
        ValueError: one is given twice.
    """
    result = dict(given)
    for alias, name in ALIASES.items():
        if alias in result:
            if name in result:
                raise ValueError(f"{alias} is another name of {name}: give one of them")
            result[name] = result.pop(alias)
    return result


class Call:
    """One call to one model.

    Args:
        owner: the chat model whose fields hold where *given* says nothing.
        model: the id of the model to ask.
        first_model: the id of the model that *given* was meant for; this one may be its fallback.
        messages: the prompt.
        given: the call's own arguments, none of them None.
    """

    def __init__(
        self, owner: ChatLAS, model: str | None, first_model: str | None, messages: list[BaseMessage], given: Json
    ) -> None:
        self._owner = owner
        self._model = model
        self._messages = messages
        self._given = {name: value for name, value in given.items() if name not in _LANGCHAINS}
        provider = owner._provider_of
        self._own: Json = {name: self._given.pop(name, None) for name in _CALL_FIELDS}
        is_first = provider(model) == provider(first_model)
        is_owners = provider(model) == provider(owner.model)
        for name in _CALL_FIELDS:
            given_value = self._own[name] if is_first or name not in _CREDENTIALS else None
            field = getattr(owner, name) if is_owners or name not in _CREDENTIALS else None
            self._own[name] = field if given_value is None else given_value

    @property
    def key(self) -> ApiKey | str | None:
        """The key for this call, if it is not the settings'."""
        return cast("ApiKey | str | None", self._own["api_key"])

    @property
    def max_retries(self) -> int | None:
        """Further tries after a failure; None: the settings'."""
        return cast("int | None", self._own["max_retries"])

    def request(self, key: SecretStr | None) -> tuple[Target, Json]:
        """Where the call goes, and OpenAI's request.

        Args:
            key: what :attr:`key` resolved to.
        """
        own = self._own
        target = self._owner._service.target(
            self._model, api_key=key, api_base=own["api_base"], transport=own["transport"]
        )
        waits = {name: own[name] for name in ("timeout", "stream_timeout") if own[name] is not None}
        target = replace(target, **waits)
        fields = {name: getattr(self._owner, name) for name in REQUEST_FIELDS}
        body = {**fields, **self._own["model_kwargs"], **self._given}
        if own["organization"]:
            body["extra_headers"] = {"OpenAI-Organization": own["organization"], **(body["extra_headers"] or {})}
        body["response_format"] = response_format(body["response_format"])
        sent = {name: value for name, value in body.items() if value is not None}
        return target, {"messages": to_openai(self._messages, target.provider), **sent}


def first_answer(attempts: Sequence[Callable[[], T]]) -> T:
    """What the first of *attempts* returns that does not fail.

    Raises:
        LASError: the last one's failure; or the first that says that the request itself is wrong, which no other model
            would take either.
    """
    for attempt in attempts[:-1]:
        try:
            return attempt()
        except LASError as error:
            _check_falls_back(error)
    return attempts[-1]()


async def afirst_answer(attempts: Sequence[Callable[[], Awaitable[T]]]) -> T:
    """Async form of :func:`first_answer`."""
    for attempt in attempts[:-1]:
        try:
            return await attempt()
        except LASError as error:
            _check_falls_back(error)
    return await attempts[-1]()


def _check_falls_back(error: LASError) -> None:
    if isinstance(error, BadRequestError) and not isinstance(error, ContextWindowExceededError):
        raise error
