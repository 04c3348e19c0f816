"""One call of a chat model: from its fields and a call's arguments to a target and a request."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from functools import cache, cached_property
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, cast

from langchain_core.messages import BaseMessage
from pydantic import BaseModel, ConfigDict, SecretStr, TypeAdapter, ValidationError

from las_langchain.asked import asked_fields, fitting
from las_langchain.catalog import model_info
from las_langchain.deployments import alias_of
from las_langchain.errors import BadRequestError, LASError, loggable
from las_langchain.exchanges import Exchange
from las_langchain.keys import ApiKey
from las_langchain.messages import to_openai
from las_langchain.providers import Target
from las_langchain.structured import response_format
from las_langchain.tries import is_final

if TYPE_CHECKING:
    from las_langchain.chat_models import ChatLAS

Json = dict[str, Any]
T = TypeVar("T")
logger = logging.getLogger(__name__)

REQUEST_FIELDS = (
    "temperature", "top_p", "top_k", "max_tokens", "stop", "n", "seed", "presence_penalty", "frequency_penalty",
    "logprobs", "top_logprobs", "logit_bias", "reasoning_effort", "response_format", "parallel_tool_calls", "user",
    "service_tier", "extra_body",
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
_CALL_FIELDS = frozenset(
    "timeout stream_timeout max_retries api_key api_base organization transport model_kwargs extra_headers".split()
)
_FIELDS = _CALL_FIELDS.union(REQUEST_FIELDS)
# What is a provider's own, and never another's.
_PROVIDERS_OWN = frozenset({"api_key", "api_base", "organization", "extra_headers", "extra_body"})
# What LangChain and the stream add to a call's arguments.
_NOT_SENT = frozenset({"ls_structured_output_format", "structured_output_format", "stream", "stream_usage"})


def renamed(given: Json) -> Json:
    """A call's arguments under the names that the fields have; of two names of one field, the later holds."""
    result: Json = {}
    for name, value in given.items():
        result[ALIASES.get(name, name)] = value
    return result


def checked(given: Json, owner: type[BaseModel]) -> Json:
    """A call's arguments, those that are fields of *owner* as these take them.

    Raises:
        BadRequestError: one does not fit; ``param`` names it.
    """
    fields = owner.model_fields
    return {name: _checked(name, value, owner) if name in fields else value for name, value in given.items()}


def _checked(name: str, value: Any, owner: type[BaseModel]) -> Any:
    if name == "response_format" and isinstance(value, type):
        # The request has its schema.
        return value
    try:
        return _adapter(owner, name).validate_python(value)
    except ValidationError as error:
        raise BadRequestError(f"{name}: {error.errors()[0]['msg']}", param=name) from None


@cache
def _adapter(owner: type[BaseModel], name: str) -> TypeAdapter[Any]:
    """Checks a field alone; kept, since making one takes longer than a call."""
    field = owner.model_fields[name]
    constrained: Any = Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation
    return TypeAdapter(constrained, config=ConfigDict(arbitrary_types_allowed=True))


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
        self.model = model
        self._owner = owner
        self._messages = messages
        self._asked = asked_fields()
        self._given = _without(_NOT_SENT, given)
        is_first = model == first_model or owner._provider_of(model) == owner._provider_of(first_model)
        is_owners = model == owner.model or _is_of_owners_provider(model, owner)
        self._holding = {
            **vars(owner),
            **({} if is_owners else dict.fromkeys(_PROVIDERS_OWN)),
            **(self._given if is_first else _without(_PROVIDERS_OWN, self._given)),
        }

    @property
    def key(self) -> ApiKey | str | None:
        """The key for this call, if it is not the settings'."""
        return cast("ApiKey | str | None", self._holding["api_key"])

    def exchange(self, key: SecretStr | None, *, stream: bool = False) -> Exchange:
        """The call, not sent yet.

        Args:
            key: what :attr:`key` resolved to.
            stream: whether the answer is to come in chunks.

        Raises:
            LASError: no such model, no key for it, or a message that cannot be sent.
        """
        if self._fields.keys() & {"functions", "function_call"}:
            raise BadRequestError("functions were replaced by tools: use bind_tools", param="functions")
        return self._owner._service.exchange(
            "chat", self._target(key), self._request, stream=stream, max_retries=self._holding["max_retries"]
        )

    def _request(self, target: Target) -> Json:
        """OpenAI's request, in the words of *target*, which may be the settings' fallback for the model."""
        fields = self._fields
        if "extra_body" in fields and target.provider != self._owner._provider_of(self.model):
            fields = _without({"extra_body"}, fields)
        return {"messages": to_openai(self._messages, target.provider), **self._left_open(target), **fields}

    def _left_open(self, target: Target) -> Json:
        """What is asked for around this call and neither it nor the chat model says."""
        if not self._asked:
            return {}
        known = model_info(target.provider, target.model)
        most = known.get("max_output_tokens")
        longest = most if isinstance(most, int) and most > 0 else None
        reasons = bool(known.get("supports_reasoning"))
        return fitting(self._asked, target.provider, target.model, reasons=reasons, longest=longest)

    @cached_property
    def _fields(self) -> Json:
        holding = self._holding
        body = {name: holding[name] for name in REQUEST_FIELDS} | holding["model_kwargs"]
        body |= _without(_FIELDS, self._given)
        body["response_format"] = response_format(body["response_format"])
        return {name: value for name, value in body.items() if value is not None}

    def _target(self, key: SecretStr | None) -> Target:
        organization = self._holding["organization"]
        named = {"OpenAI-Organization": organization} if organization else {}
        return self._owner._service.target(
            self.model,
            api_key=key,
            api_base=self._holding["api_base"],
            transport=self._holding["transport"],
            timeout=self._holding["timeout"],
            stream_timeout=self._holding["stream_timeout"],
            headers={**named, **(self._holding["extra_headers"] or {})} or None,
        )


def _without(names: Collection[str], fields: Json) -> Json:
    return {name: value for name, value in fields.items() if name not in names}


def _is_of_owners_provider(model: str | None, owner: ChatLAS) -> bool:
    """Whether another model than *owner*'s takes the key, address and headers of *owner*; aliases have their own."""
    aliased = alias_of(model or "", owner._service.settings.models) is not None
    return not aliased and owner._provider_of(model) == owner._provider_of(owner.model)


async def first_answer(ask: Callable[[Call], Awaitable[T]], calls: Sequence[Call]) -> T:
    """What *ask* returns for the first of *calls* that does not fail.

    Raises:
        LASError: the last one's failure; or the first that says that the request itself is wrong, which no other model
            would take either.
    """
    for call in calls[:-1]:
        try:
            return await ask(call)
        except LASError as error:
            _go_on_after(error, call)
    return await ask(calls[-1])


def _go_on_after(error: LASError, call: Call) -> None:
    """Note why the next model is asked; raises *error* where that would say the same."""
    if is_final(error):
        raise error
    why = loggable(error, log_prompts=call._owner._service.settings.log_prompts)
    logger.warning("%s failed, asking the next model: %s", call.model, why)
