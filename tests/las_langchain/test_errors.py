"""The exception tree."""

from __future__ import annotations

import pickle

import pytest
from langchain_core import exceptions as core

from las_langchain import errors
from las_langchain.errors import masked

ALL = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.LASError)]


@pytest.mark.parametrize("kind", ALL)
def test_every_error_is_drawn_is_a_model_error_and_survives_pickling(kind: type[errors.LASError]) -> None:
    assert kind.__name__ in (errors.__doc__ or "")
    assert issubclass(kind, core.ModelError)
    error = kind("wrong", param="model", provider="openai", retry_after=3, detail="/a/path")
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.__dict__) == (str(error), error.__dict__)
    assert 400 <= error.status_code < 600
    assert error.to_openai() == {"error": {"message": "wrong", "type": kind.type, "param": "model", "code": kind.code}}
    assert "/a/path" in str(error)


@pytest.mark.parametrize(
    ("kind", "neutral", "retryable"),
    [
        (errors.BadRequestError, core.ModelInvalidRequestError, False),
        (errors.ContextWindowExceededError, core.ContextOverflowError, False),
        (errors.AuthenticationError, core.ModelAuthenticationError, False),
        (errors.PermissionDeniedError, core.ModelPermissionDeniedError, False),
        (errors.ModelNotFoundError, core.ModelNotFoundError, False),
        (errors.RateLimitError, core.ModelRateLimitError, True),
        (errors.APITimeoutError, core.ModelTimeoutError, True),
        (errors.APIConnectionError, core.ModelConnectionError, True),
        (errors.APIError, core.ModelAPIError, True),
        (errors.ServiceUnavailableError, core.ModelAPIError, True),
        (errors.ConfigurationError, ValueError, False),
    ],
)
def test_each_is_langchains_error_of_the_same_meaning(
    kind: type[errors.LASError], neutral: type[Exception], retryable: bool
) -> None:
    assert issubclass(kind, neutral)
    assert kind.is_retryable is retryable


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, errors.BadRequestError),
        (418, errors.BadRequestError),
        (401, errors.AuthenticationError),
        (404, errors.ModelNotFoundError),
        (429, errors.RateLimitError),
        (500, errors.APIError),
        (504, errors.APITimeoutError),
        (529, errors.ServiceUnavailableError),
    ],
)
def test_statuses_have_their_error(status: int, kind: type[errors.LASError]) -> None:
    assert errors.for_status(status) is kind


@pytest.mark.parametrize(
    "secret",
    [
        "sk-proj-abcdefghijk",
        "gsk_abcdefgh12345",
        "hf_abcdefghij",
        "AIzaSyAbcdefgh",
        "key-0123456789ab",
        "Bearer 0a1b2c3d4e5f",
        "eyJhbGciOi.eyJzdWIi.c2ln",
    ],
)
def test_what_looks_like_a_key_is_masked(secret: str) -> None:
    shown = masked(f"refused: {secret} is wrong")
    assert secret.removeprefix("Bearer ") not in shown
    assert shown.endswith("*** is wrong")


def test_words_that_look_a_little_like_keys_stay() -> None:
    text = "skip_mcp_handler, keyword_arguments, key_variables, pkg_resources and the bearer of news"
    assert masked(text) == text
