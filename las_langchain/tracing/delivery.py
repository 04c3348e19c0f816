"""Brings spans to a collector without ever being in a call's way, or in that of the process's end."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import re
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from las_langchain.errors import masked

logger = logging.getLogger(__name__)

ENDING_PATIENCE = 2.0
"""Seconds that the end of the process waits for the last spans to be sent."""
_LOGGERS = (
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    "opentelemetry.sdk._shared_internal",
    "opentelemetry.sdk.trace.export",
)
"""Those that tell of failed batches and full queues."""
_QUERY = re.compile(r"\?\S+")
_REMARKS: ContextVar[list[str] | None] = ContextVar("las_tracing_remarks", default=None)


class Delivery:
    """Shuts a provider down at the end of the process, within bounds.

    The provider's own end waits half a minute for a collector that hangs. That wait is left to a thread of its own,
    which is there from the beginning: from Python 3.12 on, none can be started at the end of the process.
    """

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._begin()
        atexit.register(self.close)
        if hasattr(os, "register_at_fork"):
            begin = weakref.WeakMethod(self._begin)
            # A fork takes no thread along.
            os.register_at_fork(after_in_child=lambda: again() if (again := begin()) else None)

    def close(self) -> None:
        """Send what has not been sent, waiting at most :data:`ENDING_PATIENCE` seconds."""
        atexit.unregister(self.close)
        self._closing.set()
        self._thread.join(ENDING_PATIENCE)
        if self._thread.is_alive():
            logger.warning("The last spans were not sent, since the trace collector does not answer")

    def _begin(self) -> None:
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._end, name="las-tracing-end", daemon=True)
        self._thread.start()

    def _end(self) -> None:
        self._closing.wait()
        self._provider.shutdown()


class QuietProcessor(BatchSpanProcessor):
    """Drops the spans that a dead collector leaves no room for without a word; its exporter has told why.

    Args:
        exporter: sends the spans.
        batch: the most that are sent at once; None: as OpenTelemetry's variables say.

    Raises:
        ValueError: its queue is too short.
    """

    def __init__(self, exporter: QuietExporter, batch: int | None) -> None:
        super().__init__(exporter, max_export_batch_size=batch)
        for name in _LOGGERS:
            # Adding it again changes nothing.
            logging.getLogger(name).addFilter(_kept_back)

    def on_end(self, span: ReadableSpan) -> None:
        """Have *span* sent, or drop it."""
        with _kept():
            super().on_end(span)


class QuietExporter(SpanExporter):
    """An exporter that says once, and not with every batch, that its collector cannot be reached.

    Args:
        make: makes the exporter that does the work.
    """

    def __init__(self, make: Callable[[], SpanExporter]) -> None:
        self._make = make
        self._exporter, self._process = make(), os.getpid()
        self._failing = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send *spans*; called by one thread at a time."""
        with _kept() as remarks:
            result = self._current().export(spans)
        self._tell(failed=result is not SpanExportResult.SUCCESS, remarks=remarks)
        return result

    def shutdown(self) -> None:
        """Close its connections."""
        self._exporter.shutdown()

    def _current(self) -> SpanExporter:
        # A connection that was open when this process was forked is still its parent's.
        if self._process != os.getpid():
            self._exporter, self._process = self._make(), os.getpid()
        return self._exporter

    def _tell(self, *, failed: bool, remarks: list[str]) -> None:
        if failed and not self._failing:
            why = " ".join(remarks[0].split()) if remarks else "it did not say why"
            # Its address may have a key in it.
            shown = masked(_QUERY.sub("?…", why))[:300]
            logger.warning("The trace collector takes no spans, which are lost until it does: %s", shown)
        elif self._failing and not failed:
            logger.info("The trace collector takes spans again")
        self._failing = failed


@contextlib.contextmanager
def _kept() -> Iterator[list[str]]:
    """Keep what OpenTelemetry would log inside."""
    remarks: list[str] = []
    token = _REMARKS.set(remarks)
    try:
        yield remarks
    finally:
        _REMARKS.reset(token)


def _kept_back(record: logging.LogRecord) -> bool:
    remarks = _REMARKS.get()
    if remarks is not None:
        remarks.append(record.getMessage())
    return remarks is None
