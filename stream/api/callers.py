"""Who calls, and what they may do."""

from base64 import b64decode
from typing import Any, Literal, TypeAlias

from starlette.requests import Request

from stream.api.keys import Scope
from stream.api.problems import ProblemError
from stream.api.service import Service
from stream.settings_rules import is_loopback

Challenge: TypeAlias = Literal["Bearer", "Basic"]
"""How a key is shown. A browser asks its user for a name and password by itself (`Basic`): the key
is the password, and the name is of no account. What a page of somebody else's makes a browser send
has that along too, so that only operations of the console take it."""
CHALLENGES: dict[Challenge, str] = {
    "Bearer": "Bearer",
    "Basic": 'Basic realm="nextclick", charset="UTF-8"',
}
LOCAL = "this machine"
"""The one caller where there are no keys."""
FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip")
HOW: dict[Challenge, str] = {
    "Bearer": "send the header `Authorization: Bearer KEY` with a key that `nextclick api-key` has "
    "made",
    "Basic": "log in with any name, and as the password a key that `nextclick api-key` has made",
}


def authorise(
    request: Request, service: Service, scope: Scope | None, challenge: Challenge = "Bearer"
) -> None:
    """Let the request pass, or end it.

    Args:
        request: any.
        service: whose keys and rates hold.
        scope: what the caller has to have; None: anybody may.
        challenge: how a key is to be shown.

    Raises:
        ProblemError: unauthenticated, forbidden or rate-limited.
    """
    if scope is None:
        return
    if not service.keys.is_closed:
        _require_local(request)
        return
    key = _shown_key(request, challenge)
    found = None if key is None else service.keys.find(key)
    if found is None:
        raise ProblemError(
            "unauthenticated", HOW[challenge], {"WWW-Authenticate": CHALLENGES[challenge]}
        )
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


def _shown_key(request: Request, challenge: Challenge) -> str | None:
    kind, _, shown = request.headers.get("authorization", "").partition(" ")
    if kind.lower() != challenge.lower():
        return None
    if challenge == "Bearer":
        return shown.strip()
    try:
        return b64decode(shown.strip(), validate=True).decode().partition(":")[2]
    except ValueError:  # neither Base64 nor UTF-8
        return None


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
