"""What each source proposes, within its quota, and that a source that is off changes nothing."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import numpy as np
import pytest

from model.events import Click, Context
from model.items import Item
from model.quotas import QuotaError, SourceQuotas, with_changes
from model.traits import pack_traits, place_hash
from serving.candidates import Candidates, CandidateSources
from serving.counts import Counts
from serving.list_request import ListRequest, RequestTable
from serving.parts import Parts
from serving.profile import Profile
from serving.recommendation import SOURCE_BIT, AsOf
from tests.parts import DAY_MS, NOW, click, open_parts, profile, records_of, search, take

ITEMS = [
    Item(item_id=f"{kind}-{at}", title=f"{kind} number {at}", category=("shop", kind), brand=kind)
    for at in range(6)
    for kind in ("tea", "book", "lamp")
]


@pytest.fixture
async def parts(redis_url: str) -> AsyncIterator[Parts]:
    async with open_parts(redis_url, ITEMS) as opened:
        yield opened


def with_quotas(parts: Parts, **quotas: int) -> CandidateSources:
    """The sources of a bundle with these quotas."""
    return CandidateSources(
        parts.catalog, parts.counts, repeat_half_life_days=60, quotas=SourceQuotas(**quotas)
    )


def request(
    *,
    history: Sequence[str] = (),
    bought: Sequence[str] = (),
    query: str | None = None,
    country: str | None = None,
    user: str = "u",
    offset: int = 0,
) -> ListRequest:
    past = profile(seen=history, bought=bought)
    context = Context(country=country) if country else None
    as_of = AsOf("events", 0, offset)
    return ListRequest(user, "e", NOW, as_of, past, query, context=context)


async def proposed(
    parts: Parts, sources: CandidateSources, asked: ListRequest, source: str
) -> list[str]:
    """Ids of what a source proposes, in the order of the catalogue."""
    (found,) = await sources.gather(RequestTable([asked]))
    return marked(parts, found, source)


def marked(parts: Parts, found: Candidates, source: str) -> list[str]:
    bit = SOURCE_BIT[source]  # type: ignore[index]
    return [parts.catalog.items[row].item_id for row in found.rows[found.sources & bit > 0]]


async def search_and_choose(parts: Parts, query: str, *items: str) -> None:
    """Of each item one user, who searches and then clicks it."""
    events = [
        event
        for at, item in enumerate(items)
        for event in (search(f"{query} {at}", query), click(f"{query} {at}", item))
    ]
    await take(parts, records_of(events))


async def test_what_others_chose_after_the_same_search(parts: Parts) -> None:
    await search_and_choose(parts, "Warm  Drink", "tea-1", "tea-1", "lamp-2")
    sources = with_quotas(parts)
    found = (await sources.gather(RequestTable([request(query="warm drink")])))[0]
    assert marked(parts, found, "chosen") == ["tea-1", "lamp-2"]
    chosen = found.chosen[found.chosen > 0].tolist()
    assert chosen == pytest.approx([2, 1])
    assert await proposed(parts, sources, request(query="cold drink"), "chosen") == []
    assert await proposed(parts, sources, request(), "chosen") == []


async def test_the_strongest_choices_fill_the_quota(parts: Parts) -> None:
    await search_and_choose(parts, "q", "tea-1", "tea-2", "tea-2", "tea-3", "tea-3", "tea-3")
    sources = with_quotas(parts, chosen=2)
    assert await proposed(parts, sources, request(query="q"), "chosen") == ["tea-2", "tea-3"]
    parts.catalog.remove("tea-3")
    assert await proposed(parts, sources, request(query="q"), "chosen") == ["tea-1", "tea-2"]


async def test_neighbours_and_choices_are_read_in_one_trip(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    trips: list[object] = []
    run = parts.store.run

    async def spied(calls: Sequence[tuple[Any, ...]]) -> list[Any]:
        trips.append(calls)
        return await run(calls)

    monkeypatch.setattr(parts.store, "run", spied)
    sources = with_quotas(parts, in_country=5, in_category=5, fresh=5, new=1)
    asked = request(history=["tea-1"], query="q", country="DE")
    await sources.gather(RequestTable([asked, request(country="FR")]))
    assert len(trips) == 1
    await sources.gather(RequestTable([asked]))
    assert len(trips) == 1, "all of it is held for a few seconds"


async def test_popular_in_the_categories_of_the_newest_items(parts: Parts) -> None:
    log = [click(f"v{at}", item) for at, item in enumerate(["tea-1", "tea-1", "tea-2", "book-3"])]
    await take(parts, records_of(log))
    sources = with_quotas(parts, popular=0, in_category=1)
    await sources.refresh_popular()
    assert await proposed(parts, sources, request(history=["tea-5"]), "popular") == ["tea-1"]
    assert await proposed(parts, sources, request(history=["lamp-5"]), "popular") == []
    # Of two categories each gets half.
    sources = with_quotas(parts, popular=0, in_category=2)
    await sources.refresh_popular()
    both = request(history=["tea-5", "book-1"])
    assert await proposed(parts, sources, both, "popular") == ["tea-1", "book-3"]


async def test_popular_in_the_categories_of_the_matches(parts: Parts) -> None:
    await take(parts, records_of([click("v", "tea-1"), click("v", "book-1")]))
    sources = with_quotas(parts, popular=0, in_category=5)
    await sources.refresh_popular()
    assert await proposed(parts, sources, request(query="book"), "popular") == ["book-1"]


def in_country(user: str, item: str, country: str) -> Click:
    event = click(user, item)
    event.context = Context(country=country)
    return event


async def test_before_any_event_what_is_popular_in_the_country_comes_first(
    redis_url: str,
) -> None:
    async with open_parts(redis_url, ITEMS) as parts:
        parts.counts.by_country = True
        log = [in_country(f"d{at}", "tea-1", "DE") for at in range(30)]
        log += [in_country(f"f{at}", "book-1", "FR") for at in range(60)]
        log += [click(f"n{at}", "lamp-1") for at in range(50)]
        await take(parts, records_of(log))
        sources = with_quotas(parts, popular=0, in_country=3)
        await sources.refresh_popular()
        german, french, unknown = await sources.gather(
            RequestTable([request(country=" de"), request(country="FR"), request()])
        )
        assert marked(parts, german, "popular") == ["tea-1"]
        assert marked(parts, french, "popular") == ["book-1"]
        assert marked(parts, unknown, "popular") == []
        # The more popular item of the world is drawn to what counts here.
        total = 140.0
        (tea,) = german.popular.tolist()
        assert tea == pytest.approx((30 + 100 * 30 / total) / (30 + 100) * total, rel=1e-5)
        assert tea > 30


async def test_who_asks_without_a_country_is_in_his_newest_one(redis_url: str) -> None:
    async with open_parts(redis_url, ITEMS) as parts:
        parts.counts.by_country = True
        log = [in_country(f"d{at}", "tea-1", "DE") for at in range(3)]
        log += [in_country(f"f{at}", "book-1", "FR") for at in range(3)]
        await take(parts, records_of(log))
        sources = with_quotas(parts, popular=0, in_country=3)
        await sources.refresh_popular()
        traits = pack_traits(in_country("u", "lamp-1", "fr"))
        asked = request()._replace(profile=Profile(traits=traits))
        abroad = asked._replace(context=Context(country="DE"))
        requests = RequestTable([asked, abroad])
        at_home, away = await sources.gather(requests)
        assert marked(parts, at_home, "popular") == ["book-1"]
        assert marked(parts, away, "popular") == ["tea-1"]


async def test_countries_are_not_counted_where_they_are_not_asked_for(parts: Parts) -> None:
    await take(parts, records_of([in_country("u", "tea-1", "DE")]))
    assert not await parts.store.redis.keys("*:in:*")
    parts.counts.by_country = True
    await take(parts, records_of([in_country("u", "tea-1", "DE")], first=1))
    (key,) = await parts.store.redis.keys("*:in:*")
    assert await parts.store.redis.pttl(key) == pytest.approx(6 * 14 * DAY_MS, rel=0.01)


async def test_counts_of_a_country_are_those_of_distinct_records(parts: Parts) -> None:
    parts.counts.by_country = True
    log = [in_country(f"u{at % 3}", f"tea-{at % 6}", "DE") for at in range(12)]
    records = records_of(log)
    await take(parts, records[:7])
    await take(parts, records[3:])
    await take(parts, records)
    weights = await weights_in(parts.counts, "DE")
    assert weights == pytest.approx([2 * parts.counts.weight(NOW)] * 6)


async def weights_in(counts: Counts, country: str) -> list[float]:
    sets = counts.sets.of_country(place_hash(country)).tolist()
    found = await counts.neighbours(sets)
    return [weight for each in found for weight in each.weights.tolist()]


async def test_new_items_of_the_users_categories_and_brands_are_there_at_once(
    parts: Parts,
) -> None:
    sources = with_quotas(parts, fresh=3)
    asked = request(history=["tea-0"])
    # All of tea are equally likely: the newest ones.
    assert await proposed(parts, sources, asked, "new") == ["tea-3", "tea-4", "tea-5"]
    parts.catalog.put(Item(item_id="just in", category=("shop", "tea"), brand="tea"))
    parts.catalog.put(Item(item_id="of the brand", category=("shop", "cup"), brand="tea"))
    assert await proposed(parts, sources, asked, "new") == ["tea-4", "tea-5", "just in"]
    sources = with_quotas(parts, fresh=8)
    assert "of the brand" in await proposed(parts, sources, asked, "new")
    asked = request(history=["book-0"])
    assert "of the brand" not in await proposed(parts, with_quotas(parts, fresh=6), asked, "new")


async def test_the_category_that_a_user_takes_more_of_comes_first(parts: Parts) -> None:
    sources = with_quotas(parts, fresh=6)
    asked = request(history=["tea-0", "book-0"], bought=["book-1", "book-2"])
    found = await proposed(parts, sources, asked, "new")
    assert found == [f"book-{at}" for at in range(6)]


async def test_new_items_of_what_is_searched_for(parts: Parts) -> None:
    sources = with_quotas(parts, fresh=2)
    asked = request(history=["tea-0"], query="lamp")
    assert await proposed(parts, sources, asked, "new") == ["lamp-4", "lamp-5"]


async def test_a_list_has_the_same_new_items_beside_others_and_again(parts: Parts) -> None:
    await take(parts, records_of([click("v", "tea-1"), click("v", "book-2")]))
    sources = with_quotas(parts, fresh=4)
    await sources.refresh_popular()
    asked = [request(history=["tea-1"]), request(), request(history=["lamp-2", "book-1"])]
    together = await sources.gather(RequestTable(asked))
    alone = [(await sources.gather(RequestTable([each])))[0] for each in asked]
    for one, other in zip(together, alone, strict=True):
        assert marked(parts, one, "new") == marked(parts, other, "new")
        assert len(marked(parts, one, "new")) == 4


async def test_a_well_known_item_is_not_fresh(parts: Parts) -> None:
    await take(parts, records_of([click(f"v{at}", "tea-5") for at in range(30)]))
    sources = with_quotas(parts, fresh=2)
    await sources.refresh_popular()
    assert "tea-5" not in await proposed(parts, sources, request(history=["tea-0"]), "new")


async def test_an_item_keeps_the_mark_of_every_source(parts: Parts) -> None:
    await search_and_choose(parts, "tea", "tea-5")
    await take(parts, records_of([click("v", "tea-1"), click("v", "tea-5")], first=100))
    sources = with_quotas(parts, fresh=6)
    await sources.refresh_popular()
    asked = request(history=["tea-1"], bought=["tea-5"], query="tea")
    (found,) = await sources.gather(RequestTable([asked]))
    everyone = {source for source in SOURCE_BIT if "tea-5" in marked(parts, found, source)}
    assert everyone == {"search", "chosen", "repeat", "together", "popular", "new"}


@pytest.mark.parametrize(
    ("source", "quota"),
    [("search", "search"), ("repeat", "repeat"), ("together", "together"), ("popular", "popular")],
)
async def test_no_source_proposes_more_than_its_quota(
    parts: Parts, source: str, quota: str
) -> None:
    log = [click("v", f"{kind}-{at}") for at in range(5) for kind in ("tea", "book")]
    await take(parts, records_of(log))
    bought = [f"tea-{at}" for at in range(6)]
    asked = request(history=["tea-1"], bought=bought, query="number")
    found = {}
    for most in (0, 2):
        sources = with_quotas(parts, **{quota: most})
        await sources.refresh_popular()
        found[most] = await proposed(parts, sources, asked, source)
    assert found[0] == []
    assert len(found[2]) == 2


async def test_without_a_query_the_defaults_give_what_the_first_sources_gave(
    parts: Parts,
) -> None:
    await search_and_choose(parts, "tea", "tea-5", "lamp-1")
    log = [in_country("v", f"{kind}-{at}", "DE") for at in range(5) for kind in ("tea", "book")]
    await take(parts, records_of(log, first=100))
    asked = RequestTable(
        [request(history=["tea-1", "book-3"], bought=["tea-5"], country="DE"), request()]
    )
    tables = []
    for quotas in ({}, {"chosen": 0}):
        sources = with_quotas(parts, **quotas)
        await sources.refresh_popular()
        tables.append(await sources.gather(asked))
    one, other = tables
    for name in vars(one.pool):
        assert np.array_equal(getattr(one.pool, name), getattr(other.pool, name)), name
    assert np.array_equal(one.owner, other.owner)
    assert not (one.pool.sources & (SOURCE_BIT["chosen"] | SOURCE_BIT["new"])).any()


def test_quotas_are_changed_by_name() -> None:
    changed = with_changes(SourceQuotas(), " new=1, in_country = 50 ,")
    assert (changed.new, changed.in_country, changed.popular) == (1, 50, SourceQuotas().popular)
    assert with_changes(changed, "") == changed


@pytest.mark.parametrize("wrong", ["nwe=1", "new", "new=-1", "new=1001", "new=1.5", "=3"])
def test_a_wrong_quota_is_told(wrong: str) -> None:
    with pytest.raises(QuotaError, match=r"is no (source|quota)"):
        with_changes(SourceQuotas(), wrong)


async def test_without_any_source_there_are_no_candidates(parts: Parts) -> None:
    nothing = dict.fromkeys(("search", "chosen", "repeat", "together", "popular"), 0)
    sources = with_quotas(parts, **nothing)
    await sources.refresh_popular()
    (found,) = await sources.gather(RequestTable([request(history=["tea-1"], query="q")]))
    assert not len(found.rows)
