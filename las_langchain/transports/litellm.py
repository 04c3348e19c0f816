"""Every provider, through litellm.

This is the only module that imports it, which takes seconds; so import this one lazily.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import warnings
from collections.abc import AsyncGenerator, Generator, Iterator
from typing import Any

# Read by litellm while it is imported: no price map from the network, no .env of parent folders, no chatter.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
os.environ.setdefault("LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS", "True")
os.environ.setdefault("LITELLM_MODE", "PRODUCTION")
os.environ.setdefault("LITELLM_LOG", "ERROR")

import litellm
from litellm.llms.openai_like.json_loader import JSONProviderRegistry

from las_langchain import errors
from las_langchain.providers import PROVIDERS, Target, variable_prefix
from las_langchain.settings import nearest
from las_langchain.transports.background import BACKGROUND
from las_langchain.transports.checks import check_messages

Json = dict[str, Any]

# pydantic's remark on litellm's typed dicts, made at the first call, says nothing to its users.
warnings.filterwarnings("ignore", message="Item '.*' on TypedDict class", category=UserWarning)

litellm.suppress_debug_info = True
litellm.disable_hf_tokenizer_download = True
litellm.telemetry = False

# litellm takes hundreds of further arguments, among them where the call goes and with which key, and forwards what it
# does not know: only these are passed on.
CHAT_FIELDS = frozenset(
    "messages temperature top_p n stop max_tokens max_completion_tokens presence_penalty frequency_penalty logit_bias "
    "user response_format seed tools tool_choice parallel_tool_calls logprobs top_logprobs modalities audio prediction "
    "reasoning_effort verbosity service_tier store metadata web_search_options safety_identifier prompt_cache_key "
    "stream_options functions function_call "
    # Not OpenAI's, but of several providers:
    "top_k thinking extra_body extra_headers".split()
)
EMBEDDING_FIELDS = frozenset("input dimensions encoding_format user extra_body extra_headers".split())
_OPENAI_LIKE = {
    *litellm.openai_compatible_providers,
    *JSONProviderRegistry.list_providers(),
    *("ai21", "custom_openai", "litellm_proxy", "mistral", "text-completion-openai"),
}
_TAKE_METADATA = frozenset({"openai", "azure"})
# litellm has two dialects of Ollama: the better one for chat does not embed.
_EMBEDDING_PREFIXES = {"ollama_chat/": "ollama/"}


class LiteLLMBadRequestError(errors.BadRequestError, litellm.BadRequestError, litellm.exceptions.InvalidRequestError):
    """A :class:`~las_langchain.errors.BadRequestError` that litellm's users catch too."""


class LiteLLMContextWindowExceededError(
    errors.ContextWindowExceededError, LiteLLMBadRequestError, litellm.ContextWindowExceededError
):
    """A :class:`~las_langchain.errors.ContextWindowExceededError` that litellm's users catch too."""


class LiteLLMAuthenticationError(errors.AuthenticationError, litellm.AuthenticationError):
    """A :class:`~las_langchain.errors.AuthenticationError` that litellm's users catch too."""


class LiteLLMPermissionDeniedError(errors.PermissionDeniedError, litellm.PermissionDeniedError):
    """A :class:`~las_langchain.errors.PermissionDeniedError` that litellm's users catch too."""


class LiteLLMNotFoundError(errors.ModelNotFoundError, litellm.NotFoundError):
    """A :class:`~las_langchain.errors.ModelNotFoundError` that litellm's users catch too."""


class LiteLLMTimeoutError(errors.APITimeoutError, litellm.Timeout):
    """A :class:`~las_langchain.errors.APITimeoutError` that litellm's users catch too."""


class LiteLLMRateLimitError(errors.RateLimitError, litellm.RateLimitError):
    """A :class:`~las_langchain.errors.RateLimitError` that litellm's users catch too."""


class LiteLLMAPIError(errors.APIError, litellm.InternalServerError):
    """A :class:`~las_langchain.errors.APIError` that litellm's users catch too."""


class LiteLLMAPIConnectionError(errors.APIConnectionError, litellm.APIConnectionError):
    """A :class:`~las_langchain.errors.APIConnectionError` that litellm's users catch too."""


class LiteLLMServiceUnavailableError(errors.ServiceUnavailableError, litellm.ServiceUnavailableError):
    """A :class:`~las_langchain.errors.ServiceUnavailableError` that litellm's users catch too."""


_TWINS: dict[type[errors.LASError], type[errors.LASError]] = {
    errors.BadRequestError: LiteLLMBadRequestError,
    errors.ContextWindowExceededError: LiteLLMContextWindowExceededError,
    errors.AuthenticationError: LiteLLMAuthenticationError,
    errors.PermissionDeniedError: LiteLLMPermissionDeniedError,
    errors.ModelNotFoundError: LiteLLMNotFoundError,
    errors.APITimeoutError: LiteLLMTimeoutError,
    errors.RateLimitError: LiteLLMRateLimitError,
    errors.APIError: LiteLLMAPIError,
    errors.APIConnectionError: LiteLLMAPIConnectionError,
    errors.ServiceUnavailableError: LiteLLMServiceUnavailableError,
}


class LiteLLMTransport:
    """Sends requests to any provider that litellm knows."""

    def complete(self, target: Target, body: Json) -> Json:
        """See :class:`~las_langchain.transports.Transport`."""
        return BACKGROUND.run(self.acomplete(target, body))

    async def acomplete(self, target: Target, body: Json) -> Json:
        """See :class:`~las_langchain.transports.Transport`."""
        with _translated(target):
            async with asyncio.timeout(target.timeout):
                response = await litellm.acompletion(**_chat_arguments(target, body))
            return clean_completion(response.model_dump())

    def stream(self, target: Target, body: Json) -> Generator[Json]:
        """See :class:`~las_langchain.transports.Transport`."""
        return BACKGROUND.iterate(self.astream(target, body))

    async def astream(self, target: Target, body: Json) -> AsyncGenerator[Json]:
        """See :class:`~las_langchain.transports.Transport`."""
        with _translated(target):
            async with asyncio.timeout(target.timeout):
                stream = await litellm.acompletion(**_chat_arguments(target, body), stream=True)
            try:
                limit = target.timeout
                while True:
                    # litellm's own timeout is per read, so a server that only sends pings would hold the call for ever.
                    async with asyncio.timeout(limit):
                        chunk = await anext(stream, None)
                    if chunk is None:
                        break
                    limit = target.stream_timeout
                    yield clean_chunk(chunk.model_dump())
                _check_whole(stream)
            finally:
                await stream.aclose()

    def embed(self, target: Target, body: Json) -> Json:
        """See :class:`~las_langchain.transports.Transport`."""
        return BACKGROUND.run(self.aembed(target, body))

    async def aembed(self, target: Target, body: Json) -> Json:
        """See :class:`~las_langchain.transports.Transport`."""
        with _translated(target):
            async with asyncio.timeout(target.timeout):
                response = await litellm.aembedding(**_embedding_arguments(target, body))
            return clean_embeddings(response.model_dump())


def clean_completion(response: Json) -> Json:
    """litellm's answer as OpenAI would have sent it."""
    for choice in response["choices"]:
        own = choice["message"].pop("provider_specific_fields", None) or {}
        choice.pop("provider_specific_fields", None)
        message = {key: value for key, value in choice["message"].items() if value is not None and value != []}
        refusal = choice["message"].get("refusal") or own.get("refusal")
        choice["message"] = {"content": None, **message, "refusal": refusal}
        choice["logprobs"] = choice.get("logprobs")
    return _without_none(response)


def clean_chunk(chunk: Json) -> Json:
    """litellm's chunk as OpenAI would have sent it; its usage chunk loses the empty choice."""
    for choice in chunk["choices"]:
        delta = choice["delta"]
        delta.pop("provider_specific_fields", None)
        kept = {key: value for key, value in delta.items() if value is not None and value != []}
        # The role comes with an empty text, as clients expect of the first chunk.
        choice["delta"] = {"content": "", **kept} if "role" in kept and "tool_calls" not in kept else kept
        for call in kept.get("tool_calls", ()):
            _clean_call(call)
    if chunk.get("usage"):
        chunk["usage"] = _without_none(chunk["usage"])
        chunk["usage"].pop("cost", None)
        chunk["choices"] = [choice for choice in chunk["choices"] if choice["delta"] or choice.get("finish_reason")]
    return _without_none(chunk)


def clean_embeddings(response: Json) -> Json:
    """litellm's embeddings as OpenAI would have sent them."""
    return _without_none(response)


def _clean_call(call: Json) -> None:
    function = call["function"] = _without_none(call.get("function") or {})
    if call.get("id") is None:
        call.pop("id", None)
        call.pop("type", None)
        function.pop("name", None)


def _without_none(value: Json) -> Json:
    """*value* without litellm's own keys and without keys that are None, one level into its dicts."""
    dropped = {"provider_specific_fields", "_response_headers", "hidden_params"}
    kept = {key: item for key, item in value.items() if item is not None and key not in dropped}
    return {
        key: {k: v for k, v in item.items() if v is not None} if isinstance(item, dict) else item
        for key, item in kept.items()
    }


def _chat_arguments(target: Target, body: Json) -> Json:
    _refuse_unknown(body, CHAT_FIELDS, target)
    check_messages(body.get("messages"))
    arguments = {key: value for key, value in body.items() if value is not None}
    # litellm takes `metadata` for its own, writes into it, and sends nothing of it.
    metadata = arguments.pop("metadata", None)
    if metadata is not None and target.provider in _TAKE_METADATA:
        arguments["extra_body"] = {"metadata": metadata, **(arguments.get("extra_body") or {})}
    if "tools" in arguments:
        # litellm 1.106 looks for MCP tools here and fails where the mcp package is not installed; not sent upstream.
        arguments["_skip_mcp_handler"] = True
    return {**arguments, **_call_arguments(target), "model": target.litellm_model}


def _embedding_arguments(target: Target, body: Json) -> Json:
    _refuse_unknown(body, EMBEDDING_FIELDS, target)
    model = target.litellm_model
    for chat, embedding in _EMBEDDING_PREFIXES.items():
        model = embedding + model.removeprefix(chat) if model.startswith(chat) else model
    arguments = {key: value for key, value in body.items() if value is not None}
    return {**arguments, **_call_arguments(target), "model": model}


def _call_arguments(target: Target) -> Json:
    return {
        **target.options,
        **_credentials(target),
        "timeout": target.timeout,
        "headers": dict(target.headers) or None,
        # The service retries; on "openai/" even litellm's 0 would be three attempts without both of these.
        "max_retries": 0,
        "num_retries": 0,
    }


def _credentials(target: Target) -> Json:
    """Where the call goes and with which key.

    Raises:
        LiteLLMAuthenticationError: an OpenAI-like provider has no key.
        LiteLLMBadRequestError: it has no address.
    """
    base, key = target.api_base, target.api_key.get_secret_value() if target.api_key else None
    if target.provider not in PROVIDERS and target.provider in _OPENAI_LIKE:
        # For what is missing litellm takes OPENAI_BASE_URL and OPENAI_API_KEY: another provider's.
        _, _, key, found = litellm.get_llm_provider(target.litellm_model, api_base=base, api_key=key)
        prefix = variable_prefix(target.provider)
        if not found:
            raise LiteLLMBadRequestError(f"No address for {target.provider}: set {prefix}_API_BASE", param="model")
        if not key and not base:
            raise LiteLLMAuthenticationError(f"No key for {target.provider}: set {prefix}_API_KEY")
        base, key = base or found, key or "none"
    return {"api_base": base, "api_key": key}


def _refuse_unknown(body: Json, known: frozenset[str], target: Target) -> None:
    for name in body:
        if name not in known:
            raise errors.BadRequestError(
                f"Unknown parameter {name!r}{nearest(name, known)}; put a provider's own into extra_body",
                param=name,
                provider=target.provider,
            )


def _check_whole(stream: Any) -> None:
    # litellm ends a stream that was cut as if the model had finished; this is the only trace.
    if stream.received_finish_reason is None:
        raise errors.APIConnectionError("The stream ended before the answer was whole")


@contextlib.contextmanager
def _translated(target: Target) -> Iterator[None]:
    """Turn what litellm raises into this package's errors, without tracebacks and keys in the text."""
    try:
        yield
    except errors.LASError as error:
        error.provider = error.provider or target.provider
        raise
    except TimeoutError:
        raise LiteLLMTimeoutError(_too_slow(target), provider=target.provider) from None
    except Exception as error:
        raise _las_error(error, target) from None


def _las_error(error: Exception, target: Target) -> errors.LASError:
    kind, status = _kind(error)
    headers = getattr(error, "litellm_response_headers", None) or {}
    translated = _TWINS[kind](
        _text(error, kind, target),
        param=_if_text(getattr(error, "param", None)),
        code=_code(error, kind),
        provider=target.provider,
        status_code=status,
        retry_after=_seconds(headers.get("retry-after")),
    )
    # What litellm's users read from its exceptions.
    translated.__dict__.update(llm_provider=target.provider, model=target.model)
    return translated


def _kind(error: Exception) -> tuple[type[errors.LASError], int | None]:
    status = getattr(error, "status_code", None)
    if isinstance(error, litellm.ContextWindowExceededError):
        return errors.ContextWindowExceededError, None
    # In the middle of a stream litellm tells a timeout from a broken connection only in its text.
    if isinstance(error, litellm.Timeout) or _TIMED_OUT.search(str(error)):
        return errors.APITimeoutError, None
    if isinstance(error, (litellm.APIConnectionError, litellm.exceptions.MidStreamFallbackError)):
        return errors.APIConnectionError, None
    kind = errors.for_status(status) if isinstance(status, int) else errors.APIError
    return kind, status if isinstance(status, int) and status != kind.status_code else None


# What litellm appends: the same text again, and advice about settings of its own.
_APPENDED = (" Original exception: ", " To drop these, set ")
_TIMED_OUT = re.compile(r"timed out|timeout on reading", re.IGNORECASE)
_PREFIXES = re.compile(r"^((litellm\.)?\w*(Error|Exception|Timeout)( -|:) )+")
_KEY_SHAPES = re.compile(r"\b(sk|gsk|pk|hf|xai|key|AIza|AKIA)[-_A-Za-z0-9]{8,}")


def _text(error: Exception, kind: type[errors.LASError], target: Target) -> str:
    if kind is errors.APITimeoutError:
        return _too_slow(target)
    first = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    for noise in _APPENDED:
        first = first.partition(noise)[0]
    reason = _KEY_SHAPES.sub("***", _PREFIXES.sub("", first).strip())[:500]
    if target.api_key:
        reason = reason.replace(target.api_key.get_secret_value(), "***")
    row = PROVIDERS.get(target.provider)
    if kind is errors.APIConnectionError and row and row.keyless and target.api_base:
        variable = row.base_url_variables[0]
        return f"{row.title} does not answer at {target.api_base}: start it, or set {variable}"
    if kind is errors.AuthenticationError and row and row.key_variables:
        return f"{row.title} refused the key in {row.key_variables[0]}: {reason}"
    return f"{_title(target)}: {reason}"


def _too_slow(target: Target) -> str:
    return (
        f"{_title(target)} did not answer in time: LAS_TIMEOUT ({target.timeout:g} s) bounds the first byte, "
        f"LAS_STREAM_TIMEOUT ({target.stream_timeout:g} s) the silence between chunks"
    )


def _title(target: Target) -> str:
    row = PROVIDERS.get(target.provider)
    return row.title if row else target.provider


def _code(error: Exception, kind: type[errors.LASError]) -> str | None:
    body = getattr(error, "body", None)
    code = body.get("code") if isinstance(body, dict) else getattr(error, "code", None)
    return code if isinstance(code, str) and not code.isdigit() else kind.code


def _if_text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _seconds(value: str | None) -> float | None:
    try:
        return max(0.0, float(value)) if value else None
    except ValueError:
        return None
