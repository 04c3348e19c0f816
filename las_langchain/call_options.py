"""What a call may say beside its messages: the fields of OpenAI's request, and how the call itself is made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, TypedDict, cast

from pydantic import BaseModel
from typing_extensions import is_typeddict

from las_langchain.deployments import is_address
from las_langchain.errors import BadRequestError
from las_langchain.keys import ApiKey
from las_langchain.provider_rows import PROVIDERS
from las_langchain.providers import Overrides, known_provider, model_id, split_name
from las_langchain.settings import LASSettings, nearest

if TYPE_CHECKING:
    from las_langchain.tools import ToolLike

Json = dict[str, Any]
Kind = Literal["model", "embedding_model"]


class CallOptions(TypedDict, total=False):
    """How a call is made; None counts as not said.

    Attributes:
        timeout: longest wait for the first byte, in seconds; default: the settings'.
        stream_timeout: longest silence between two chunks, in seconds; default: the settings'.
        max_retries: further tries after a retryable failure; default: the settings'.
        api_key: the key, or a function that returns it; default: the settings'.
        api_base: the address of the API; default: the settings'.
        extra_headers: headers beside the settings'.
        extra_body: further fields of the provider's own; not sent to a fallback of another provider.
    """

    timeout: float | None
    stream_timeout: float | None
    max_retries: int | None
    api_key: ApiKey | str | None
    api_base: str | None
    extra_headers: Mapping[str, str] | None
    extra_body: Json | None


class ToolChatOptions(CallOptions, total=False):
    """The fields of OpenAI's chat request but ``tools``, and those of :class:`CallOptions`; None counts as not said.

    ``tool_choice`` may also be a tool's name, and ``response_format`` a pydantic class.
    """

    temperature: float | None
    top_p: float | None
    top_k: int | None
    n: int | None
    stop: str | list[str] | None
    seed: int | None
    max_tokens: int | None
    max_completion_tokens: int | None
    presence_penalty: float | None
    frequency_penalty: float | None
    logit_bias: dict[str, float] | None
    logprobs: bool | None
    top_logprobs: int | None
    tool_choice: str | bool | Json | None
    parallel_tool_calls: bool | None
    functions: list[Json] | None
    function_call: str | Json | None
    response_format: type | Json | None
    reasoning_effort: str | None
    thinking: Json | None
    verbosity: str | None
    modalities: list[str] | None
    audio: Json | None
    prediction: Json | None
    web_search_options: Json | None
    service_tier: str | None
    store: bool | None
    metadata: Json | None
    moderation: Json | None
    user: str | None
    safety_identifier: str | None
    prompt_cache_key: str | None
    prompt_cache_options: Json | None
    prompt_cache_retention: str | None
    stream_options: Json | None


class ChatOptions(ToolChatOptions, total=False):
    """The fields of OpenAI's chat request, and those of :class:`CallOptions`; None counts as not said.

    Attributes:
        tools: functions, pydantic classes, LangChain tools, :class:`~las_langchain.tools.ToolDefinition` or dicts.
    """

    tools: Iterable[ToolLike] | None


_OF_THE_CALL = CallOptions.__annotations__.keys() - {"extra_body"}
_CONVERTED = {"tools", "tool_choice", "response_format"}
_OBJECTS = ("extra_body", "stream_options", "metadata")
_POSITIVE = ("timeout", "stream_timeout")


def check_options(options: Mapping[str, Any], known: type, more: Iterable[str] = ()) -> None:
    """Check what a call says.

    Args:
        options: the call's.
        known: the TypedDict of what it may say.
        more: names that it has beside these.

    Raises:
        BadRequestError: a name is unknown, or a value is none that a call can be made with; ``param`` names it.
    """
    names = [*known.__annotations__, *more]
    for name, value in options.items():
        if name not in names:
            hint = nearest(name, names) or "; a field of the provider's own goes into extra_body"
            raise BadRequestError(f"Unknown argument {name!r}{hint}", param=name)
        if value is not None and (fault := _fault(name, value)):
            raise BadRequestError(f"{name}: expected {fault}, not {value!r:.60}", param=name)


def _fault(name: str, value: Any) -> str | None:
    """What *value* should have been; None if it is that."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if name in _POSITIVE and not (number and value > 0):
        return "a number of seconds above 0"
    if name == "max_retries" and not (number and isinstance(value, int) and value >= 0):
        return "a whole number from 0"
    if name in _OBJECTS and not isinstance(value, Mapping):
        return "an object"
    if name == "response_format" and not isinstance(value, Mapping):
        schema = isinstance(value, type) and (issubclass(value, BaseModel) or is_typeddict(value))
        return None if schema else "an object, or a pydantic class or TypedDict"
    if name == "extra_headers" and not _is_headers(value):
        return "an object of texts"
    if name == "api_base" and not is_address(value):
        return "an address such as https://host/v1"
    return None


def _is_headers(value: Any) -> bool:
    return isinstance(value, Mapping) and all(isinstance(text, str) for item in value.items() for text in item)


def chat_fields(options: Mapping[str, Any]) -> Json:
    """The fields of OpenAI's chat request in *options*; those that are None are left out.

    Raises:
        BadRequestError: ``tool_choice`` names none of the tools, or ``tools`` holds something else.
    """
    fields = {name: value for name, value in options.items() if value is not None and name not in _OF_THE_CALL}
    if fields.keys() & _CONVERTED:
        _convert(fields)
    return {name: value for name, value in fields.items() if value is not None}


def _convert(fields: Json) -> None:
    # Imported when needed: they load much of LangChain, which most calls do without.
    from las_langchain.structured import response_format
    from las_langchain.tools import converted_tools, openai_tool_choice

    if "tools" in fields:
        # Providers refuse an empty list.
        fields["tools"] = converted_tools(fields["tools"]) or None
    if "tool_choice" in fields:
        fields["tool_choice"] = openai_tool_choice(fields["tool_choice"], fields.get("tools") or ())
    if "response_format" in fields:
        fields["response_format"] = response_format(fields["response_format"])


def overrides_of(options: Mapping[str, Any]) -> Overrides:
    """What *options*, whose key is known by now, say in place of the settings."""
    given = {name: options.get(name) for name in ("api_key", "api_base", "timeout", "stream_timeout")}
    return cast("Overrides", {**given, "headers": options.get("extra_headers")})


def chosen_model(model: str | None, provider: str | None, settings: LASSettings, kind: Kind = "model") -> str:
    """The id of the model that a call asks for.

    Args:
        model: as in :func:`~las_langchain.providers.model_id`; None: the settings', if it is of *provider*.
        provider: the provider, if *model* does not name it.
        settings: where the default model comes from.
        kind: which of the settings' models that is.

    Raises:
        ModelNotFoundError: there is no such provider.
        BadRequestError: there is a provider and no model.
    """
    if model is not None and not isinstance(model, str):
        raise BadRequestError(f"model: expected a name, not {type(model).__name__}", param="model")
    if provider is not None:
        known_provider(provider)
    if model:
        default_provider = settings.default_provider or settings.model.partition("/")[0]
        # Ollama's own names have colons too: mistral:7b is not to go to Mistral where Ollama is meant.
        return model if provider is None and default_provider == "ollama" else model_id(model, provider)
    default: str = getattr(settings, kind)
    if provider is None or split_name(default, settings)[0] == provider:
        return default
    hint = f", such as {PROVIDERS[provider].example}" if provider in PROVIDERS and kind == "model" else ""
    raise BadRequestError(f"model: name one of {provider}{hint}", param="model")
