"""Begins a span with every call and ends it with the call."""

from __future__ import annotations

import contextlib
import logging
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextvars import Token
from typing import TYPE_CHECKING, Any

from opentelemetry import context, propagate
from opentelemetry.trace import Span, SpanKind, StatusCode, TracerProvider, get_current_span

import las_langchain
from las_langchain.records import CallRecord
from las_langchain.tracing import attributes
from las_langchain.tracing.contents import input_messages, output_messages

if TYPE_CHECKING:
    from las_langchain.tracing.delivery import Delivery

Json = dict[str, Any]
logger = logging.getLogger(__name__)

MOST_OPEN = 10_000
"""Spans that may wait for their end. Further ones push out the oldest, whose calls were abandoned unclosed."""


class Tracing:
    """An observer whose spans are children of whatever span is current where a call is made.

    The spans are not made current themselves: a stream's chunks are handed to its reader in between, whose own spans
    would become the call's children.

    Args:
        provider: makes the spans.
        log_prompts: whether messages are put into them.
        delivery: what brings them to their collector; None: that is the provider's affair.

    Attributes:
        log_prompts: may be changed at any time.
    """

    def __init__(
        self, provider: TracerProvider, *, log_prompts: bool = False, delivery: Delivery | None = None
    ) -> None:
        self.log_prompts = log_prompts
        self._tracer = provider.get_tracer("las_langchain", las_langchain.__version__)
        self._delivery = delivery
        # Its methods are atomic; a lock could be held by another thread while this process is forked.
        self._open: OrderedDict[str, Span] = OrderedDict()
        self._complained = False

    def began(self, record: CallRecord, request: Json) -> None:
        """Begin the span of *record*."""
        with self._harmless():
            span = self._tracer.start_span(
                attributes.span_name(record), kind=SpanKind.CLIENT, attributes=attributes.of_begin(record)
            )
            if not span.is_recording():
                return
            if len(self._open) >= MOST_OPEN:
                self._open.popitem(last=False)
            self._open[record.id] = span
            span.set_attributes(attributes.of_request(record, request))
            if self.log_prompts and (messages := input_messages(request)):
                span.set_attribute("gen_ai.input.messages", messages)

    def ended(self, record: CallRecord, answer: Json | None) -> None:
        """End the span of *record*, in whatever task or thread."""
        span = self._open.pop(record.id, None)
        if span is None:
            return
        with self._harmless():
            try:
                self._complete(span, record, answer)
            finally:
                span.end()

    @contextlib.contextmanager
    def continued(self, headers: Mapping[str, str]) -> Iterator[None]:
        """Make the calls inside part of the trace that a request's *headers* (``traceparent``) name, if they do.

        A span that is current already, such as a web framework's own, stays so.

        Args:
            headers: with names in lower case.
        """
        token = self._attached(headers)
        try:
            yield
        finally:
            if token is not None:
                context.detach(token)

    def close(self) -> None:
        """Send what has not been sent, waiting at most 2 seconds; done by itself at the end of the process."""
        if self._delivery is not None:
            self._delivery.close()

    def _complete(self, span: Span, record: CallRecord, answer: Json | None) -> None:
        # A fallback may have answered in the place of the model that was asked first.
        span.update_name(attributes.span_name(record))
        span.set_attributes(attributes.of_end(record))
        if record.status == "error":
            span.set_status(StatusCode.ERROR, record.error)
        if self.log_prompts and answer and (messages := output_messages(answer)):
            span.set_attribute("gen_ai.output.messages", messages)

    def _attached(self, headers: Mapping[str, str]) -> Token[context.Context] | None:
        with self._harmless():
            if not get_current_span().get_span_context().is_valid:
                return context.attach(propagate.extract(headers, context.get_current()))
        return None

    @contextlib.contextmanager
    def _harmless(self) -> Iterator[None]:
        try:
            yield
        except Exception:
            # Samplers, processors and propagators are the user's, and messages may be of any shape: no fault of theirs
            # may become a failure of a call.
            logger.log(logging.DEBUG if self._complained else logging.WARNING, "A call was not traced", exc_info=True)
            self._complained = True
