"""Events in: one, or a batch with a result for each."""

import time
from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response

from model.events import ContractError, Event, Forget, decode_event
from stream.api.bodies import decode_body, json_response, parameters, read_body
from stream.api.callers import may
from stream.api.event_writer import KeyedEvent, Written
from stream.api.operation import Operation
from stream.api.problems import ProblemError
from stream.api.service import Service

MOST_EVENTS = 1_000

Events: TypeAlias = Event | Annotated[list[Event], Meta(min_length=1, max_length=MOST_EVENTS)]

_batch: msgspec.json.Decoder[list[msgspec.Raw]] = msgspec.json.Decoder(
    Annotated[list[msgspec.Raw], Meta(min_length=1, max_length=MOST_EVENTS)]
)


class Accepted(msgspec.Struct, frozen=True):
    """What has become of events, in the order in which they were sent."""

    stored: int
    results: tuple[Written, ...]


async def send(request: Request, service: Service) -> Response:
    """Check each event, store those that keep the contract, and tell of each."""
    parameters(request, {})
    body = await read_body(request, service.settings)
    is_batch = body.lstrip()[:1] == b"["
    records = decode_body(_batch, body) if is_batch else [msgspec.Raw(body)]
    may_forget, now_ms = may(request, service, "forget"), time.time_ns() // 1_000_000
    checked = [_checked(bytes(each), now_ms, may_forget) for each in records]
    events = [each for each in checked if isinstance(each, KeyedEvent)]
    fates = iter(await service.writer.write(events, request.headers) if events else [])
    results = tuple(next(fates) if isinstance(each, KeyedEvent) else each for each in checked)
    stored = sum(each.status == "stored" for each in results)
    if stored == len(results):
        return json_response(Accepted(stored, results), 202)
    if stored:
        return json_response(Accepted(stored, results), 207)
    raise _nothing_stored(results)


def _checked(value: bytes, now_ms: int, may_forget: bool) -> KeyedEvent | Written:
    """The event as it came, unknown fields included; or why it is refused."""
    try:
        event = decode_event(value, now_ms)
    except ContractError as error:
        return Written("refused", reason=error.reason, detail=str(error))
    if isinstance(event, Forget) and not may_forget:
        return Written(
            "refused", reason="forbidden", detail="this key lacks the scope `forget`; use another"
        )
    return KeyedEvent(event.user_id.encode(), value, isinstance(event, Forget))


def _nothing_stored(results: tuple[Written, ...]) -> ProblemError:
    first = next((each for each in results if each.status == "not_stored"), None)
    if first is not None:
        return ProblemError(
            "unavailable", first.detail or "", {"Retry-After": "1"}, results=results
        )
    first = results[0]
    if len(results) == 1 and first.reason == "malformed_json":
        return ProblemError("malformed", f"the body is no JSON: {first.detail}")
    kind = results[0].reason if all(each.reason == first.reason for each in results) else None
    if kind == "forbidden":
        return ProblemError("forbidden", first.detail or "", results=results)
    return ProblemError(
        "breaks-contract",
        f"no event keeps the contract of docs/events.schema.json; the first one: {first.detail}",
        reason=first.reason,
        results=results,
    )


OPERATIONS = (
    Operation(
        "sendEvents",
        "POST",
        "/v1/events",
        "write",
        "Send events",
        f"One event, or an array of 1 to {MOST_EVENTS:,}. Each is checked by the contract "
        "(docs/events.schema.json), keyed by its user and stored with acks=all, as it came; those "
        "of one user keep their order. A `forget` event needs the scope `forget` too.",
        send,
        {
            202: ("All are stored.", Accepted),
            207: ("Some are stored; the results say which.", Accepted),
        },
        ("breaks-contract", "unavailable"),
        body=Events,
    ),
)
