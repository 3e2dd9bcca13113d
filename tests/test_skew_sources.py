"""What the sources that need a catalogue propose is the same, read from files and lived through.

Beside ``tests/test_skew.py``, whose log and whose exceptions these are.
"""

from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from model.baselines import DecayedPopularity
from model.dataset import Baskets, next_baskets
from model.events import Purchase
from model.fresh_log import FreshOfLog
from model.fresh_score import FreshWeights
from model.items import Item
from model.log_catalogue import LogCatalogue
from model.log_sources import LogSources, PastProfile, SourcePlan
from model.quotas import SourceQuotas
from model.signals import Origin
from serving.candidates import CandidateSources
from serving.intake import decode
from serving.parts import Parts
from serving.requests import list_requests
from tests.parts import NOW, click, open_parts, records_of, take
from tests.test_skew import KNOWN, MIDNIGHT, RARE, USERS, arrivals, live, read_back

QUOTAS = SourceQuotas(popular=4, in_category=7, fresh=9, together=6, repeat=25)
"""So few that each of them cuts."""
FRESH = FreshWeights(popular=0.7, category=1.3, brand=0.6, smoothing=4.0)
SHELVES = (("food", "tea"), ("food", "jam"), ("food",), ("home", "lamp"), ("home", "rug"), ())
ITEMS = [
    Item(
        item_id=name,
        title=name,
        category=SHELVES[row % len(SHELVES)],
        brand=f"brand-{row % 5}" if row % 5 else None,
        # The order in which a worker reads them.
        created=1 + row,
    )
    for row, name in enumerate([*KNOWN[::-1], RARE])
]


@pytest.fixture
async def parts(redis_url: str) -> AsyncIterator[Parts]:
    async with open_parts(redis_url, ITEMS, publish_replayed=True) as opened:
        yield opened


def of_basket(baskets: Baskets, number: int) -> PastProfile:
    return PastProfile(
        baskets.interactions(number), baskets.purchases(number),
        baskets.as_of(number), baskets.time(number),
    )  # fmt: skip


async def test_a_log_is_judged_by_what_the_sources_of_a_worker_propose(
    parts: Parts, tmp_path: Path
) -> None:
    well_known = [click(f"visitor-{at}", KNOWN[5], MIDNIGHT - 9_000_000) for at in range(30)]
    events = [*well_known, *arrivals(4)]
    bought_next = [
        Purchase(event_id=f"next-{user}", user_id=user, ts=MIDNIGHT, item_id=KNOWN[0])
        for user in USERS
    ]
    log = read_back([*events, *bought_next], tmp_path)
    baskets = next_baskets(log, MIDNIGHT, MIDNIGHT + 1)
    catalogue, popular = LogCatalogue(log, ITEMS), DecayedPopularity(log, 14)
    judged = LogSources(
        log, popularity_half_life_days=14, repeat_half_life_days=60,
        start=MIDNIGHT, end=MIDNIGHT, plan=SourcePlan((QUOTAS,), catalogue, FRESH),
        popular=popular,
    ).table([of_basket(baskets, number) for number in range(len(baskets))])  # fmt: skip

    await live(parts, events, 0, seed=6)
    lasts = {event.user_id: event for event in events if event.event_id.endswith("-last")}
    records = records_of([lasts[user] for user in USERS], first=len(events))
    decoded, _ = decode(records, NOW)
    requests = list_requests(parts, decoded, await take(parts, records))
    sources = CandidateSources(
        parts.catalog, parts.counts, repeat_half_life_days=60, quotas=QUOTAS, fresh=FRESH
    )
    await sources.refresh_popular()
    gathered = await sources.gather(requests)

    assert len(baskets) == len(USERS) == len(gathered)
    for number in range(len(USERS)):
        user = log.user_ids[log.users[baskets.history_ends[number]]]
        served, pool = gathered[USERS.index(user)], judged.table.pool_of(number)
        ours = {log.item_ids[row]: bits for row, bits in zip(pool.rows, pool.sources, strict=True)}
        theirs = {
            parts.catalog.items[row].item_id: bits
            for row, bits in zip(served.rows, served.sources, strict=True)
        }
        assert ours == theirs, user
        # The comparison was worth it.
        assert (pool.sources & Origin.NEW > 0).sum() == QUOTAS.fresh
        assert (pool.sources & Origin.POPULAR > 0).sum() > QUOTAS.popular
    little_known = FreshOfLog(catalogue, popular.counts).little_known(MIDNIGHT // 86_400_000)
    assert {log.item_ids[row] for row in little_known} == {*log.item_ids} - {KNOWN[5]}
    assert len(np.unique(judged.table.pool.sources)) > 8
