"""Calls as the service would tell of them, and programs that make them."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from las_langchain.records import CallRecord, Tokens
from las_langchain.settings import load_settings
from las_langchain.tracing.observer import Tracing
from las_langchain.tracing.opening import open_tracing

SECRET = "the prompt that nobody may see"
REQUEST = {
    "messages": [{"role": "user", "content": SECRET}],
    "temperature": 0.5,
    "top_p": 0.9,
    "max_tokens": 100,
    "presence_penalty": 1,
    "frequency_penalty": -1,
    "seed": 7,
    "n": 2,
    "stop": ["no more"],
    "reasoning_effort": "low",
    "response_format": {"type": "json_schema", "json_schema": {"name": "x"}},
    "user": "somebody",
}
ANSWER = {
    "id": "chatcmpl-1",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "the answer"}, "finish_reason": "stop"}],
}


def opened(**settings: object) -> Tracing:
    """Tracing as the environment wants it."""
    tracing = open_tracing(load_settings(**settings))
    assert isinstance(tracing, Tracing)
    return tracing


def chat_record(model: str = "openai/gpt-4o", **values: object) -> CallRecord:
    """A chat that has just begun."""
    record = CallRecord("chat", model, model)
    for name, value in values.items():
        setattr(record, name, value)
    return record


def answered(record: CallRecord) -> CallRecord:
    """*record* as a good answer leaves it."""
    record.tokens = Tokens(prompt=10, completion=5, cached=4, cache_writes=3, reasoning=2)
    record.cost_usd, record.attempts = 0.25, 1
    record.response_id, record.response_model = "chatcmpl-1", "gpt-4o-2024-08-06"
    record.finish_reasons = ["stop"]
    record.ended("ok")
    return record


def traced(tracing: Tracing, record: CallRecord, request: dict | None = None, answer: dict | None = None) -> None:
    """Begin *record*, and end it as it says."""
    tracing.began(record, request or {})
    tracing.ended(record, answer)


def memory() -> tuple[TracerProvider, InMemorySpanExporter]:
    """A program's own provider."""
    provider, exporter = TracerProvider(shutdown_on_exit=False), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider, exporter


def run(
    script: str, variables: dict[str, str] | None = None, *, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run *script* in a process of its own."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(script)],
        env={**os.environ, **(variables or {})},
        capture_output=True,
        text=True,
        timeout=60,
        check=check,
    )
