"""The console of one API process: what its page asks for, and what it is told."""

import asyncio
import logging
from collections.abc import AsyncIterator

import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Mount, Route

from model.events import ContractError, check_id
from serving.catalog import Catalog
from serving.recommendation import decode_recommendation
from stream.api import events
from stream.api.bodies import json_response, parameters, path_id, whole_number
from stream.api.keys import Scope
from stream.api.operation import Handler, Method, Operation
from stream.api.problems import ProblemError
from stream.api.service import Service
from stream.console.audience import Audience, Viewer, message
from stream.console.feed import Feed
from stream.console.pages import Pages
from stream.console.person import person
from stream.console.products import shelf
from stream.console.pulse import Beat, Pulse
from stream.console.shown import ShownLetter, ShownList, shown_list

logger = logging.getLogger(__name__)

PATH = "/console"
COUNT, MOST = 60, 200
FURTHEST = 100_000_000


class Greeting(msgspec.Struct, frozen=True, gc=False):
    """What a page is told first."""

    history: tuple[Beat, ...]
    letters: tuple[ShownLetter, ...]
    last_list: ShownList | None


class Console:
    """Serves the page and tells it what happens.

    Args:
        service: whose parts, writer and keys it uses.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self.audience = Audience()
        self._feed = Feed(service.settings, self.audience, self._catalog)
        service.writer.when_forgotten.append(self._feed.recent.drop)
        self._pulse = Pulse(service.settings, self.audience, self._feed)
        self._tasks: list[asyncio.Task[None]] = []

    def routes(self) -> list[BaseRoute]:
        """Where it is served."""
        operations = [
            _operation("consoleStream", "GET", "/stream", "read", self._stream),
            _operation("consoleProducts", "GET", "/products", "read", self._products),
            _operation("consoleUser", "GET", "/users/{user}", "read", self._person),
            _operation("consoleEvents", "POST", "/events", "write", events.send),
        ]
        return [
            *(each.route(self._service) for each in operations),
            Route(PATH, _with_slash, methods=["GET"]),
            Mount(PATH, Pages(self._service)),
        ]

    def start(self) -> None:
        """Begin to follow the stream."""
        self._tasks = [asyncio.create_task(each) for each in (self._feed.run(), self._pulse.run())]
        for task in self._tasks:
            task.add_done_callback(_tell)

    async def stop(self) -> None:
        """End everything."""
        self.audience.dismiss()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _catalog(self) -> Catalog | None:
        return self._service.parts.catalog if self._service.is_open else None

    async def _stream(self, request: Request, service: Service) -> Response:
        """Server-sent events: a greeting, the user's lists, dead letters, and figures."""
        user = _user(parameters(request, {"user": ()}).get("user", ""))
        if self.audience.is_full:
            raise ProblemError(
                "overloaded", "too many pages are open; close one", {"Retry-After": "5"}
            )
        await self._feed.settled.wait()
        viewer = Viewer(user)
        # Before the last list is looked up: none is missed.
        self.audience.enter(viewer)
        try:
            viewer.tell(message("greeting", await self._greeting(user)))
        except BaseException:
            self.audience.leave(viewer)
            raise
        return StreamingResponse(
            self._messages(viewer),
            media_type="text/event-stream",
            # A proxy that collects before it passes on would make the page wait.
            headers={"X-Accel-Buffering": "no"},
        )

    async def _messages(self, viewer: Viewer) -> AsyncIterator[bytes]:
        try:
            async for sent in viewer.messages():
                yield sent
        finally:
            self.audience.leave(viewer)

    async def _greeting(self, user: str) -> Greeting:
        service = self._service
        last = await service.lookups.last_list(user)
        catalog = service.parts.catalog
        return Greeting(
            history=tuple(self._pulse.history),
            letters=tuple(self._feed.letters),
            last_list=None if last is None else shown_list(decode_recommendation(last), catalog),
        )

    async def _products(self, request: Request, service: Service) -> Response:
        found = parameters(request, {"query": (), "department": (), "first": (), "count": ()})
        made = await shelf(
            service.parts,
            found.get("query") or None,
            found.get("department") or None,
            whole_number(found, "first", 1, FURTHEST) - 1,
            whole_number(found, "count", COUNT, MOST),
        )
        return json_response(made)

    async def _person(self, request: Request, service: Service) -> Response:
        parameters(request, {})
        user = path_id(request, "user")
        return json_response(await person(service.parts, self._feed.recent, user))


async def _with_slash(request: Request) -> Response:
    # Relative: whatever leads here may have another beginning of the path.
    return RedirectResponse(PATH.lstrip("/") + "/")


def _user(given: str) -> str:
    try:
        check_id("user", given)
    except ContractError as error:
        raise ProblemError("malformed", str(error), reason=error.reason) from None
    return given


def _operation(name: str, method: Method, path: str, scope: Scope, handler: Handler) -> Operation:
    """One of the page's own, of which OpenAPI does not tell: it changes with the page."""
    return Operation(name, method, PATH + path, scope, "", "", handler, {}, challenge="Basic")


def _tell(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.error("the console shows nothing new: %s", type(error).__name__, exc_info=error)
