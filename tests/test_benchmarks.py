"""The benchmarks' upstream and client are right, or what they measure is worth nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from benchmarks.serving import answers, figures, upstream
from benchmarks.serving.contestants import CONTESTANTS, KEY, Running, running, upstream_process
from benchmarks.serving.load import Answer, Wish, WrongAnswer, check, run
from benchmarks.serving.measures import Case, sample
from benchmarks.serving.processes import Ended, Process

STREAM = Wish(50, stream=True)
WISHES = [Wish(), STREAM, Wish(50, stream=True, at_once=True)]


@pytest.fixture
async def url(tmp_path: Path) -> AsyncIterator[str]:
    async with upstream_process(tmp_path / "upstream", pace=0.1) as address:
        yield address


@pytest.fixture
async def floor(url: str, tmp_path: Path) -> AsyncIterator[Running]:
    async with running(CONTESTANTS["floor"], tmp_path / "floor", url) as server:
        yield server


@pytest.mark.parametrize("wish", WISHES, ids=["plain", "one by one", "at once"])
async def test_answers_are_right_straight_and_by_way_of_the_floor(wish: Wish, url: str, floor: Running) -> None:
    for address, key in ((url, upstream.KEY), (floor.url, KEY)):
        results = await run(address, key, wish, 20, 8)
        check(wish, results)
        assert len({answer.number for answer in results}) == 20
        assert all(answer.began < answer.first <= answer.ended for answer in results)


async def test_a_round_has_figures(floor: Running) -> None:
    plain, stream = [await sample(floor, Case("", wish, 4), 8) for wish in (Wish(), STREAM)]
    assert plain.cpu_us > 0
    assert plain.event_us == 0
    assert stream.event_us * STREAM.events == pytest.approx(stream.cpu_us)
    assert 0 < stream.first_ms["p50"] <= stream.latency_ms["p99"]
    assert floor.figures["idle_mb"] > 10
    assert 0 < floor.figures["start_cpu_seconds"] < 60


async def test_the_upstream_reads_bodies_in_chunks_and_in_pieces(url: str) -> None:
    body = Wish().body(7)
    host, port = url.removeprefix("http://").removesuffix("/v1").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nAuthorization: Bearer {upstream.KEY}\r\n"
    writer.write(f"{head}transfer-encoding: chunked\r\n\r\n".encode())
    for piece in (body[:11], body[11:]):
        writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        await asyncio.sleep(0.05)
    writer.write(b"0\r\n\r\n")
    told = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(told.partition(b"content-length: ")[2].split(b"\r\n")[0])
    check(Wish(), [Answer(7, 0.0, status=200, parts=[await reader.readexactly(length)])])
    writer.close()
    await writer.wait_closed()


async def test_a_wrong_key_is_told(url: str) -> None:
    with pytest.raises(WrongAnswer, match=r"status 401: .*Incorrect API key"):
        check(Wish(), await run(url, "sk-other", Wish(), 1, 1))


def _events(change: Any) -> bytes:
    return b"".join(change(answers.events(b"00000007", STREAM.words, with_usage=True)))


@pytest.mark.parametrize(
    ("wish", "body", "complaint"),
    [
        (Wish(), answers.completion(b"00000008"), "content is"),
        (Wish(), answers.completion(b"00000007")[:-1], "JSONDecodeError"),
        (Wish(), orjson.dumps(orjson.loads(answers.completion(b"00000007")) | {"usage": None}), "TypeError"),
        (STREAM, _events(lambda events: events[:-1]), "end is"),
        (STREAM, _events(lambda events: [*events[:-2], events[-1]]), "number of events with usage is 0"),
        (STREAM, _events(lambda events: [*events[:4], *events[5:]]), "content is"),
        (STREAM, _events(lambda events: [*events[:5], events[4], *events[6:]]), "content is"),
    ],
    ids=["another's", "cut", "no usage", "no end", "no usage in a stream", "a word less", "a word twice"],
)
def test_what_is_not_right_is_refused(wish: Wish, body: bytes, complaint: str) -> None:
    with pytest.raises(WrongAnswer, match=complaint):
        check(wish, [Answer(7, 0.0, status=200, parts=[body])])


def test_words_in_one_event_are_fewer_events() -> None:
    events = answers.events(b"00000007", STREAM.words, with_usage=True)
    words = [orjson.loads(event[6:])["choices"][0]["delta"]["content"] for event in events[1:3]]
    joined = events[2].replace(orjson.dumps(words[1]), orjson.dumps("".join(words)))
    with pytest.raises(WrongAnswer, match="number of events with content is 49"):
        check(STREAM, [Answer(7, 0.0, status=200, parts=[events[0], joined, *events[3:]])])


def test_bars_are_judged_by_shares() -> None:
    def result(microseconds: float, growth: float) -> figures.Json:
        return {"cases": {"plain 16": {"cpu_us": microseconds}}, "soak": {"whole_growth": growth}}

    results = {"las": result(1000.0, 0.02), "floor": result(400.0, 0.0), "proxy": result(9000.0, 0.5)}
    judged = {bar["name"]: bar["passed"] for bar in (bar.judged(results) for bar in figures.BARS)}
    assert judged["µs of processor time an answer, 16 at a time, beside floor"] is True
    assert judged["µs of processor time an answer, 16 at a time, beside proxy"] is False
    assert judged["% that memory grew in a whole soak"] is True
    assert judged["µs of processor time an event, 1 at a time, beside floor"] is None


async def test_a_process_that_ends_too_early_has_its_last_words_told(tmp_path: Path) -> None:
    with Process(["sh", "-c", "echo first >&2; echo no such thing >&2; exit 3"], {}, tmp_path) as process:
        await asyncio.sleep(0.5)
        with pytest.raises(Ended, match="ended with code 3: no such thing"):
            process.check()
