"""Which events get a list: each search its own, a user's other events of a batch one together."""

import json
from collections import Counter
from collections.abc import Sequence

from model.events import (
    MAX_TIME_MS,
    Cart,
    Click,
    Favorite,
    Purchase,
    Rating,
    Search,
    decode_event,
)
from model.signals import LOOKED_AT
from serving import metrics
from serving.intake import Decoded
from serving.learning import Learned
from serving.list_request import ListRequest, RequestTable
from serving.parts import Parts
from serving.profile import Profile
from serving.recommendation import AsOf

REPLAY_HEADER = "nextclick-replay"
"""Set on records that a replay wrote: they update profiles and publish no list by default."""

DEEDS = frozenset((Click, Cart, Favorite, Rating, Purchase, Search))


def list_requests(
    parts: Parts, decoded: Sequence[Decoded], learned: dict[str, Learned]
) -> RequestTable:
    """The lists that a micro-batch asks for, in the order of their causes."""
    causes = _causes(parts, decoded, learned)
    # The newest one of each user, searches aside, stands for the others.
    newest = {each.event.user_id: each for each in causes if type(each.event) is not Search}
    return RequestTable(
        [
            _request(each, learned[each.event.user_id].profile)
            for each in causes
            if type(each.event) is Search or newest[each.event.user_id] is each
        ]
    )


def _causes(parts: Parts, decoded: Sequence[Decoded], learned: dict[str, Learned]) -> list[Decoded]:
    """The events that a list is wanted for."""
    oldest = parts.now_ms() - parts.max_event_age_ms
    causes: list[Decoded] = []
    without: Counter[str] = Counter()
    for each in decoded:
        event = each.event
        if type(event) not in DEEDS:
            continue
        if event.time <= learned[event.user_id].forgotten_until:
            without["forgotten"] += 1
        elif parts.publish_replayed:
            causes.append(each)
        elif _is_replayed(each):
            without["replayed"] += 1
        elif event.time < oldest:
            without["old"] += 1
        else:
            causes.append(each)
    for why, count in without.items():
        metrics.WITHOUT_LIST.labels(why).inc(count)
    return causes


def _is_replayed(each: Decoded) -> bool:
    headers = each.record.headers
    return len(headers) > 0 and any(name == REPLAY_HEADER for name, _ in headers)


def _request(each: Decoded, profile: Profile) -> ListRequest:
    event, record = each.event, each.record
    as_of = AsOf(record.topic, record.partition, record.offset)
    query: str | None = None
    current: str | None = None
    # A later search of the same micro-batch is not what this one's list is for.
    searched_until = MAX_TIME_MS
    if isinstance(event, Search):
        query, searched_until = event.query, event.time
    elif isinstance(event, LOOKED_AT):
        current = event.item_id
    return ListRequest(
        event.user_id, event.event_id, event.time, as_of, profile, query, current, searched_until,
        event.context,
    )  # fmt: skip


def search_now(user_id: str, query: str, now_ms: int) -> Search:
    """A search of this moment, which nobody has sent.

    Raises:
        ContractError: no user can have this id, or no search this query.
    """
    event = {"type": "search", "event_id": "now", "user_id": user_id, "ts": now_ms, "query": query}
    # By way of JSON, which refuses what cannot be written in it.
    decoded = decode_event(json.dumps(event).encode(), now_ms)
    assert isinstance(decoded, Search)
    return decoded
