"""What litellm raises, as this package's errors that litellm's users catch too."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import httpx
import litellm
import openai
from litellm.llms.base_llm.chat.transformation import BaseLLMException

from las_langchain import errors
from las_langchain.providers import Target
from las_langchain.transports.checks import check_sendable
from las_langchain.transports.wording import (
    NO_MODEL,
    broken,
    refused,
    retry_after,
    too_slow,
    unreachable,
    unreadable,
    without_secrets,
)

Json = dict[str, Any]


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


class LiteLLMBudgetExceededError(errors.BudgetExceededError, litellm.RateLimitError):
    """A :class:`~las_langchain.errors.BudgetExceededError` that litellm's users catch too."""


class LiteLLMAPIError(errors.APIError, litellm.InternalServerError):
    """A :class:`~las_langchain.errors.APIError` that litellm's users catch too."""


class LiteLLMAPIConnectionError(errors.APIConnectionError, litellm.APIConnectionError):
    """A :class:`~las_langchain.errors.APIConnectionError` that litellm's users catch too."""


class LiteLLMServiceUnavailableError(errors.ServiceUnavailableError, litellm.ServiceUnavailableError):
    """A :class:`~las_langchain.errors.ServiceUnavailableError` that litellm's users catch too."""


TWINS: dict[type[errors.LASError], type[errors.LASError]] = {
    errors.BadRequestError: LiteLLMBadRequestError,
    errors.ContextWindowExceededError: LiteLLMContextWindowExceededError,
    errors.AuthenticationError: LiteLLMAuthenticationError,
    errors.PermissionDeniedError: LiteLLMPermissionDeniedError,
    errors.ModelNotFoundError: LiteLLMNotFoundError,
    errors.APITimeoutError: LiteLLMTimeoutError,
    errors.RateLimitError: LiteLLMRateLimitError,
    errors.BudgetExceededError: LiteLLMBudgetExceededError,
    errors.APIError: LiteLLMAPIError,
    errors.APIConnectionError: LiteLLMAPIConnectionError,
    errors.ServiceUnavailableError: LiteLLMServiceUnavailableError,
}
"""What is raised in the place of this package's own classes once litellm is imported; see ``errors.py``."""


@contextlib.contextmanager
def translated(target: Target, body: Json | None = None) -> Iterator[None]:
    """Turn what litellm raises into this package's errors, without tracebacks and keys in the text.

    Args:
        target: whom the request goes to.
        body: the request, if it is sent as JSON.
    """
    try:
        yield
    except errors.LASError as error:
        error.provider = error.provider or target.provider
        raise
    except TimeoutError:
        raise LiteLLMTimeoutError(too_slow(target), provider=target.provider) from None
    except Exception as error:
        failure = _las_error(error, target)
        if isinstance(failure, errors.APIError):
            # litellm says of a request that could not be written that the provider failed.
            check_sendable(body or {})
        raise failure from None


@contextlib.contextmanager
def explained() -> Iterator[None]:
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
    error = _original(error)
    kind, status = _kind(error)
    headers = getattr(error, "litellm_response_headers", None) or {}
    if _is_openais(error) and not headers:
        headers = getattr(getattr(error, "response", None), "headers", None) or {}
    translated = kind(
        _text(error, kind, target),
        param=_if_text(getattr(error, "param", None) or _said(error).get("param"), target),
        code=_code(error, kind, target),
        provider=target.provider,
        status_code=status,
        retry_after=_retry_after(headers, str(error)),
    )
    if (said := _said_type(error)) is not None:
        translated.type = said
    # What litellm's users read from its exceptions.
    translated.__dict__.update(llm_provider=target.provider, model=target.model)
    return translated


def _is_openais(error: Exception) -> bool:
    """Whether *error* is of OpenAI's client, which litellm's all derive from, and did not pass through litellm."""
    return type(error).__module__.partition(".")[0] == "openai"


def _original(error: Exception) -> Exception:
    """What the provider said in the middle of a stream, where litellm's own error has lost it."""
    original: Exception | None = None
    if isinstance(error, litellm.exceptions.MidStreamFallbackError):
        original = error.original_exception
    if isinstance(error, ValueError) and isinstance(error.__context__, BaseLLMException):
        # litellm fails to read a status out of a code that is a word.
        original = error.__context__
    return original or error


def _kind(error: Exception) -> tuple[type[errors.LASError], int | None]:
    """The class for *error*, and its status where that is not the class's own."""
    status, text = getattr(error, "status_code", None), str(error)
    if isinstance(error, litellm.ContextWindowExceededError) or _said_code(error) == _TOO_LONG:
        return errors.ContextWindowExceededError, None
    if _UNMAPPED.search(text):
        return errors.BadRequestError, None
    if kind := _on_the_way(error, status, text):
        return kind, None
    if status == 400 and (_said_code(error) == errors.ModelNotFoundError.code or NO_MODEL.search(text)):
        return errors.ModelNotFoundError, None
    if status == 500 and "overloaded_error" in text:
        # Anthropic's 529, for which litellm has no class.
        return errors.ServiceUnavailableError, 529
    if status == 500 and _UNAVAILABLE.search(text):
        # Gemini's 503, which litellm takes for a 500.
        return errors.ServiceUnavailableError, None
    if _OLLAMAS.search(text):
        return errors.APIError, None
    if isinstance(status, int) and status < 400:
        # A redirect, which is not followed; clients would follow it.
        return errors.APIConnectionError, None
    kind = errors.for_status(status) if isinstance(status, int) else errors.APIError
    return kind, status if isinstance(status, int) and status != kind.status_code else None


def _on_the_way(error: Exception, status: Any, text: str) -> type[errors.LASError] | None:
    """The class for what went wrong between here and the provider; None for what the provider itself says."""
    # What a provider says of a request may hold any words.
    refused = isinstance(status, int) and 400 <= status < 500
    # In the middle of a stream litellm tells a timeout from a broken connection only in its text.
    if isinstance(error, litellm.Timeout) or (not refused and _TIMED_OUT.search(text)):
        return errors.APITimeoutError
    if isinstance(error, (litellm.APIConnectionError, litellm.exceptions.MidStreamFallbackError)):
        return errors.APIConnectionError
    if not refused and (_UNREACHABLE.search(text) or _BROKEN.search(text)):
        return errors.APIConnectionError
    return None


# What litellm appends: the same text again, and advice about settings of its own.
_APPENDED = (" Original exception: ", " Error_str: ", " To drop these, set ", " Traceback (most recent call last)")
_DEEPEST_CAUSE = 6
_TYPE = re.compile(r"[a-z_]{1,64}")
_TOO_LONG = errors.ContextWindowExceededError.code
_TIMED_OUT = re.compile(r"timed out|timeout on reading", re.IGNORECASE)
_PREFIXES = re.compile(
    r"^(((litellm\.)?\w*(Error|Exception|Timeout)( -|:)?|\w+Exception(?= \w*Error -)"
    r"|BedrockException Invalid Authentication -) )+"
)
_UNREACHABLE = re.compile(
    r"Cannot connect to host|Connect call failed|All connection attempts failed|Name or service not known"
    r"|\bConnection error\.$"
)
_BROKEN = re.compile(r"payload is not completed|peer closed connection|Server disconnected|Connection reset")
# What becomes of an answer that is no JSON, or JSON of another form, in OpenAI's client and litellm.
_UNREADABLE = re.compile(
    r"object has no attribute 'model_dump'|Expecting (value|property name)|'choices' that is not a"
)
# What litellm says of sounds of a provider that it knows no sounds of.
_UNMAPPED = re.compile(r"Unable to map the custom llm provider|Unmapped provider passed in")
_UNAVAILABLE = re.compile(r'"UNAVAILABLE"|\bUNAVAILABLE - ')
# How litellm tells of an error that Ollama sends in the middle of a stream.
_OLLAMAS = re.compile(r"unexpected response from Ollama: \{'error': ['\"](.*)['\"]\}")
# Google says in the body of its error, not in a header, when to come back.
_ADVICE = re.compile(r'(?:"retryDelay": ?"|retry in )([\d.]+)s')
# OpenRouter's errors in a stream, as litellm tells them.
_OPENROUTER = re.compile(r"^Message: (.*), Metadata: .*, User ID:.*$")


def _text(error: Exception, kind: type[errors.LASError], target: Target) -> str:
    if kind is errors.APITimeoutError and not _said(error):
        return too_slow(target)
    if _UNREADABLE.search(str(error)) and not _said(error):
        return unreadable(target)
    if _UNMAPPED.search(str(error)):
        return f"model: {target.id} takes no requests of this kind"
    reason = _reason(error, target)
    if kind is errors.APIConnectionError and (_BROKEN.search(reason) or _broke(error)):
        return broken(target)
    if kind is errors.APIConnectionError and _UNREACHABLE.search(str(error).split(_APPENDED[0])[0]):
        return unreachable(target)
    return refused(kind, reason, target)


def _broke(error: BaseException) -> bool:
    """Whether the provider was reached, and went away, which OpenAI's client tells as it does that it was not."""
    return any(isinstance(cause, (httpx.ReadError, httpx.RemoteProtocolError)) for cause in _causes(error))


def _reason(error: Exception, target: Target) -> str:
    """What the provider said, in one line and without secrets."""
    own = _said(error).get("message") if _is_openais(error) else None
    text = own if isinstance(own, str) else str(error)
    first = next((line for line in text.splitlines() if line.strip()), type(error).__name__)
    for noise in _APPENDED:
        first = first.partition(noise)[0]
    said = _OPENROUTER.sub(r"\1", _PREFIXES.sub("", first).strip())
    return without_secrets(_without_advice(_in_body(said)), target)[:500]


def _in_body(text: str) -> str:
    """The message inside a provider's JSON error body, if *text* ends with one."""
    if in_stream := _OLLAMAS.search(text):
        return in_stream[1]
    start = text.find("{")
    # litellm prints the bytes of what is answered to a stream, and sets a full stop behind some.
    plain = text[start:].replace("\\'", "'") if text.startswith("b'{") else text[start:]
    try:
        body = json.JSONDecoder().raw_decode(plain)[0] if start >= 0 else {}
    except ValueError:
        body = {}
    # OpenAI's shape, a text where that has an object, or AWS's.
    error = body.get("error", body)
    said = str(error.get("message") or text) if isinstance(error, dict) else str(error)
    # The string that AWS was to be signed holds a session's token.
    return said.partition(" The Canonical String for this request")[0]


def _without_advice(text: str) -> str:
    """*text* without the sentences about litellm's own settings, which its users here cannot set."""
    sentences = re.split(r"(?<=[.;]) ", text)
    kept = [sentence for sentence in sentences if not re.search(r"litellm[._:]|litellm_settings", sentence)]
    return " ".join(kept or sentences).rstrip(";")


def _code(error: Exception, kind: type[errors.LASError], target: Target) -> str | None:
    code = _if_text(_said_code(error), target)
    return kind.code if code is None or code.isdigit() else code


def _said_code(error: Exception) -> Any:
    return _said(error).get("code", getattr(error, "code", None))


def _said(error: Exception) -> Json:
    """The error that the provider answered with, by litellm's or by what that was made of; empty if it has no body."""
    for cause in _causes(error):
        body, status = getattr(cause, "body", None), getattr(cause, "status_code", None)
        # Behind them there may be an error that the caller was handling.
        if isinstance(body, dict) and (cause is error or status == getattr(error, "status_code", None)):
            return body
    return {}


def _causes(error: BaseException) -> Iterator[BaseException]:
    """*error*, and the errors behind it."""
    cause: BaseException | None = error
    for _ in range(_DEEPEST_CAUSE):
        if cause is None:
            return
        yield cause
        cause = cause.__context__


def _said_type(error: Exception) -> str | None:
    """OpenAI's ``error.type``, if the provider answers in its way."""
    body = _said(error)
    kind = body.get("type") if "code" in body else None
    return kind if isinstance(kind, str) and _TYPE.fullmatch(kind) else None


def _if_text(value: Any, target: Target) -> str | None:
    return without_secrets(value, target) if isinstance(value, str) else None


def _retry_after(headers: Mapping[str, str], text: str) -> float | None:
    """The seconds after which the provider wants to be asked again, by its headers or by its error."""
    advice = _ADVICE.search(text)
    return retry_after(headers, advice[1] if advice else None)
