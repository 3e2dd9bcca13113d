"""The ASGI app of the HTTP API."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from stream.api import events, health, items, lists, users
from stream.api.bodies import JSON
from stream.api.gate import Gate, our_fault
from stream.api.openapi import openapi
from stream.api.operation import Operation
from stream.api.problems import ProblemError
from stream.api.service import Service
from stream.console.console import Console

OPERATIONS: tuple[Operation, ...] = (
    *lists.OPERATIONS,
    *users.OPERATIONS,
    *items.OPERATIONS,
    *events.OPERATIONS,
    *health.OPERATIONS,
)
DOCUMENT = "/v1/openapi.json"


def build_api(service: Service) -> ASGIApp:
    """The app of one process; it starts and stops the service with itself."""
    console = Console(service) if service.settings.console else None
    document = msgspec.json.encode(openapi(OPERATIONS))

    async def described(request: Request) -> Response:
        return Response(document, media_type=JSON)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        await service.start()
        if console is not None:
            console.start()
        try:
            yield
        finally:
            if console is not None:
                await console.stop()
            await service.stop()

    routes: list[BaseRoute] = [each.route(service) for each in OPERATIONS]
    routes.append(Route(DOCUMENT, described, methods=["GET"]))
    if console is not None:
        routes += console.routes()
        service.endless.append(console.audience.dismiss)
    app = Starlette(
        routes=routes,
        exception_handlers={ProblemError: _told, HTTPException: _not_routed, Exception: _at_fault},
        lifespan=lifespan,
    )
    # A slash too many is another path, and no reason to send somebody's body elsewhere.
    app.router.redirect_slashes = False
    return Gate(app, service.settings.api_max_requests)


async def _told(request: Request, error: Exception) -> Response:
    assert isinstance(error, ProblemError)
    return error.response()


async def _at_fault(request: Request, error: Exception) -> Response:
    # The gate, which the error reaches too, logs it.
    return our_fault().response()


async def _not_routed(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        headers = dict(error.headers or {})
        allowed = headers.get("Allow", "another one")
        return ProblemError("wrong-method", f"use {allowed}", headers).response()
    return ProblemError("no-operation", f"GET {DOCUMENT} tells all there are").response()
