"""Which events get a list: each search its own, a user's other events of a batch one together."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from model.events import MAX_TIME_MS, Cart, Click, Favorite, Purchase, Rating, Search
from model.features import Searches
from model.signals import LOOKED_AT
from serving import metrics
from serving.candidates import ListRequest
from serving.intake import Decoded
from serving.learning import Learned
from serving.parts import Parts
from serving.profile import Profile
from serving.recommendation import AsOf

REPLAY_HEADER = "nextclick-replay"
"""Set on records that a replay wrote: they update profiles and publish no list by default."""


def list_requests(
    parts: Parts, decoded: Sequence[Decoded], learned: dict[str, Learned]
) -> list[ListRequest]:
    """The lists that a micro-batch asks for, in the order of their causes."""
    now = parts.now_ms()
    causes = [each for each in decoded if _wants_list(parts, each, learned, now)]
    # The newest one of each user, searches aside, stands for the others.
    newest = {each.event.user_id: each for each in causes if not isinstance(each.event, Search)}
    return [
        _request(each, learned[each.event.user_id].profile)
        for each in causes
        if isinstance(each.event, Search) or newest[each.event.user_id] is each
    ]


def _wants_list(parts: Parts, each: Decoded, learned: dict[str, Learned], now: int) -> bool:
    if not isinstance(each.event, Click | Cart | Favorite | Rating | Purchase | Search):
        return False
    if each.event.time <= learned[each.event.user_id].forgotten_until:
        metrics.WITHOUT_LIST.labels("forgotten").inc()
        return False
    if parts.publish_replayed:
        return True
    if any(name == REPLAY_HEADER for name, _ in each.record.headers):
        metrics.WITHOUT_LIST.labels("replayed").inc()
        return False
    if now - each.event.time > parts.max_event_age_ms:
        metrics.WITHOUT_LIST.labels("old").inc()
        return False
    return True


def searches_of(profile: Profile, until: int = MAX_TIME_MS) -> Searches:
    """What a profile knows of a user's searches up to ``until`` (epoch ms)."""
    found = [(time, text) for time, text in profile.searches()[::-1] if time <= until]
    return Searches(np.array([time for time, _ in found], np.int64), [text for _, text in found])


def _request(each: Decoded, profile: Profile) -> ListRequest:
    event = each.event
    looking_at = event.item_id if isinstance(event, LOOKED_AT) else None
    return ListRequest(
        user_id=event.user_id,
        event_id=event.event_id,
        time=event.time,
        as_of=AsOf(each.record.topic, each.record.partition, each.record.offset),
        history=profile.history(),
        purchases=profile.bought(),
        query=event.query if isinstance(event, Search) else None,
        current_item=looking_at,
        # A later search of the same micro-batch is not what this one's list is for.
        searches=partial(
            searches_of, profile, event.time if isinstance(event, Search) else MAX_TIME_MS
        ),
    )
