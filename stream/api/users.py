"""Of one user: the last list, and being forgotten."""

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from model.events import encode_event
from serving.recommendation import Recommendation
from stream.api.bodies import json_response, parameters, path_id
from stream.api.event_writer import KeyedEvent
from stream.api.operation import Operation
from stream.api.problems import ProblemError
from stream.api.service import Service
from stream.forget import forget_event

USER = {
    "name": "user",
    "in": "path",
    "required": True,
    "description": "User id: at most 256 bytes of UTF-8, percent-encoded, a slash as %2F.",
    "schema": {"type": "string", "minLength": 1},
}


class Forgetting(msgspec.Struct, frozen=True):
    """Where the `forget` event of a user stands."""

    event_id: str
    ts: int
    """Epoch milliseconds: events of the user up to then are erased."""
    topic: str
    partition: int
    offset: int


async def last_list(request: Request, service: Service) -> Response:
    """The list as it stands in Redis, with the id that was asked for."""
    user = path_id(request, "user")
    parameters(request, {})
    found = await service.lookups.last_list(user)
    if found is None:
        raise ProblemError(
            "not-found",
            "this user has no list yet, or none any more (NEXTCLICK_LIST_TTL_HOURS); POST "
            "/v1/recommendations makes one now",
        )
    return json_response(found)


async def forget(request: Request, service: Service) -> Response:
    """Send what ``nextclick forget`` sends."""
    user = path_id(request, "user")
    parameters(request, {})
    event = forget_event(user)
    keyed = KeyedEvent(user.encode(), encode_event(event), is_forget=True)
    (written,) = await service.writer.write([keyed])
    if written.partition is None or written.offset is None:
        raise ProblemError(
            "unavailable", written.detail or "Kafka does not answer; send it again",
            {"Retry-After": "1"},
        )  # fmt: skip
    return json_response(
        Forgetting(
            event.event_id, event.time, service.settings.events_topic, written.partition,
            written.offset,
        ),
        202,
    )  # fmt: skip


OPERATIONS = (
    Operation(
        "lastList",
        "GET",
        "/v1/users/{user}/recommendations",
        "read",
        "The last list of a user",
        "As the `recommendations` topic has it, made by the newest event that asked for one.",
        last_list,
        {200: ("The list.", Recommendation)},
        ("not-found", "unavailable"),
        parameters=(USER,),
    ),
    Operation(
        "forgetUser",
        "DELETE",
        "/v1/users/{user}",
        "forget",
        "Forget a user",
        "Sends the `forget` event, as `nextclick forget` does: workers erase profile and last list "
        "when they come to it, and events up to its time are refused from then on. "
        "docs/privacy.md tells what else holds the user.",
        forget,
        {202: ("The event is stored.", Forgetting)},
        ("unavailable",),
        parameters=(USER,),
    ),
)
