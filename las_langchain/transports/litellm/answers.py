"""litellm's answers and chunks as OpenAI would have sent them."""

from __future__ import annotations

from typing import Any

import litellm
from litellm.types.utils import Delta, ModelResponseStream, StreamingChoices

from las_langchain import errors
from las_langchain.transports.wire.answers import encoded

Json = dict[str, Any]

_TEXTS = frozenset({str})
_SCALARS = frozenset({str, int, float, bool, type(None)})


def clean_completion(response: Json) -> Json:
    """litellm's answer as OpenAI would have sent it.

    Raises:
        APIError: it holds no answer.
    """
    if not response.get("choices"):
        raise errors.APIError("The provider's answer has no choices")
    for choice in response["choices"]:
        own = choice["message"].pop("provider_specific_fields", None) or {}
        _check_choice(choice.pop("provider_specific_fields", None) or {})
        message = {key: value for key, value in choice["message"].items() if value is not None and value != []}
        refusal = choice["message"].get("refusal") or own.get("refusal")
        # Anthropic's, a list of them for each block of text.
        if cited := [citation for group in own.get("citations") or () for citation in group]:
            message["citations"] = cited
        if "reasoning" in message:
            message["reasoning_content"] = message.pop("reasoning")
        for call in message.get("tool_calls", ()):
            # Gemini's, Bedrock's and Anthropic's; what of it must go back is in the id too.
            for name in ("index", "provider_specific_fields", "caller"):
                call.pop(name, None)
            message.update(content=message.get("content") or None)
        if not message.get("tool_calls") and choice["finish_reason"] == "tool_calls":
            # The tool was litellm's own, for a schema.
            choice["finish_reason"] = "stop"
        choice["message"] = {"content": None, **message, "refusal": refusal}
        choice["logprobs"] = choice.get("logprobs")
    if response.get("usage"):
        response["usage"] = _without_none(response["usage"])
    response["model"] = (response.get("model") or "").removeprefix("ollama_chat/")
    return _without_none(response)


def _check_choice(own: Json) -> None:
    """Raise the error that OpenRouter puts into a choice of a good answer, which litellm takes for an empty one."""
    if error := own.get("error"):
        status = error["code"] if isinstance(error.get("code"), int) else 502
        raise litellm.APIError(status, str(error.get("message")), "", "")


def chunk_of(chunk: Any, model: str | None = None) -> Json:
    """litellm's *chunk* as :func:`clean_chunk` makes it of its dump; nearly all need no dump for it.

    Args:
        chunk: litellm's.
        model: which model the provider says it is; None: litellm's word on it.
    """
    told = _plain(chunk)
    if told is None:
        return clean_chunk(chunk.model_dump(), model)
    if model:
        told["model"] = model
    return told


def _plain(chunk: Any) -> Json | None:
    """The same of a *chunk* with one choice and nothing in it but words; None: it is none."""
    if type(chunk) is not ModelResponseStream or len(chunk.choices) != 1:
        return None
    choice = chunk.choices[0]
    # To litellm's class, which has no fields, all that is in a choice is extra.
    if type(choice) is not StreamingChoices or choice.__dict__:
        return None
    parts: Json = dict(choice.__pydantic_extra__)
    delta, parts["delta"] = parts.get("delta"), None
    if type(delta) is not Delta:
        return None
    kept = _set(delta)
    told: Json = {**_set(chunk), "choices": None}
    if not (_TEXTS.issuperset(map(type, kept.values())) and _is_flat(parts) and _is_flat(told)):
        return None
    if "reasoning_content" in kept:
        kept.pop("reasoning", None)
    parts["delta"] = {"content": "", **kept} if "role" in kept else kept
    told["choices"] = [parts]
    return told


def _set(model: Any) -> Json:
    """What *model* has that is not None, which is the default of each of its fields."""
    return {key: value for key, value in (model.__dict__ | model.__pydantic_extra__).items() if value is not None}


def _is_flat(fields: Json) -> bool:
    return _SCALARS.issuperset(map(type, fields.values()))


def clean_chunk(chunk: Json, model: str | None = None) -> Json:
    """litellm's chunk as OpenAI would have sent it; its usage chunk loses the empty choice.

    Args:
        chunk: litellm's.
        model: which model the provider says it is; None: litellm's word on it.
    """
    chunk["model"] = model or chunk.get("model")
    for choice in chunk["choices"]:
        delta = choice["delta"]
        own = delta.pop("provider_specific_fields", None) or {}
        if own.get("citation"):
            delta["citations"] = [own["citation"]]
        kept = {key: value for key, value in delta.items() if value is not None and value != []}
        if "reasoning_content" in kept:
            # OpenRouter's own name for the same.
            kept.pop("reasoning", None)
        # The role comes with an empty text, as clients expect of the first chunk.
        choice["delta"] = {"content": "", **kept} if "role" in kept and "tool_calls" not in kept else kept
        for call in kept.get("tool_calls", ()):
            _clean_call(call)
        if "function_call" in kept:
            choice["delta"]["function_call"] = _without_none(kept["function_call"])
    if chunk.get("usage"):
        chunk["usage"] = _without_none(chunk["usage"])
        chunk["usage"].pop("cost", None)
        chunk["choices"] = [choice for choice in chunk["choices"] if choice["delta"] or choice.get("finish_reason")]
    return _without_none(chunk)


def clean_embeddings(response: Json, encoding: str | None) -> Json:
    """litellm's embeddings as OpenAI would have sent them.

    Args:
        response: litellm's answer.
        encoding: the form that was asked for, which not every provider knows.

    Raises:
        APIError: it holds none.
    """
    if not response.get("data"):
        raise errors.APIError("The provider's answer has no embeddings")
    for item in response["data"] if encoding else ():
        item["embedding"] = encoded(item.get("embedding"), encoding)
    response["model"] = (response.get("model") or "").removeprefix("ollama/")
    answer = _without_none(response)
    # litellm counts them for every call; vectors have none.
    return {**answer, "usage": {k: v for k, v in answer.get("usage", {}).items() if k != "completion_tokens"}}


def _clean_call(call: Json) -> None:
    if call.get("custom"):
        # litellm adds a function without a word in it.
        call.pop("function", None)
        call["custom"] = _without_none(call["custom"])
    else:
        call["function"] = _without_none(call.get("function") or {})
    call.pop("provider_specific_fields", None)
    if call.get("id") is None:
        call.pop("id", None)
        call.pop("type", None)


def _without_none(value: Json) -> Json:
    """*value* without litellm's own keys and without keys that are None, one level into its dicts."""
    dropped = {"provider_specific_fields", "_response_headers", "hidden_params"}
    kept = {key: item for key, item in value.items() if item is not None and key not in dropped}
    # Gemini's, on every answer and chunk.
    kept = {key: item for key, item in kept.items() if item != [] or not key.startswith("vertex_ai_")}
    return {
        key: {k: v for k, v in item.items() if v is not None} if isinstance(item, dict) else item
        for key, item in kept.items()
    }
