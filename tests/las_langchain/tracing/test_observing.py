"""Where spans belong, and what disturbs them."""

from __future__ import annotations

import asyncio
import threading

import pytest
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import get_current_span

from las_langchain.records import CallRecord
from las_langchain.tracing import observer as observer_module
from las_langchain.tracing.observer import Tracing
from las_langchain.transports.background import BACKGROUND
from tests.fake_collector import FakeCollector
from tests.las_langchain.tracing.calls import (
    chat_record,
    memory,
    opened,
    traced,
)


def test_the_current_span_is_the_parent(collector: FakeCollector) -> None:
    users, exporter = memory()
    tracing = opened()
    with users.get_tracer("program").start_as_current_span("theirs") as theirs:
        record = chat_record()
        tracing.began(record, {})
        assert get_current_span() is theirs, "a stream's reader must not find itself inside of the call"
    tracing.ended(record, None)
    tracing.close()
    [span] = collector.spans
    assert int.from_bytes(span.trace_id, "big") == theirs.get_span_context().trace_id
    assert int.from_bytes(span.parent_span_id, "big") == theirs.get_span_context().span_id
    assert [found.name for found in exporter.get_finished_spans()] == ["theirs"], "the program's spans are its own"


def test_a_synchronous_call_has_the_parent_of_its_caller() -> None:
    users, exporter = memory()
    tracing = Tracing(users)

    async def call() -> None:
        traced(tracing, chat_record())

    with users.get_tracer("program").start_as_current_span("theirs") as theirs:
        BACKGROUND.run(call())
    span = exporter.get_finished_spans()[0]
    assert span.parent is not None
    assert span.parent.span_id == theirs.get_span_context().span_id


async def test_a_call_may_end_in_another_task_or_thread(caplog: pytest.LogCaptureFixture) -> None:
    users, exporter = memory()
    tracing, records = Tracing(users), [chat_record() for _ in range(3)]

    async def begin(record: CallRecord) -> None:
        tracing.began(record, {})

    await asyncio.gather(*map(begin, records))
    tracing.ended(records[0], None)
    await asyncio.to_thread(tracing.ended, records[1], None)
    thread = threading.Thread(target=tracing.ended, args=(records[2], None))
    thread.start()
    thread.join()
    assert len(exporter.get_finished_spans()) == 3
    tracing.ended(records[0], None)
    tracing.ended(chat_record(), None)
    assert len(exporter.get_finished_spans()) == 3
    assert not caplog.records, "a span is forgotten when it has ended"


def test_calls_that_never_end_do_not_pile_up() -> None:
    users, exporter = memory()
    tracing = Tracing(users)
    records = [chat_record() for _ in range(observer_module.MOST_OPEN + 1)]
    for record in records:
        tracing.began(record, {})
    tracing.ended(records[0], None)
    assert exporter.get_finished_spans() == ()
    tracing.ended(records[-1], None)
    assert len(exporter.get_finished_spans()) == 1


def test_a_clients_trace_is_continued() -> None:
    users, exporter = memory()
    tracing = Tracing(users)
    headers = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    with tracing.continued(headers):
        traced(tracing, chat_record())
    with tracing.continued({"traceparent": "nonsense"}):
        traced(tracing, chat_record())
    with users.get_tracer("framework").start_as_current_span("server") as server, tracing.continued(headers):
        traced(tracing, chat_record())
    first, second, third = (span for span in exporter.get_finished_spans() if span.name != "server")
    assert first.parent is not None
    assert (f"{first.parent.trace_id:x}", f"{first.parent.span_id:x}") == (
        "af7651916cd43dd8448eb211c80319c",
        "b7ad6b7169203331",
    )
    assert second.parent is None
    assert third.parent is not None
    assert third.parent.span_id == server.get_span_context().span_id
    assert not get_current_span().get_span_context().is_valid


def test_what_the_sampler_drops_costs_nothing_more() -> None:
    exporter = InMemorySpanExporter()
    users = TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False)
    users.add_span_processor(SimpleSpanProcessor(exporter))
    tracing = Tracing(users, log_prompts=True)
    traced(tracing, chat_record(), {"messages": "not a list of messages"})
    assert exporter.get_finished_spans() == ()


class Broken(SpanProcessor):
    """A user's processor with a bug."""

    def on_start(self, span: object, parent_context: Context | None = None) -> None:
        raise RuntimeError("a bug of the user's")

    def on_end(self, span: ReadableSpan) -> None:
        raise RuntimeError("a bug of the user's")


def test_a_users_bug_is_told_once_and_harms_no_call(caplog: pytest.LogCaptureFixture) -> None:
    users = TracerProvider(shutdown_on_exit=False)
    users.add_span_processor(Broken())
    tracing = Tracing(users)
    for _ in range(3):
        traced(tracing, chat_record())
    assert [record.getMessage() for record in caplog.records] == ["A call was not traced"]


def test_messages_of_an_odd_shape_are_not_told_and_harm_no_span(caplog: pytest.LogCaptureFixture) -> None:
    users, exporter = memory()
    tracing = Tracing(users, log_prompts=True)
    traced(tracing, chat_record(), {"messages": ["half \udc00"]}, {"choices": [1]})
    assert len(exporter.get_finished_spans()) == 1
    assert len(caplog.records) == 1
