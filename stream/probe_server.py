"""Metrics and probes of a worker, served from threads of their own: they answer while the event
loop hangs, which is when they matter most."""

import socket
import threading
from collections.abc import Iterable
from http import HTTPStatus
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any, cast
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import msgspec
from prometheus_client import make_wsgi_app

from stream.health import Alive, Ready
from stream.liveness import Liveness
from stream.readiness import Readiness

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

REQUEST_S = 10.0
"""Whoever connects and says nothing is hung up on after that."""
METHODS = ("GET", "HEAD")
PATHS = "/metrics, /live and /ready"


class ProbeServer:
    """Serves ``/metrics``, ``/live`` and ``/ready`` from its making until ``stop``.

    ``/live`` is 503 where only a new start helps, ``/ready`` where the worker does not serve; the
    body says why (``stream.health``).

    Args:
        bind: address.
        port: 0 takes a free one.
        liveness: of the worker.
        readiness: of the worker.

    Raises:
        OSError: the port cannot be had.
    """

    def __init__(self, bind: str, port: int, liveness: Liveness, readiness: Readiness) -> None:
        self._liveness, self._readiness = liveness, readiness
        self._metrics = make_wsgi_app()
        kind = _Server6 if ":" in bind else _Server
        self._server = make_server(bind, port, self._answer, kind, _Handler)
        serve = self._server.serve_forever
        self._thread = threading.Thread(target=serve, name="probes", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """That it listens on."""
        return int(self._server.server_port)

    def stop(self) -> None:
        """Close the port."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _answer(self, environment: "WSGIEnvironment", start: "StartResponse") -> Iterable[bytes]:
        if environment["REQUEST_METHOD"] not in METHODS:
            return _text(start, HTTPStatus.METHOD_NOT_ALLOWED, f"use {' or '.join(METHODS)}\n")
        match environment["PATH_INFO"]:
            case "/metrics":
                return cast(Iterable[bytes], self._metrics(environment, start))
            case "/live":
                return _json(start, self._alive())
            case "/ready":
                return _json(start, self._ready())
        return _text(start, HTTPStatus.NOT_FOUND, f"there are {PATHS}\n")

    def _alive(self) -> Alive:
        causes = self._liveness.causes
        return Alive("broken" if causes else "alive", causes)

    def _ready(self) -> Ready:
        causes = (*self._liveness.causes, *self._readiness.causes)
        return Ready("waiting" if causes else "ready", causes)


class _Handler(WSGIRequestHandler):
    timeout = REQUEST_S

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: a probe comes every few seconds."""


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Server6(_Server):
    address_family = socket.AF_INET6


def _json(start: "StartResponse", told: Alive | Ready) -> Iterable[bytes]:
    status = HTTPStatus.SERVICE_UNAVAILABLE if told.causes else HTTPStatus.OK
    return _body(start, status, "application/json", msgspec.json.encode(told))


def _text(start: "StartResponse", status: HTTPStatus, text: str) -> Iterable[bytes]:
    return _body(start, status, "text/plain; charset=utf-8", text.encode())


def _body(
    start: "StartResponse", status: HTTPStatus, media_type: str, body: bytes
) -> Iterable[bytes]:
    headers = [
        ("Content-Type", media_type),
        ("Content-Length", str(len(body))),
        ("Cache-Control", "no-store"),
        ("X-Content-Type-Options", "nosniff"),
    ]
    start(f"{status.value} {status.phrase}", headers)
    return [body]
