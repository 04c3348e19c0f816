"""What can go wrong with a call, as one tree.

::

    LASError                          500
    ├── ConfigurationError            500  a setting, a missing package or a missing model file (also a ValueError)
    ├── BadRequestError               400  the request is malformed or asks for what the model cannot do
    │   └── ContextWindowExceededError  400  the prompt is longer than the model's context
    ├── AuthenticationError           401  no key, or the provider refused it
    ├── PermissionDeniedError         403
    ├── ModelNotFoundError            404  no such model or provider
    ├── APITimeoutError               408  retryable
    ├── RateLimitError                429  retryable; see ``retry_after``
    │   └── BudgetExceededError       429  a budget of this installation is spent; final until its period ends
    └── APIError                      5xx  the provider failed; retryable
        ├── APIConnectionError        502  it could not be reached, or the connection broke
        └── ServiceUnavailableError   503

Every class also derives from the matching ``langchain_core.exceptions.ModelError`` class, so LangChain's retry,
fallback and summarisation middleware understand it. In a program that uses litellm, every error about a call is also of
litellm's class of the same meaning, so ``except litellm.exceptions.RateLimitError`` keeps working.
"""

from __future__ import annotations

import re
import sys
from typing import Any, Self, TypeVar, cast

from langchain_core import exceptions as core

Error = TypeVar("Error", bound="LASError")


class LASError(core.ModelError):
    """Base of everything this package raises about a call.

    Attributes:
        status_code: the HTTP status that the OpenAI-compatible endpoint answers with.
        type: OpenAI's ``error.type``.
        code: OpenAI's ``error.code``, such as ``model_not_found``; None where it defines none.
        param: the argument or request field at fault, if one is.
        provider: the provider that was asked, if the call got that far.
        retry_after: seconds to wait before the next try, where the provider said so.
        detail: what only the operator of this machine should see, such as a path; not part of :meth:`to_openai`.
    """

    status_code: int = 500
    type: str = "api_error"
    code: str | None = None

    def __new__(cls, *args: Any, **named: Any) -> Self:
        """Make it of litellm's class too, if anybody here can know that."""
        return super().__new__(_with_litellms(cls), *args)

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        provider: str | None = None,
        status_code: int | None = None,
        retry_after: float | None = None,
        detail: str | None = None,
    ) -> None:
        Exception.__init__(self, message)
        self.message = message
        self.param = param
        self.code = code or type(self).code
        self.provider = provider
        self.status_code = status_code or type(self).status_code
        self.retry_after = retry_after
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.message} ({self.detail})" if self.detail else self.message

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"

    def to_openai(self) -> dict[str, dict[str, str | None]]:
        """The error as OpenAI's response body: ``{"error": {"message", "type", "param", "code"}}``."""
        return {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.code}}


def _with_litellms(cls: type[Error]) -> type[Error]:
    """The subclass of *cls* that litellm's users catch; *cls* itself where litellm is not imported."""
    litellm = sys.modules.get("litellm")
    if litellm is None or getattr(litellm.__spec__, "_initializing", False):
        return cls
    try:
        from las_langchain.transports.litellm.failures import TWINS
    except ImportError:
        # It is being imported just now.
        return cls
    return cast("type[Error]", TWINS.get(cls, cls))


class ConfigurationError(LASError, ValueError):
    """A setting, an optional package or a model file is missing or wrong; the message names it and the fix."""

    type = "configuration_error"


class BadRequestError(LASError, core.ModelInvalidRequestError):
    """The request is malformed, or asks for something that the model or provider cannot do."""

    status_code = 400
    type = "invalid_request_error"


class ContextWindowExceededError(BadRequestError, core.ContextOverflowError):
    """The prompt does not fit into the model's context."""

    code = "context_length_exceeded"


class AuthenticationError(LASError, core.ModelAuthenticationError):
    """A key is missing, or the provider refused it."""

    status_code = 401
    type = "authentication_error"
    code = "invalid_api_key"


class PermissionDeniedError(LASError, core.ModelPermissionDeniedError):
    """The key is valid but may not do this."""

    status_code = 403
    type = "permission_error"


class ModelNotFoundError(LASError, core.ModelNotFoundError):
    """No provider or model of this name."""

    status_code = 404
    type = "invalid_request_error"
    code = "model_not_found"


class APITimeoutError(LASError, core.ModelTimeoutError):
    """The provider did not answer in time."""

    status_code = 408
    type = "timeout_error"


class RateLimitError(LASError, core.ModelRateLimitError):
    """The provider's rate limit or quota is exhausted."""

    status_code = 429
    type = "rate_limit_error"
    code = "rate_limit_exceeded"


class BudgetExceededError(RateLimitError):
    """The budget of all calls, or of the caller's key, is spent; ``retry_after`` says when its period ends."""

    type = "insufficient_quota"
    code = "budget_exceeded"
    is_retryable = False


class APIError(LASError, core.ModelAPIError):
    """The provider failed (HTTP 5xx), or sent something that is not an answer."""


class APIConnectionError(APIError, core.ModelConnectionError):
    """The provider could not be reached, or the connection broke before the answer was whole."""

    status_code = 502
    type = "api_connection_error"


class ServiceUnavailableError(APIError):
    """The provider is overloaded or down."""

    status_code = 503
    type = "service_unavailable_error"


_KEY_SHAPES = re.compile(
    r"\b(?:(?:sk|gsk|pk|hf|xai)[-_]|key-|AIza|AKIA)[-_A-Za-z0-9]{8,}"
    r"|(?<=[Bb]earer )\S{8,}"
    r"|\beyJ[\w-]+\.[\w-]+\.[\w-]*"
)


def masked(text: str) -> str:
    """*text* with asterisks in the place of what looks like a key."""
    return _KEY_SHAPES.sub("***", text)


def in_a_line(error: BaseException, most: int | None = 300) -> str:
    """*error* for models and people: one line, no traceback, no key, and nothing that is for the operator alone.

    Args:
        error: what went wrong; of several errors that came together it is the first.
        most: letters of the line; None: all.
    """
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    text = error.message if isinstance(error, LASError) else f"{type(error).__name__}: {error}"
    return masked(" ".join(text.split()))[:most]


def loggable(error: LASError, *, log_prompts: bool) -> str:
    """*error* as a log line may have it: what a provider says of a request may repeat the prompt.

    Args:
        error: what went wrong.
        log_prompts: whether prompts may be logged.
    """
    if log_prompts or error.provider in (None, "local"):
        return str(error)
    # Not the class that litellm's users catch too.
    name = next(cls.__name__ for cls in type(error).__mro__ if cls.__module__ == __name__)
    said = [str(error.status_code), error.code if error.code and _CODE.fullmatch(error.code) else ""]
    return f"{error.provider}: {name} ({', '.join(filter(None, said))})"


_CODE = re.compile(r"[\w.-]{1,64}")

_BY_STATUS: dict[int, type[LASError]] = {
    400: BadRequestError,
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: ModelNotFoundError,
    408: APITimeoutError,
    429: RateLimitError,
    503: ServiceUnavailableError,
    504: APITimeoutError,
    529: ServiceUnavailableError,
}


def for_status(status: int) -> type[LASError]:
    """The class for an HTTP *status* that a provider answered with."""
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    return BadRequestError if 400 <= status < 500 else APIError
