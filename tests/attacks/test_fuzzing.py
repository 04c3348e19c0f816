"""Requests made up from the server's own OpenAPI document: none is answered with a failure of the server's."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from requests.exceptions import ChunkedEncodingError
from schemathesis import Case, GenerationMode
from schemathesis.schemas import APIOperation

from tests.attacks.conftest import KEY, client_of
from tests.attacks.upstream import FaultyUpstream
from tests.conftest import Server

HEADERS = {"authorization": f"Bearer {KEY}"}
CHAINS = ["chat", "agent", "extract", "summarize", "vision", "compare", "rag", "nothing"]
BOUNDED = settings(
    max_examples=8,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


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


@pytest.mark.parametrize("mode", GenerationMode)
def test_no_request_is_a_failure_of_the_server(
    document: Any, attacked: Server, faulty: FaultyUpstream, mode: GenerationMode
) -> None:
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=attacked.url)
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) > 25
    for operation in operations:
        if mode is GenerationMode.POSITIVE or takes_anything(operation):
            BOUNDED(given(case=operation.as_strategy(generation_mode=mode))(check))()


def check(case: Case) -> None:
    """Send a request, and check what comes back."""
    try:
        answer = case.call(headers=HEADERS, timeout=60)
    except ChunkedEncodingError:
        # How LangServe's streams of a chain that fails end, here one without documents.
        assert case.path.startswith("/chains/{name}/stream")
        return
    # The documented examples ask Ollama too, which is not there.
    assert answer.status_code < 500 or "http://127.0.0.1:9" in answer.text, (case.path, answer.text)
    assert answer.status_code != 422, (case.path, answer.text)
    if answer.status_code >= 400:
        assert answer.json()["error"].keys() >= {"message", "type"}, case.path


def takes_anything(operation: APIOperation[Any, Any, Any, Any]) -> bool:
    """Whether there is something in its requests that can be wrong; the names in its path are any text."""
    return bool(operation.body) or bool(operation.query)
