"""Records that break the contract of the events topic, each in another way."""

import json
import random
from collections.abc import Callable, Mapping
from typing import Any

from model.events import MAX_EVENT_BYTES, MAX_ID_BYTES, MAX_QUERY_CHARACTERS

FAR_FUTURE_MS = 4_102_444_800_000
"""The year 2100."""
OVERSIZE_SHARE = 0.005
"""Of the garbage: each is a thousand times an event."""


def garbage(rng: random.Random, user_id: str, time_ms: int) -> bytes | None:
    """The value of a record that no reader of events can take; None is a record without one."""
    click = {
        "type": "click",
        "event_id": f"g{rng.getrandbits(48):x}",
        "user_id": user_id,
        "ts": time_ms,
        "item_id": "item-1",
    }
    if rng.random() < OVERSIZE_SHARE:
        return _json(click | {"session_id": "x" * MAX_EVENT_BYTES})
    kind = rng.choice(_KINDS)
    return kind(rng, click)


def _json(fields: Mapping[str, Any]) -> bytes:
    return json.dumps(fields, ensure_ascii=False).encode()


def _without(click: dict[str, Any], field: str) -> bytes:
    return _json({name: value for name, value in click.items() if name != field})


_KINDS: tuple[Callable[[random.Random, dict[str, Any]], bytes | None], ...] = (
    lambda rng, click: _json(click)[: rng.randrange(1, 40)],
    lambda rng, click: rng.randbytes(rng.randrange(1, 200)),
    lambda rng, click: None,
    lambda rng, click: b"",
    lambda rng, click: b"[" * rng.randrange(1, 5_000),
    lambda rng, click: _json(click | {"item_id": rng.randrange(1000)}),
    lambda rng, click: _json(click | {"ts": "yesterday"}),
    lambda rng, click: _json(click | {"ts": "2026-01-31T12:00:00"}),
    lambda rng, click: _json(click | {"ts": -rng.randrange(1, 1_000_000)}),
    lambda rng, click: _json(click | {"ts": FAR_FUTURE_MS}),
    lambda rng, click: _json(click | {"type": "clique"}),
    lambda rng, click: _json(click | {"dwell_ms": -1}),
    lambda rng, click: _json(click | {"event_id": "é" * MAX_ID_BYTES}),
    lambda rng, click: _json(click | {"item_id": ""}),
    lambda rng, click: _json(
        click | {"type": "search", "query": "茶" * (MAX_QUERY_CHARACTERS + rng.randrange(1, 90))}
    ),
    lambda rng, click: _without(click, "item_id"),
    lambda rng, click: _without(click, "user_id"),
)
