"""What goes wrong, as the caller is told it: problem details of RFC 9457, which say what to do."""

from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import Meta
from starlette.responses import Response

MEDIA_TYPE = "application/problem+json"
TYPE = "urn:nextclick:problem:"

Kind: TypeAlias = Literal[
    "malformed", "unauthenticated", "forbidden", "not-found", "no-operation", "wrong-method",
    "too-slow", "too-large", "not-json", "breaks-contract", "rate-limited", "at-fault",
    "unavailable", "overloaded",
]  # fmt: skip

STATUSES: dict[Kind, tuple[int, str]] = {
    "malformed": (400, "The request cannot be read"),
    "unauthenticated": (401, "No valid API key came with the request"),
    "forbidden": (403, "This caller may not do that"),
    "not-found": (404, "There is no such thing"),
    "no-operation": (404, "There is no operation at this path"),
    "wrong-method": (405, "There is no operation of this method at this path"),
    "too-slow": (408, "The body of the request did not come in time"),
    "too-large": (413, "The body of the request is too large"),
    "not-json": (415, "The body of the request is not declared as JSON"),
    "breaks-contract": (422, "The body of the request breaks its contract"),
    "rate-limited": (429, "This caller makes more requests than it may"),
    "at-fault": (500, "The fault is ours"),
    "unavailable": (503, "A part that is needed is away"),
    "overloaded": (503, "More requests are in work than may be"),
}


class ProblemDetails(msgspec.Struct, frozen=True, omit_defaults=True):
    """A problem, as of RFC 9457."""

    type: Annotated[str, Meta(description="`urn:nextclick:problem:` and the kind of problem.")]
    title: str
    status: Annotated[int, Meta(ge=400, le=599)]
    detail: Annotated[str, Meta(description="What was wrong here, and what to do.")]
    reason: Annotated[str, Meta(description="The code of the broken contract.")] | None = None
    results: Annotated[
        tuple[Any, ...] | None, Meta(description="Of each event, where events were sent.")
    ] = None


class ProblemError(Exception):
    """Ends a request; the caller gets its details.

    Args:
        kind: of problem.
        detail: what was wrong, and what to do: for the caller, who may be anybody.
        headers: of the response.
        more: further members of ``ProblemDetails``.
    """

    def __init__(
        self, kind: Kind, detail: str, headers: dict[str, str] | None = None, **more: Any
    ) -> None:
        super().__init__(detail)
        self.kind: Kind = kind
        self.headers = headers
        self._more = more

    @property
    def details(self) -> ProblemDetails:
        """What the caller is told."""
        status, title = STATUSES[self.kind]
        return ProblemDetails(TYPE + self.kind, title, status, str(self), **self._more)

    def response(self) -> Response:
        """The same as a response."""
        details = self.details
        return Response(
            msgspec.json.encode(details), details.status, self.headers, media_type=MEDIA_TYPE
        )
