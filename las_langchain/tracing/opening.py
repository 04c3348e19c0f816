"""Whether calls are traced, and where their spans go."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from las_langchain.errors import ConfigurationError
from las_langchain.settings import LASSettings

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

    from las_langchain.tracing.delivery import Delivery, QuietExporter
    from las_langchain.tracing.observer import Tracing

BATCH = 128
"""Spans that are sent at once, so that a batch with messages in them stays below what collectors take."""
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOL = "http/protobuf"


def open_tracing(settings: LASSettings) -> Tracing | None:
    """What traces the calls of a service; None where nobody asked for traces.

    OpenTelemetry's own variables say so, in the environment or in ``.env``: an endpoint
    (``OTEL_EXPORTER_OTLP_ENDPOINT`` or ``OTEL_EXPORTER_OTLP_TRACES_ENDPOINT``) turns tracing on, with the name of the
    service, headers, timeout, compression and certificates of the variables beside it. A program that has set a tracer
    provider gets its spans from there, endpoint or not. ``OTEL_SDK_DISABLED=true`` turns tracing off.

    Raises:
        ConfigurationError: an endpoint is set and a package is missing, or one of the variables is wrong.
    """
    if (settings.variable("OTEL_SDK_DISABLED") or "").strip().lower() == "true":
        return None
    name = next((name for name in _ENDPOINTS if settings.variable(name)), None)
    provider = _programs_provider(late=name is None)
    if provider is not None:
        return _tracing(provider, settings)
    if name is None or (settings.variable("OTEL_TRACES_EXPORTER") or "").strip().lower() == "none":
        return None
    try:
        return _exported(settings, name)
    except ModuleNotFoundError:
        raise ConfigurationError(
            f'{name} is set, and tracing needs an extra: pip install "las-langchain[telemetry]", '
            "or set OTEL_SDK_DISABLED=true",
            param=name,
        ) from None


def _programs_provider(*, late: bool) -> TracerProvider | None:
    """The tracer provider that the program has set; with *late*, also one that it may set later.

    Whoever sets a provider wants the spans of the libraries that he uses, and has chosen where they go. A program that
    has not even imported OpenTelemetry has set none, and does not have to wait for the import.
    """
    if "opentelemetry.trace" not in sys.modules:
        return None
    from opentelemetry.trace import NoOpTracerProvider, ProxyTracerProvider, get_tracer_provider

    provider = get_tracer_provider()
    if isinstance(provider, ProxyTracerProvider):
        # None is set yet. Who has imported the SDK is about to; from then on, there are spans.
        return provider if late and "opentelemetry.sdk.trace" in sys.modules else None
    return None if isinstance(provider, NoOpTracerProvider) else provider


def _exported(settings: LASSettings, name: str) -> Tracing:
    """Tracing by way of a provider of its own.

    It is not made the program's: that can be done only once in a process, and is the program's to do. Its spans are in
    the same traces nevertheless, since their parents come from the context, which all providers share.
    """
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider

    from las_langchain.tracing.delivery import Delivery, QuietProcessor

    provider = TracerProvider(resource=Resource.create(_resource(settings)), shutdown_on_exit=False)
    sized = settings.variable("OTEL_BSP_MAX_EXPORT_BATCH_SIZE") or settings.variable("OTEL_BSP_MAX_QUEUE_SIZE")
    exporter = _exporter(settings, name)
    try:
        provider.add_span_processor(QuietProcessor(exporter, None if sized else BATCH))
    except ValueError as error:
        raise ConfigurationError(f"OTEL_BSP_MAX_EXPORT_BATCH_SIZE: {error}") from None
    return _tracing(provider, settings, Delivery(provider))


def _tracing(provider: TracerProvider, settings: LASSettings, delivery: Delivery | None = None) -> Tracing:
    try:
        from las_langchain.tracing.observer import Tracing
    except ValueError as error:
        # OpenTelemetry finds its propagators while it is imported.
        raise ConfigurationError(f"OTEL_PROPAGATORS: {error}", param="OTEL_PROPAGATORS") from None
    return Tracing(provider, log_prompts=settings.log_prompts, delivery=delivery)


def _exporter(settings: LASSettings, name: str) -> QuietExporter:
    from opentelemetry.exporter.otlp.proto.http import Compression
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    from las_langchain.tracing.delivery import QuietExporter

    _check_protocol(settings)
    compression = _otlp(settings, "COMPRESSION")
    if compression not in (None, *(known.value for known in Compression)):
        raise ConfigurationError("OTEL_EXPORTER_OTLP_COMPRESSION must be gzip, deflate or none")
    # All of them are handed over, since the exporter does not read .env.
    return QuietExporter(
        partial(
            OTLPSpanExporter,
            endpoint=_address(settings, name),
            headers=_pairs(_otlp(settings, "HEADERS"), "OTEL_EXPORTER_OTLP_HEADERS"),
            timeout=_timeout(settings),
            compression=Compression(compression) if compression else None,
            certificate_file=_otlp(settings, "CERTIFICATE"),
            client_key_file=_otlp(settings, "CLIENT_KEY"),
            client_certificate_file=_otlp(settings, "CLIENT_CERTIFICATE"),
        )
    )


def _otlp(settings: LASSettings, name: str) -> str | None:
    """One of the exporter's variables; the one for traces comes first."""
    return settings.variable(f"OTEL_EXPORTER_OTLP_TRACES_{name}") or settings.variable(f"OTEL_EXPORTER_OTLP_{name}")


def _check_protocol(settings: LASSettings) -> None:
    protocol = _otlp(settings, "PROTOCOL")
    if protocol not in (None, _PROTOCOL):
        raise ConfigurationError(
            f"OTEL_EXPORTER_OTLP_PROTOCOL: spans are sent by {_PROTOCOL}, not {protocol}; "
            f"set OTEL_EXPORTER_OTLP_TRACES_PROTOCOL={_PROTOCOL} and the address that takes it, mostly at port 4318",
            param="OTEL_EXPORTER_OTLP_PROTOCOL",
        )


def _address(settings: LASSettings, name: str) -> str:
    """The address that spans are sent to."""
    given = (settings.variable(name) or "").strip()
    try:
        parts = urlsplit(given)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        # It is not shown: there may be a password in it.
        raise ConfigurationError(f"{name} must be an http or https address, such as http://localhost:4318", param=name)
    return given if name == _ENDPOINTS[0] else f"{given.removesuffix('/')}/v1/traces"


def _timeout(settings: LASSettings) -> float | None:
    given = _otlp(settings, "TIMEOUT")
    try:
        return float(given) if given else None
    except ValueError:
        raise ConfigurationError(f"OTEL_EXPORTER_OTLP_TIMEOUT must be a number of seconds, not {given!r}") from None


def _resource(settings: LASSettings) -> dict[str, str]:
    """Who the spans are from."""
    given = _pairs(settings.variable("OTEL_RESOURCE_ATTRIBUTES"), "OTEL_RESOURCE_ATTRIBUTES")
    service = settings.variable("OTEL_SERVICE_NAME") or given.get("service.name") or "las-langchain"
    return {**given, "service.name": service}


def _pairs(text: str | None, name: str) -> dict[str, str]:
    """The names and values of a variable that lists them, as in ``a=1,b=2``."""
    pairs = [pair.partition("=") for pair in (text or "").split(",") if pair.strip()]
    if not all(equals for _, equals, _ in pairs):
        raise ConfigurationError(f"{name} must list names and values, such as name=value,other=value", param=name)
    return {key.strip(): unquote(value.strip()) for key, _, value in pairs}
