"""Lists as they stand in the topic, made up for the console's tests."""

import time

from serving.recommendation import AsOf, Recommendation


def made_list(
    user: str, offset: int, *, ts: int | None = None, partition: int = 0
) -> Recommendation:
    """The list of the event at that offset, which came 40 ms ago unless told otherwise."""
    return Recommendation(
        rec_id=f"{partition:016x}{offset:016x}",
        user_id=user,
        event_id=f"e{offset}",
        ts=time.time_ns() // 1_000_000 - 40 if ts is None else ts,
        as_of=AsOf("events", partition, offset),
        bundle=f"bundle-{offset}",
        items=(),
        step_ms={},
    )
