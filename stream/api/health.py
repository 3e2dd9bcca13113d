"""Whether this process lives and serves, and what it has counted."""

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import Response

from stream.api.bodies import json_response, parameters
from stream.api.operation import Operation
from stream.api.service import Service
from stream.health import Alive, Ready


async def live(request: Request, service: Service) -> Response:
    """Answered by the event loop, of itself; no server is asked."""
    parameters(request, {})
    if service.is_broken:
        return json_response(Alive("broken", ("a part of this process has ended",)), 503)
    return json_response(Alive("alive"))


async def ready(request: Request, service: Service) -> Response:
    """Ready where every part is open and nobody waits for one."""
    parameters(request, {})
    causes = tuple(service.causes)
    if causes:
        return json_response(Ready("waiting", causes), 503)
    return json_response(Ready("ready"))


async def counted(request: Request, service: Service) -> Response:
    """All metrics of this process, in Prometheus' text format."""
    parameters(request, {})
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


OPERATIONS = (
    Operation(
        "live",
        "GET",
        "/health/live",
        None,
        "Whether the process can go on",
        "For a liveness probe. A part that is away is waited for, and no reason to start again.",
        live,
        {
            200: ("It does.", Alive),
            503: ("It has to be started again; its log says why.", Alive),
        },
    ),
    Operation(
        "ready",
        "GET",
        "/health/ready",
        None,
        "Whether the process serves",
        "For a readiness probe; says what is waited for.",
        ready,
        {200: ("It does.", Ready), 503: ("It waits for something.", Ready)},
    ),
    Operation(
        "metrics",
        "GET",
        "/metrics",
        "read",
        "Metrics",
        "For Prometheus.",
        counted,
        {200: ("In Prometheus' text format.", None)},
    ),
)
