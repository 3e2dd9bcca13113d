"""Spans of one process: what came with a record or a request goes on, and goes out with others.

Off by default. Where it is off nothing of OpenTelemetry is loaded and ``open_tracing`` gives None;
whoever could trace asks once a micro-batch, request or portion whether there is any.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from serving.record import Record
from stream.settings import Settings, SettingsError
from stream.trace import Headers

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span

    from stream.batch_trace import BatchTrace

EXPORT_S = 3.0
CLOSE_S = 5.0
"""For the last spans, when the process stops; a collector that is away holds nobody up."""


def open_tracing(settings: Settings, service: str) -> Tracing | None:
    """What traces this process, or None where traces are off.

    Args:
        settings: where spans go.
        service: name of what this process is, such as ``nextclick-worker``.

    Raises:
        SettingsError: traces are on, and the extra `otel` is not installed.
    """
    if settings.traces == "off":
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
    except ImportError as error:
        raise SettingsError(
            f"`traces` is otlp, and {error.name} is not installed; pip install 'nextclick[otel]', "
            "or set NEXTCLICK_TRACES=off"
        ) from None
    provider = TracerProvider(
        sampler=ParentBased(TraceIdRatioBased(settings.traces_share)),
        resource=Resource.create({"service.name": service}),
        shutdown_on_exit=False,
    )
    exporter = OTLPSpanExporter(endpoint=settings.traces_url, timeout=EXPORT_S)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return Tracing(provider, settings.group)


class Tracing:
    """Makes spans and reads and writes W3C headers.

    Args:
        provider: of the tracer; closed with this.
        group: consumer group, told in spans.
    """

    def __init__(self, provider: TracerProvider, group: str = "") -> None:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self.group = group
        self.tracer = provider.get_tracer("nextclick")
        self._provider = provider
        self._propagator = TraceContextTextMapPropagator()

    def context_of(self, headers: Sequence[tuple[str, bytes]]) -> Context:
        """What a record's headers tell; empty where they tell nothing that can be understood."""
        carrier = {
            name: value.decode("latin-1")
            for name, value in headers
            if name in self._propagator.fields and value is not None
        }
        return self._context(carrier)

    def headers_of(self, span: Span) -> Headers:
        """What a record says that was caused by this span."""
        from opentelemetry.trace import set_span_in_context

        carrier: dict[str, str] = {}
        self._propagator.inject(carrier, set_span_in_context(span))
        return [(name, value.encode("latin-1")) for name, value in carrier.items()]

    def micro_batch(self, records: Sequence[Record]) -> BatchTrace:
        """The spans of a micro-batch, from now until they are ended."""
        from stream.batch_trace import BatchTrace

        return BatchTrace(self, records)

    def created(self, topic: str, headers: Headers) -> Headers:
        """The headers of a record that is sent to a topic now: its trace goes on, or begins."""
        span = self._sending(topic, self.context_of(headers), 1)
        span.end()
        others = [each for each in headers if each[0] not in self._propagator.fields]
        return [*others, *self.headers_of(span)]

    def close(self) -> None:
        """Send what is left, in a bounded time."""
        closing = threading.Thread(target=self._provider.shutdown, daemon=True)
        closing.start()
        closing.join(CLOSE_S)

    def _context(self, carrier: Mapping[str, str]) -> Context:
        from opentelemetry.context import Context

        return self._propagator.extract(carrier, context=Context())

    def _sending(self, topic: str, context: Context, count: int) -> Span:
        from opentelemetry.trace import SpanKind

        return self.tracer.start_span(
            f"send {topic}",
            context=context,
            kind=SpanKind.PRODUCER,
            attributes=messaging(topic, "send") | {"messaging.batch.message_count": count},
        )


@contextmanager
def sending(
    tracing: Tracing | None, topic: str, count: int, request: Mapping[str, str]
) -> Iterator[Headers]:
    """A span around the sending of records that one request has caused.

    Args:
        tracing: None: nothing is traced, and the headers are none.
        topic: where to.
        count: of the records.
        request: headers of the request, names in lower case; its trace goes on.

    Yields:
        What each of the records says.
    """
    if tracing is None:
        yield []
        return
    span = tracing._sending(topic, tracing._context(request), count)
    try:
        yield tracing.headers_of(span)
    finally:
        span.end()


def messaging(topic: str, operation: str) -> dict[str, Any]:
    """Attributes that OpenTelemetry's conventions for messaging want."""
    return {
        "messaging.system": "kafka",
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
        "messaging.destination.name": topic,
    }
