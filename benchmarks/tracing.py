"""What traces cost a micro-batch: off, carried on without being recorded, and recorded.

    python -m benchmarks.tracing --json [--records 256] [--rounds 200]

A micro-batch of records, each with a `traceparent` and a list of its own, is told from its
beginning to its end as a worker tells it: spans, the seven steps, the headers of all lists.
Recorded spans go to an exporter that drops them; what OTLP costs runs in another thread. Medians
of the rounds, in microseconds of a whole micro-batch and of one record.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from benchmarks.machine import machine
from benchmarks.printed import print_figures
from serving.recommendation import AsOf, Recommendation
from stream.fetched_record import FetchedRecord
from stream.trace import NO_TRACE, Trace
from stream.tracing import Tracing

STEPS = ("decode", "profiles", "candidates", "rank", "rerank", "keep", "publish")
TRACE = "00-4bf92f3577b34da6a3ce929d0e{:06x}-00f067aa0ba902b7-{}"


class _Dropping(SpanExporter):
    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return SpanExportResult.SUCCESS


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--records", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--json", action="store_true", help="as every benchmark takes it")
    given = parser.parse_args()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(_Dropping()))
    tracing = Tracing(provider, "nextclick")
    made = [_list(at) for at in range(given.records)]
    kinds: dict[str, Callable[[], Trace]] = {
        "off": lambda: NO_TRACE,
        "not_recorded": lambda: tracing.micro_batch(_records(given.records, "00")),
        "recorded": lambda: tracing.micro_batch(_records(given.records, "01")),
    }
    found: dict[str, Any] = {"records": given.records, "machine": machine()}
    for kind, begin in kinds.items():
        spent = median(_spent_us(begin, made) for _ in range(given.rounds))
        found[f"{kind}_us"] = round(spent, 2)
        found[f"{kind}_us_a_record"] = round(spent / given.records, 3)
    tracing.close()
    print_figures("tracing", found, None)


def _spent_us(begin: Callable[[], Trace], made: Sequence[Recommendation]) -> float:
    start = time.perf_counter()
    trace = begin()
    trace.steps()
    for step in STEPS:
        trace.tell(step, 0.001)
    trace.headers_of(made)
    trace.end()
    return (time.perf_counter() - start) * 1e6


def _records(count: int, flags: str) -> list[FetchedRecord]:
    headers = [(("traceparent", TRACE.format(at, flags).encode()),) for at in range(count)]
    return [
        FetchedRecord("events", 0, at, 0, 0, b"user", b"{}", None, 4, 2, each)
        for at, each in enumerate(headers)
    ]


def _list(at: int) -> Recommendation:
    seen = AsOf("events", 0, at)
    return Recommendation(
        rec_id="", user_id="", event_id="", ts=0, as_of=seen, bundle="", items=(), step_ms={}
    )


if __name__ == "__main__":
    main()
