"""Whether calls are traced, and by what."""

from __future__ import annotations

from pathlib import Path

import pytest

from las_langchain.errors import ConfigurationError
from las_langchain.settings import load_settings
from las_langchain.tracing.opening import open_tracing
from tests.fake_collector import FakeCollector
from tests.las_langchain.tracing.calls import (
    chat_record,
    opened,
    run,
    traced,
)


def test_nobody_asked_for_traces() -> None:
    script = """
        import sys
        from las_langchain.settings import load_settings
        from las_langchain.tracing.opening import open_tracing
        assert open_tracing(load_settings()) is None
        assert not [name for name in sys.modules if name.startswith("opentelemetry")]
    """
    run(script)


@pytest.mark.parametrize(("name", "value"), [("OTEL_SDK_DISABLED", " TRUE"), ("OTEL_TRACES_EXPORTER", "none")])
def test_tracing_is_turned_off(
    collector: FakeCollector, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    assert open_tracing(load_settings()) is None


def test_the_variables_say_who_sends_and_how(collector: FakeCollector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    Path(".env").write_text(
        f"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT={collector.url}/v1/traces\n"
        "OTEL_EXPORTER_OTLP_HEADERS=authorization=Bearer%20abc,x-team=a\n"
        "OTEL_EXPORTER_OTLP_COMPRESSION=gzip\n"
        "OTEL_EXPORTER_OTLP_TIMEOUT=3\n"
        "OTEL_RESOURCE_ATTRIBUTES=team=red%20one,service.name=other\n"
        "OTEL_SERVICE_NAME=answers\n",
        "utf-8",
    )
    tracing = opened()
    traced(tracing, chat_record())
    tracing.close()
    assert collector.last.headers["authorization"] == "Bearer abc"
    assert collector.last.headers["x-team"] == "a"
    assert collector.last.headers["content-encoding"] == "gzip"
    assert (collector.resource["service.name"], collector.resource["team"]) == ("answers", "red one")


def test_the_service_has_a_name_of_its_own(collector: FakeCollector) -> None:
    tracing = opened()
    traced(tracing, chat_record())
    tracing.close()
    assert collector.resource["service.name"] == "las-langchain"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "user:s3cret@host:4317",
            "OTEL_EXPORTER_OTLP_ENDPOINT must be an http or https",
        ),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://[s3cret", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT must be an http"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "spans are sent by http/protobuf, not grpc; set OTEL_EXPORTER_OTLP_TR"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon", "OTEL_EXPORTER_OTLP_TIMEOUT must be a number of seconds, not 'soon'"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "zip", "OTEL_EXPORTER_OTLP_COMPRESSION must be gzip, deflate or none"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "s3cret", "OTEL_EXPORTER_OTLP_HEADERS must list names and values, such as"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "5", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE: max_export_batch_size must be less than"),
    ],
)
def test_a_wrong_variable_is_named(
    collector: FakeCollector, monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=message) as error:
        open_tracing(load_settings())
    assert "s3cret" not in str(error.value)


def test_an_unknown_propagator_is_named(collector: FakeCollector) -> None:
    script = """
        from las_langchain.settings import load_settings
        from las_langchain.tracing.opening import open_tracing
        open_tracing(load_settings())
    """
    ran = run(script, {"OTEL_PROPAGATORS": "pigeon"}, check=False)
    assert ran.stderr.splitlines()[-1].startswith("las_langchain.errors.ConfigurationError: OTEL_PROPAGATORS: ")


@pytest.mark.parametrize("package", ["opentelemetry", "opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http"])
def test_a_missing_package_is_named(collector: FakeCollector, package: str) -> None:
    script = f"""
        import sys
        sys.modules[{package!r}] = None
        from las_langchain.settings import load_settings
        from las_langchain.tracing.opening import open_tracing
        open_tracing(load_settings())
    """
    last = run(script, check=False).stderr.splitlines()[-1]
    assert last == (
        "las_langchain.errors.ConfigurationError: OTEL_EXPORTER_OTLP_ENDPOINT is set, and tracing needs an extra: "
        'pip install "las-langchain[telemetry]", or set OTEL_SDK_DISABLED=true'
    )


PROGRAM = """
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
    from las_langchain.records import CallRecord
    from las_langchain.settings import load_settings
    from las_langchain.tracing.opening import open_tracing

    def call(tracing):
        record = CallRecord("chat", "openai/gpt-4o", "openai/gpt-4o")
        tracing.began(record, {})
        record.ended("ok")
        tracing.ended(record, None)

    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
"""


def test_a_programs_provider_gets_the_spans_and_no_exporter(collector: FakeCollector) -> None:
    script = """
    trace.set_tracer_provider(provider)
    tracing = open_tracing(load_settings())
    with trace.get_tracer("program").start_as_current_span("theirs") as theirs:
        call(tracing)
    tracing.close()
    inner, outer = exporter.get_finished_spans()
    print(inner.name, inner.parent.span_id == outer.context.span_id)
    """
    assert run(PROGRAM + script).stdout == "chat gpt-4o True\n"
    assert collector.requests == []


def test_a_programs_provider_is_enough() -> None:
    script = """
    import os
    trace.set_tracer_provider(provider)
    call(open_tracing(load_settings()))
    print([span.name for span in exporter.get_finished_spans()])
    os.environ["OTEL_SDK_DISABLED"] = "true"
    print(open_tracing(load_settings()))
    """
    assert run(PROGRAM + script).stdout == "['chat gpt-4o']\nNone\n"


def test_a_provider_that_the_program_sets_later_gets_the_spans_from_then_on() -> None:
    script = """
    tracing = open_tracing(load_settings())
    call(tracing)
    trace.set_tracer_provider(provider)
    call(tracing)
    print([span.name for span in exporter.get_finished_spans()])
    """
    assert run(PROGRAM + script).stdout == "['chat gpt-4o']\n"


def test_the_program_keeps_its_right_to_set_a_provider(collector: FakeCollector) -> None:
    script = """
    call(open_tracing(load_settings()))
    trace.set_tracer_provider(provider)
    print(trace.get_tracer_provider() is provider)
    """
    assert run(PROGRAM + script).stdout == "True\n"
    assert len(collector.wait(1)) == 1
