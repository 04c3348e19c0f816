"""Every provider, through litellm.

This is the only module that imports it, which takes seconds; so import this one lazily.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
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

import httpx
import litellm
import openai
from litellm.llms.custom_httpx.http_handler import get_async_httpx_client
from litellm.llms.openai_like.json_loader import JSONProviderRegistry

from las_langchain import errors
from las_langchain.providers import PROVIDERS, Target, variable_prefix
from las_langchain.settings import nearest
from las_langchain.transports.background import BACKGROUND
from las_langchain.transports.checks import check_messages
from las_langchain.transports.litellm_streams import Tap

Json = dict[str, Any]

# pydantic's remark on litellm's typed dicts, made at the first call, says nothing to its users.
warnings.filterwarnings("ignore", message="Item '.*' on TypedDict class", category=UserWarning)

# litellm's client for OpenAI dumps embeddings in base64 with a schema that expects numbers, and tells of each one.
warnings.filterwarnings("ignore", message=r"Pydantic serializer warnings:\s+\w+\(Expected `list\[float\]`")
# What it has begun when an embeddings call is cancelled.
warnings.filterwarnings("ignore", message=r"coroutine '\w+\.aembedding' was never awaited", category=RuntimeWarning)

litellm.suppress_debug_info = True
litellm.disable_hf_tokenizer_download = True
litellm.telemetry = False
# litellm's own retries of embeddings, which it makes where 0 are asked for; the service retries.
litellm.DEFAULT_MAX_RETRIES = 0
# litellm would break off an answer that says the same word a hundred times, such as a line of dashes.
litellm.REPEATED_STREAMING_CHUNK_LIMIT = 2**31


class _ClientOfTheLoop:
    """What litellm streams through for Anthropic, Gemini and others: a client for each event loop.

    litellm's own is one for all loops and takes its connections from the loop that used it before, in mid-stream.
    """

    def __getattr__(self, name: str) -> Any:
        return getattr(get_async_httpx_client("las"), name)


litellm.module_level_aclient = _ClientOfTheLoop()

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
_JSON_ONLY = "Answer with one JSON object and nothing else, without a code fence."
_TAKE_METADATA = frozenset({"openai", "azure"})
# litellm has two dialects of Ollama: the better one for chat does not embed.
_EMBEDDING_PREFIXES = {"ollama_chat/": "ollama/"}
# For the others litellm forgets the headers of an embeddings request.
_TAKE_EMBEDDING_HEADERS = frozenset(
    "azure bedrock cohere cohere_chat dashscope edenai gemini hosted_vllm huggingface litellm_proxy llamafile "
    "lm_studio nvidia_nim oci openai openai_like openrouter qwen_ai_platform qwencloud together_ai vercel_ai_gateway "
    "vertex_ai volcengine".split()
)


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
            tap = Tap(stream)
            try:
                limit = target.timeout
                while True:
                    # litellm's own timeout is per read, so a server that only sends pings would hold the call for ever.
                    async with asyncio.timeout(limit):
                        chunk = await anext(stream, None)
                    if chunk is None:
                        break
                    limit = target.stream_timeout
                    cleaned = clean_chunk(chunk.model_dump())
                    for lost in tap.take(cleaned):
                        yield lost
                    yield cleaned
                _check_whole(stream)
            finally:
                await stream.aclose()

    def embed(self, target: Target, body: Json) -> Json:
        """See :class:`~las_langchain.transports.Transport`."""
        return BACKGROUND.run(self.aembed(target, body))

    async def aembed(self, target: Target, body: Json) -> Json:
        """See :class:`~las_langchain.transports.Transport`."""
        with _translated(target), _explained():
            async with asyncio.timeout(target.timeout):
                response = await litellm.aembedding(**_embedding_arguments(target, body))
            return clean_embeddings(response.model_dump())

    def tokenize(self, model: str, text: str) -> list[int]:
        """See :class:`~las_langchain.transports.Transport`."""
        tokens = litellm.encode(model=model, text=text)
        return list(getattr(tokens, "ids", tokens))

    def count_tokens(self, model: str, body: Json) -> int:
        """See :class:`~las_langchain.transports.Transport`; an image counts as litellm's average one."""
        return int(
            litellm.token_counter(
                model=model,
                messages=body["messages"],
                tools=body.get("tools") or None,
                # litellm would fetch an image to measure it.
                use_default_image_token_count=True,
            )
        )


def clean_completion(response: Json) -> Json:
    """litellm's answer as OpenAI would have sent it.

    Raises:
        APIError: it holds no answer.
    """
    if not response.get("choices"):
        raise errors.APIError("The provider's answer has no choices")
    for choice in response["choices"]:
        own = choice["message"].pop("provider_specific_fields", None) or {}
        choice.pop("provider_specific_fields", None)
        message = {key: value for key, value in choice["message"].items() if value is not None and value != []}
        refusal = choice["message"].get("refusal") or own.get("refusal")
        # Anthropic's, a list of them for each block of text.
        if cited := [citation for group in own.get("citations") or () for citation in group]:
            message["citations"] = cited
        choice["message"] = {"content": None, **message, "refusal": refusal}
        choice["logprobs"] = choice.get("logprobs")
    return _without_none(response)


def clean_chunk(chunk: Json) -> Json:
    """litellm's chunk as OpenAI would have sent it; its usage chunk loses the empty choice."""
    for choice in chunk["choices"]:
        delta = choice["delta"]
        own = delta.pop("provider_specific_fields", None) or {}
        if own.get("citation"):
            delta["citations"] = [own["citation"]]
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
    call["function"] = _without_none(call.get("function") or {})
    if call.get("id") is None:
        call.pop("id", None)
        call.pop("type", None)


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
    if target.provider == "anthropic" and (arguments.get("response_format") or {}).get("type") == "json_object":
        # Anthropic has no JSON mode, and litellm leaves the wish out.
        del arguments["response_format"]
        arguments["messages"] = [{"role": "system", "content": _JSON_ONLY}, *arguments["messages"]]
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
    if target.provider == "openai":
        # litellm refuses it for models whose names it does not know; whether they take it is for the server to say.
        arguments["allowed_openai_params"] = ["dimensions"]
    if (target.headers or arguments.get("extra_headers")) and model.partition("/")[0] not in _TAKE_EMBEDDING_HEADERS:
        raise errors.BadRequestError(
            f"extra_headers: litellm sends no headers with embeddings of {target.provider}", param="extra_headers"
        )
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


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """Give litellm's error what really happened: for embeddings it keeps no more than a printed form of it."""
    try:
        yield
    except Exception as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(getattr(cause, "body", None), dict):
            if type(cause) is openai.APIConnectionError or isinstance(cause, httpx.ConnectError):
                raise litellm.APIConnectionError(str(cause), llm_provider="", model="") from None
            cause = cause.__context__
        body = getattr(cause, "body", None) or {}
        if isinstance(body.get("message"), str):
            error.__dict__.update(message=body["message"], param=body.get("param"), body=body)
        raise


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
    if isinstance(error, litellm.ContextWindowExceededError) or _said_code(error) == _TOO_LONG:
        return errors.ContextWindowExceededError, None
    # In the middle of a stream litellm tells a timeout from a broken connection only in its text.
    if isinstance(error, litellm.Timeout) or _TIMED_OUT.search(str(error)):
        return errors.APITimeoutError, None
    if isinstance(error, (litellm.APIConnectionError, litellm.exceptions.MidStreamFallbackError)):
        return errors.APIConnectionError, None
    if status == 500 and "overloaded_error" in str(error):
        # Anthropic's 529, for which litellm has no class.
        return errors.ServiceUnavailableError, 529
    kind = errors.for_status(status) if isinstance(status, int) else errors.APIError
    return kind, status if isinstance(status, int) and status != kind.status_code else None


# What litellm appends: the same text again, and advice about settings of its own.
_APPENDED = (" Original exception: ", " To drop these, set ", " Traceback (most recent call last)")
# Of a header's value that a provider repeats in its error; shorter ones are words.
_SECRET_LENGTH = 8
_TOO_LONG = errors.ContextWindowExceededError.code
_TIMED_OUT = re.compile(r"timed out|timeout on reading", re.IGNORECASE)
_PREFIXES = re.compile(r"^((litellm\.)?\w*(Error|Exception|Timeout)( -|:) )+")


def _text(error: Exception, kind: type[errors.LASError], target: Target) -> str:
    if kind is errors.APITimeoutError:
        return _too_slow(target)
    first = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    for noise in _APPENDED:
        first = first.partition(noise)[0]
    reason = errors.masked(_without_advice(_in_body(_PREFIXES.sub("", first).strip())))[:500]
    for secret in (value for value in target.headers.values() if len(value) >= _SECRET_LENGTH):
        reason = reason.replace(secret, "***")
    if target.api_key:
        reason = reason.replace(target.api_key.get_secret_value(), "***")
    row = PROVIDERS.get(target.provider)
    if kind is errors.APIConnectionError and row and row.keyless and target.api_base:
        variable = row.base_url_variables[0]
        return f"{row.title} does not answer at {target.api_base}: start it, or set {variable}"
    if kind is errors.AuthenticationError and row and row.key_variables:
        return f"{row.title} refused the key in {row.key_variables[0]}: {reason}"
    return f"{_title(target)}: {reason}"


def _in_body(text: str) -> str:
    """The message inside a provider's JSON error body, if *text* is one."""
    try:
        body = json.loads(text) if text.startswith("{") else {}
    except ValueError:
        body = {}
    error = body.get("error")
    return str(error["message"]) if isinstance(error, dict) and error.get("message") else text


def _without_advice(text: str) -> str:
    """*text* without the sentences about litellm's own settings, which its users here cannot set."""
    sentences = re.split(r"(?<=[.;]) ", text)
    kept = [sentence for sentence in sentences if not re.search(r"litellm[._:]|litellm_settings", sentence)]
    return " ".join(kept or sentences).rstrip(";")


def _too_slow(target: Target) -> str:
    return (
        f"{_title(target)} did not answer in time: LAS_TIMEOUT ({target.timeout:g} s) bounds the first byte, "
        f"LAS_STREAM_TIMEOUT ({target.stream_timeout:g} s) the silence between chunks"
    )


def _title(target: Target) -> str:
    row = PROVIDERS.get(target.provider)
    return row.title if row else target.provider


def _code(error: Exception, kind: type[errors.LASError]) -> str | None:
    code = _said_code(error)
    return code if isinstance(code, str) and not code.isdigit() else kind.code


def _said_code(error: Exception) -> Any:
    body = getattr(error, "body", None)
    return body.get("code") if isinstance(body, dict) else getattr(error, "code", None)


def _if_text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _seconds(value: str | None) -> float | None:
    try:
        return max(0.0, float(value)) if value else None
    except ValueError:
        return None
