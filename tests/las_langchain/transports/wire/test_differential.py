"""Both transports, side by side: what callers see of a provider must not depend on the way that their call takes."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from tests.conftest import UPSTREAM_KEY, WarmServer
from tests.las_langchain.transports.wire.cases import CASES, Case, Upstream
from tests.las_langchain.transports.wire.seen import Transport, by_http, by_upstream, differing, in_python, normalised

TRANSPORTS: tuple[Transport, ...] = ("wire", "litellm")


class Difference(NamedTuple):
    """Something that the transports may do differently.

    Attributes:
        where: fits the whole path of what differs.
        why: which way is which, and why it may be so.
    """

    where: str
    why: str


DIFFERENCES: dict[str, Difference] = {
    "heads": Difference(
        r".*(\.system_fingerprint|\.service_tier|\.id|said\[0\]\.(model|object)|body\.(model|object))",
        "What a provider says of itself is kept, and what vectors lack filled in; litellm leaves fingerprints out of "
        "streams but OpenAI's and Azure's, knows fewer of Groq's tiers, and makes ids up for Ollama.",
    ),
    "sent": Difference(
        r".* sent\[0\]\.body\.(user|max_(completion_)?tokens|encoding_format|input|tools\[0\].*|messages\[1\].*)",
        "Fields go as they are; litellm leaves `user` out but for OpenAI and Azure, `strict` and closed objects out of "
        "tools for vLLM and Hugging Face, where it joins an assistant's texts too, renames Groq's "
        "`max_completion_tokens`, asks Azure for vectors in base64, and makes a list of one text for vLLM's.",
    ),
    "refused": Difference(
        r".* (sent|refused)",
        "What a model does not take is for its provider to refuse; by litellm it is refused before it is sent, from a "
        "list of models: `reasoning_effort` to most of Azure's and Groq's, `service_tier` to Azure's, pictures to "
        "DeepSeek's.",
    ),
    "codes": Difference(
        r".*(refused|error)\.(code|type|param)",
        "A refusal has the provider's own code, type and param; litellm reads them only of OpenAI's and Azure's.",
    ),
    "ollama": Difference(
        r"ollama .*",
        "Ollama is asked in OpenAI's format where that means the same; litellm asks it in Ollama's own.",
    ),
    "room": Difference(
        r".* whole\.(message|error|status|headers|body).*",
        "OpenAI's refusal of a request whose limit left no room for an answer stays one; litellm makes an empty answer "
        "of it.",
    ),
    "clock": Difference(
        r".*\.created",
        "The chunks of a stream have the provider's time; litellm's have that of its own clock.",
    ),
    "counts": Difference(
        r".*(usage|usage_metadata|token_usage|cost|completion_tokens_details|output_token_details|chunks|events)",
        "Tokens are those that the provider tells, and none where it tells none; litellm says 0 of a whole answer, "
        "counts those of a stream with a tokenizer of its own, and makes up those of thoughts.",
    ),
    "order": Difference(
        r".* stream\.(chunks|events)\[\d+\]\..*",
        "Of several answers each begins with its role, and all end before the usage; litellm leaves out a role, and "
        "tells the usage before the last end.",
    ),
    "pieces": Difference(
        r".* stream\.(chunks|events)",
        "An end that comes with a text stays there; litellm makes it a chunk of its own.",
    ),
    "keys": Difference(
        r"http whole\.body\.choices\[0\]\.(message\.)?\w+",
        "What a provider adds to choices and messages is kept; litellm keeps it only around them.",
    ),
    "ends": Difference(
        r".*\.finish_reason",
        "A stream that calls tools ends in tool_calls, as whole answers do, and what was aborted in length; litellm "
        "says stop.",
    ),
    "faults": Difference(
        r".*(\.error\.(class|status_code|type|code)|\.status)",
        "What fails inside of a stream has the class, status and type of what the provider says; litellm makes a lost "
        "connection of it (502).",
    ),
    "words": Difference(
        r".*\.error\.(text|message)",
        "Where no error in OpenAI's form comes, its words are the provider's, or the status's name; litellm prints "
        "what came as Python prints it, or its own view of it.",
    ),
}


@pytest.fixture(scope="module")
def running() -> Iterator[Upstream]:
    with Upstream() as double:
        yield double


@pytest.fixture
def double(running: Upstream, monkeypatch: pytest.MonkeyPatch) -> Upstream:
    running.reset()
    monkeypatch.setenv("OPENAI_API_KEY", UPSTREAM_KEY)
    monkeypatch.setenv("OPENAI_BASE_URL", running.url)
    return running


@pytest.fixture(scope="module")
def clients(
    running: Upstream, data_dir: Path, tmp_path_factory: pytest.TempPathFactory, warm_python: None
) -> Iterator[dict[str, httpx.Client]]:
    """Clients of two servers, one for each transport."""
    own = {"OPENAI_API_KEY": UPSTREAM_KEY, "OPENAI_BASE_URL": running.url, "LAS_MAX_RETRIES": "0"}
    own |= {"LAS_DATA_DIR": str(data_dir), "LAS_TIMEOUT": "10"}
    folder = tmp_path_factory.mktemp("differential")
    with (
        WarmServer(environment=own, cwd=folder) as wire,
        WarmServer(environment={**own, "LAS_TRANSPORT": "litellm"}, cwd=folder) as litellm,
        httpx.Client(base_url=f"{wire.url}/v1", timeout=30, trust_env=False) as of_wire,
        httpx.Client(base_url=f"{litellm.url}/v1", timeout=30, trust_env=False) as of_litellm,
    ):
        yield {"wire": of_wire, "litellm": of_litellm}


@pytest.mark.parametrize("case", CASES, ids=str)
async def test_both_ways_are_the_same(case: Case, double: Upstream, clients: dict[str, httpx.Client]) -> None:
    found = []
    for view in case.views:
        for way in case.ways:
            seen = []
            for transport in TRANSPORTS:
                double.reset()
                double.enqueue(case.reply)
                if view == "python":
                    said = await in_python(case, way, transport)
                else:
                    said = await asyncio.to_thread(by_http, case, way, transport, clients[transport])
                seen.append(normalised({**said, "sent": by_upstream(double, transport)}))
            found += differing(*seen, f"{view} {way}")
    check(case.differs, found)


def check(differs: Collection[str], found: Iterable[tuple[str, object, object]]) -> None:
    """Check that what differs is what these differences are about, and that each of them is seen."""
    unexplained = []
    unseen = set(differs)
    for path, wire, litellm in found:
        explaining = {name for name in differs if re.fullmatch(DIFFERENCES[name].where, path)}
        unseen -= explaining
        if not explaining:
            unexplained.append(f"{path}\n    wire:    {wire!r:.300}\n    litellm: {litellm!r:.300}")
    assert not unexplained, "\n".join(unexplained)
    assert not unseen, f"{unseen} are not to be seen"
