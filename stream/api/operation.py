"""An operation of the API: one declaration, of which the route and its description are made."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from stream.api.callers import Challenge, authorise
from stream.api.keys import Scope
from stream.api.problems import Kind, ProblemError
from stream.api.service import Service
from stream.readiness import part_at_fault

logger = logging.getLogger(__name__)

Handler: TypeAlias = Callable[[Request, Service], Awaitable[Response]]
Method: TypeAlias = Literal["GET", "POST", "DELETE"]

GUARDED: tuple[Kind, ...] = ("unauthenticated", "forbidden", "rate-limited")
"""What an operation with a scope may answer."""
ALWAYS: tuple[Kind, ...] = ("malformed", "at-fault", "overloaded")


@dataclass(frozen=True)
class Operation:
    """What a caller may do."""

    name: str
    """As OpenAPI's ``operationId`` and in metrics."""
    method: Method
    path: str
    scope: Scope | None
    """None: anybody may."""
    summary: str
    about: str
    handler: Handler
    answers: Mapping[int, tuple[str, Any]]
    """By status: a sentence, and the type of the JSON body (text where it is None)."""
    problems: tuple[Kind, ...] = ()
    body: Any = None
    """Type of the JSON body, where there is one."""
    parameters: Sequence[Mapping[str, Any]] = field(default=())
    """As OpenAPI has them."""
    challenge: Challenge = "Bearer"
    """How a caller shows a key."""

    @property
    def every_problem(self) -> tuple[Kind, ...]:
        """All that this may answer."""
        guarded = GUARDED if self.scope is not None else ()
        with_body: tuple[Kind, ...] = ("too-slow", "too-large", "not-json") if self.body else ()
        return tuple(dict.fromkeys((*self.problems, *guarded, *with_body, *ALWAYS)))

    def route(self, service: Service) -> Route:
        """The route that carries it out."""

        async def endpoint(request: Request) -> Response:
            request.scope["nextclick.operation"] = self.name
            authorise(request, service, self.scope, self.challenge)
            try:
                async with asyncio.timeout(service.settings.api_timeout_s):
                    return await self.handler(request, service)
            except Exception as error:
                if (problem := _problem_of(error)) is None:
                    raise
                raise problem from error

        return Route(self.path, endpoint, methods=[self.method])


def _problem_of(error: Exception) -> ProblemError | None:
    """What the caller is told of a part that is away; None where it is told already or the fault
    is ours."""
    part = part_at_fault(error)
    if part is None and not isinstance(error, OSError):
        return None
    logger.warning("a request failed: %s (%s)", part or "a part", type(error).__name__)
    return ProblemError(
        "unavailable",
        f"{part or 'a part'} does not answer; try again, and look at /health/ready",
        {"Retry-After": "1"},
    )
