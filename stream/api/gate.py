"""Around every request: how many at a time, headers of safety, counting, and the last resort."""

import logging
import time
import traceback
from functools import lru_cache

from prometheus_client import Counter, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving import metrics
from stream.api.problems import ProblemError

logger = logging.getLogger(__name__)

HEADERS = [
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
]
"""Of every response that does not say otherwise: nothing here is a page, or for a cache."""
TLS_HEADERS = [(b"strict-transport-security", b"max-age=31536000")]
"""Of every response by TLS."""
PROBES = frozenset({"/health/live", "/health/ready"})
"""Answered however much there is to do: who is busy must not be restarted."""
UNKNOWN = "none"


class Gate:
    """An ASGI app around another one.

    Args:
        app: that answers.
        most: requests in work at a time.
    """

    def __init__(self, app: ASGIApp, most: int) -> None:
        self._app, self._most = app, most
        self._in_work = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status = time.perf_counter(), 0
        headers = [*HEADERS, *TLS_HEADERS] if scope["scheme"] == "https" else HEADERS

        async def guarded(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                told = {name for name, _ in message["headers"]}
                safe = [each for each in headers if each[0] not in told]
                message["headers"] = [*message["headers"], *safe]
            await send(message)

        # Percent-encoded as it came, so that a slash in an id is none of the path.
        scope["path"] = scope["raw_path"].decode("latin-1")
        self._in_work += 1
        try:
            if self._in_work > self._most and scope["path"] not in PROBES:
                raise ProblemError(
                    "overloaded",
                    "try again a little later, start another process, or raise "
                    "NEXTCLICK_API_MAX_REQUESTS",
                    {"Retry-After": "1"},
                )
            await self._app(scope, receive, guarded)
        except ProblemError as problem:
            await problem.response()(scope, receive, guarded)
        except Exception as error:
            _log(scope, error)
            if not status:
                await our_fault().response()(scope, receive, guarded)
        finally:
            self._in_work -= 1
            operation = scope.get("nextclick.operation", UNKNOWN)
            requests, seconds = _counted(operation, status)
            requests.inc()
            seconds.observe(time.perf_counter() - start)
            if logger.isEnabledFor(logging.DEBUG):
                # Not the path, which names a user.
                logger.debug("%s %s %d", scope["method"], operation, status)


@lru_cache(maxsize=1024)
def _counted(operation: str, status: int) -> tuple[Counter, Histogram]:
    return metrics.API_REQUESTS.labels(operation, status), metrics.API_SECONDS.labels(operation)


def our_fault() -> ProblemError:
    """What the caller is told where the fault is ours."""
    return ProblemError("at-fault", "report it, with what the log of this process says of it")


def _log(scope: Scope, error: Exception) -> None:
    # Not the error's own words, in which a user's id may stand.
    logger.error(
        "%s failed: %s\n%s",
        scope.get("nextclick.operation", UNKNOWN),
        type(error).__name__,
        "".join(traceback.format_tb(error.__traceback__)).rstrip(),
    )
