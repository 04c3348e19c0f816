"""How spans get to a collector, or do not."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.fake_collector import FakeCollector
from tests.fake_server import Delivery
from tests.las_langchain.tracing.calls import (
    SECRET,
    chat_record,
    opened,
    run,
    traced,
)

CALLS = """
    import os, sys, time
    from las_langchain.records import CallRecord
    from las_langchain.settings import load_settings
    from las_langchain.tracing.opening import open_tracing

    def call(name):
        record = CallRecord("chat", name, f"openai/{name}")
        begin = time.perf_counter()
        tracing.began(record, {})
        record.ended("ok")
        tracing.ended(record, None)
        return time.perf_counter() - begin

    tracing = open_tracing(load_settings())
"""


def test_the_end_of_the_process_sends_the_last_spans(collector: FakeCollector) -> None:
    begin = time.monotonic()
    run(CALLS + '\n    call("last")')
    assert [span.name for span in collector.spans] == ["chat last"]
    assert time.monotonic() - begin < 10


def test_a_fork_sends_spans_of_its_own_and_the_parent_too(collector: FakeCollector) -> None:
    script = """
    call("before")
    if os.fork() == 0:
        call("child")
        sys.exit()
    call("parent")
    os.wait()
    """
    run(CALLS + script)
    assert sorted(span.name for span in collector.spans) == ["chat before", "chat child", "chat parent"]


def test_a_fork_does_not_write_into_its_parents_connection(collector: FakeCollector) -> None:
    script = """
    call("before")
    time.sleep(1)
    if os.fork() == 0:
        call("child")
        time.sleep(1)
        sys.exit()
    os.wait()
    call("parent")
    time.sleep(1)
    """
    run(CALLS + script, {"OTEL_BSP_SCHEDULE_DELAY": "50"})
    assert [span.name for span in collector.spans] == ["chat before", "chat child", "chat parent"]
    before, child, parent = collector.connections
    assert before == parent != child


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of something that takes connections and never says a word."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        yield listener.getsockname()[1]


def bad_ending(port: int, after: str = "") -> tuple[float, str]:
    """The seconds that a process needs to end after its calls, and what it logs, with a bad collector at *port*."""
    script = f"""
    print(max(call("lost") for _ in range(3000)))
    {after}
    print(time.time())
    """
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}", "OTEL_BSP_SCHEDULE_DELAY": "50"}
    ran = run(CALLS + script, variables)
    slowest, ended = map(float, ran.stdout.split())
    assert slowest < 5
    return time.time() - ended, ran.stderr


@pytest.mark.parametrize("after", ["", "time.sleep(1)"], ids=["at once", "later"])
def test_a_collector_that_hangs_holds_up_neither_calls_nor_the_end(silent: int, after: str) -> None:
    seconds, logged = bad_ending(silent, after)
    assert seconds < 8
    assert logged == "The last spans were not sent, since the trace collector does not answer\n"


@pytest.mark.parametrize("after", ["", "time.sleep(1)"], ids=["at once", "later"])
def test_a_collector_that_is_not_there_holds_up_neither_calls_nor_the_end(after: str) -> None:
    seconds, logged = bad_ending(9, after)
    assert seconds < 8
    assert logged == "The last spans were not sent, since the trace collector does not answer\n"


def test_a_collector_that_fails_is_told_of_once(
    collector: FakeCollector, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
    caplog.set_level(logging.INFO, "las_langchain")
    collector.enqueue(*[Delivery(status=500, error={"message": SECRET})] * 3)
    tracing = opened()
    for number in range(1, 5):
        traced(tracing, chat_record())
        deadline = time.monotonic() + 10
        while len(collector.requests) < number:
            assert time.monotonic() < deadline
            time.sleep(0.02)
    tracing.close()
    told = [record.getMessage() for record in caplog.records]
    assert told == [
        "The trace collector takes no spans, which are lost until it does: Failed to export spans batch code: 500, "
        "reason: Internal Server Error",
        "The trace collector takes spans again",
    ]


def test_the_reason_is_told_without_the_collectors_key(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://127.0.0.1:9/v1/traces?token=s3cret")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1.5")
    tracing = opened()
    traced(tracing, chat_record())
    tracing.close()
    assert "Connection refused" in caplog.text
    assert "s3cret" not in caplog.text


def test_another_exporters_complaints_are_its_own(collector: FakeCollector, caplog: pytest.LogCaptureFixture) -> None:
    opened().close()
    logging.getLogger("opentelemetry.exporter.otlp.proto.http.trace_exporter").warning("of the program's exporter")
    assert "of the program's exporter" in caplog.text
