"""A collector that takes spans by OTLP over HTTP, as a real one does, and keeps them."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import NamedTuple, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span


class Kept(NamedTuple):
    """A span, and whose it is."""

    service: str
    span: Span

    @property
    def trace(self) -> str:
        """Id of its trace, in hex."""
        return self.span.trace_id.hex()


class OtlpCollector:
    """A context manager; ``spans`` grows while it is open."""

    def __init__(self) -> None:
        self.spans: list[Kept] = []
        keep = self._keep

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                keep(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)

    @property
    def url(self) -> str:
        """Where spans are taken."""
        return f"http://127.0.0.1:{self._server.server_port}/v1/traces"

    def named(self, name: str) -> list[Kept]:
        """The spans of that name so far."""
        return [each for each in self.spans if each.span.name == name]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _keep(self, body: bytes) -> None:
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            names = {each.key: each.value.string_value for each in resource.resource.attributes}
            for scope in resource.scope_spans:
                self.spans += [Kept(names["service.name"], span) for span in scope.spans]
