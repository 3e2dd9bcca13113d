"""Who calls, and what they may do."""

from typing import Any

from starlette.requests import Request

from stream.api.keys import Scope
from stream.api.problems import ProblemError
from stream.api.service import Service
from stream.settings_rules import is_loopback

LOCAL = "this machine"
"""The one caller where there are no keys."""
FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip")
HOW = "send the header `Authorization: Bearer KEY` with a key that `nextclick api-key` has made"


def authorise(request: Request, service: Service, scope: Scope | None) -> None:
    """Let the request pass, or end it.

    Args:
        request: any.
        service: whose keys and rates hold.
        scope: what the caller has to have; None: anybody may.

    Raises:
        ProblemError: unauthenticated, forbidden or rate-limited.
    """
    if scope is None:
        return
    if not service.keys.is_closed:
        _require_local(request)
        return
    kind, _, key = request.headers.get("authorization", "").partition(" ")
    found = service.keys.find(key.strip()) if kind.lower() == "bearer" else None
    if found is None:
        raise ProblemError("unauthenticated", HOW, {"WWW-Authenticate": "Bearer"})
    request.state.scopes = found.scopes
    if scope not in found.scopes:
        raise ProblemError(
            "forbidden",
            f"the key `{found.name}` lacks the scope `{scope}`; use another one, or add the scope "
            "to its line in the file of keys",
        )
    rate = service.settings.api_rate if found.rate is None else found.rate
    wait_s = service.rate_limit.wait_s(found.name, rate) if rate else 0.0
    if wait_s:
        raise ProblemError(
            "rate-limited",
            f"the key `{found.name}` may make {rate:g} requests a second; wait",
            {"Retry-After": str(max(1, round(wait_s + 0.5)))},
        )


def may(request: Request, service: Service, scope: Scope) -> bool:
    """Whether the caller, whom ``authorise`` has let pass, has another scope too."""
    return not service.keys.is_closed or scope in request.state.scopes


def _require_local(request: Request) -> None:
    """The caller is a program on this machine: no proxy that lets others in, and no web page.

    A page that somebody here looks at reaches this machine by a name of its own (DNS rebinding).
    """
    client: Any = request.scope.get("client")
    if client is None or not is_loopback(client[0]):
        raise ProblemError(
            "forbidden", "without API keys only this machine is served; set NEXTCLICK_API_KEYS"
        )
    if any(name in request.headers for name in FORWARDED):
        raise ProblemError(
            "forbidden",
            "this request came by a proxy, and without API keys only this machine is served; set "
            "NEXTCLICK_API_KEYS",
        )
    host, _, port = request.headers.get("host", "").rpartition(":")
    name = host if port.isdecimal() and host else request.headers.get("host", "")
    if not is_loopback(name):
        raise ProblemError(
            "forbidden",
            "without API keys this machine has to be called by its own address, 127.0.0.1 or "
            "localhost, in the header `Host`",
        )
