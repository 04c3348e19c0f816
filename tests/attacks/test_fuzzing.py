"""Requests made up from the server's own OpenAPI document: none is answered with a failure of the server's."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis import Case, GenerationMode

from tests.attacks.conftest import KEY, client_of
from tests.attacks.upstream import FaultyUpstream
from tests.conftest import Server

HEADERS = {"authorization": f"Bearer {KEY}"}
CHAINS = ["chat", "agent", "extract", "summarize", "vision", "compare", "rag", "nothing"]
EXAMPLES = 6


@pytest.fixture(scope="module")
def document(_attacked: Server) -> Any:
    """The document; its routes are named with chains that there are, and what changes the server is left out."""
    with client_of(_attacked) as client:
        found = client.get("/openapi.json").json()
    # It may set another address for the provider.
    del found["paths"]["/api/v1/litellm/config"]["patch"]
    for path, methods in found["paths"].items():
        for route in methods.values():
            for parameter in route.get("parameters", ()):
                if path.startswith("/chains/") and parameter["name"] == "name":
                    parameter["schema"] = {"type": "string", "enum": CHAINS}
    return found


@pytest.fixture
def described(document: Any, _attacked: Server) -> Any:
    """The document, as schemathesis reads it."""
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=_attacked.url)
    schema.config.generation.update(modes=[GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
    schema.config.phases.coverage.enabled = False
    return schema


fuzzed = schemathesis.pytest.from_fixture("described")


@fuzzed.parametrize()
@settings(
    max_examples=EXAMPLES,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_no_request_is_a_failure_of_the_server(case: Case, faulty: FaultyUpstream) -> None:
    try:
        answer = case.call(headers=HEADERS, timeout=30)
    except httpx.InvalidURL:
        return
    assert answer.status_code < 500, answer.text
    assert answer.status_code != 422
    if answer.status_code >= 400:
        assert set(answer.json()["error"]) >= {"message", "type"}
