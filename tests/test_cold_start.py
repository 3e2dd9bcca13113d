"""A user of whom nothing is known, and an item that has just come in, on the whole path."""

from collections.abc import AsyncIterator
from dataclasses import replace

import msgspec
import pytest

from model.blend import BlendWeights
from model.bundle import Bundle, load_bundle
from model.events import Context, Event
from model.items import Item
from model.quotas import SourceQuotas
from serving.candidates import CandidateSources
from serving.parts import Parts
from serving.recommend import recommend
from serving.recommendation import Recommendation
from tests.parts import NOW, click, open_parts, records_of, search
from tests.tiny import tiny_bundle

KINDS = ("tea", "book", "lamp")
SHOP = [
    Item(item_id=f"{kind}-{at}", title=f"{kind} number {at}", category=("shop", kind))
    for at in range(8)
    for kind in KINDS
]
POPULAR_ALONE = BlendWeights(network=0, repeat=0, popular=1)
TOGETHER_FIRST = BlendWeights(network=0, repeat=0, covisit=1, popular=0.001)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    path = tmp_path_factory.mktemp("cold") / "bundle"
    tiny_bundle(path, [item.item_id for item in SHOP], top_k=24)
    return load_bundle(path)


@pytest.fixture
async def parts(redis_url: str, bundle: Bundle) -> AsyncIterator[Parts]:
    async with open_parts(redis_url, SHOP, bundle=bundle, list_length=5) as opened:
        opened.counts.by_country = True
        yield opened


def under(parts: Parts, blend: BlendWeights, **quotas: int) -> Parts:
    """The same parts under another blend and other quotas."""
    manifest = msgspec.structs.replace(parts.bundle.manifest, blend=blend)
    sources = CandidateSources(
        parts.catalog, parts.counts, repeat_half_life_days=60,
        quotas=SourceQuotas(**quotas), now_ms=lambda: NOW,
    )  # fmt: skip
    return replace(parts, bundle=replace(parts.bundle, manifest=manifest), candidates=sources)


async def lists_of(parts: Parts, *events: Event, first: int) -> list[Recommendation]:
    return (await recommend(parts, records_of(events, first=first))).lists


def ids(made: Recommendation) -> list[str]:
    return [each.item_id for each in made.items]


def here(event: Event, country: str | None) -> Event:
    event.context = None if country is None else Context(country=country)
    return event


async def test_before_any_choice_a_list_is_of_what_is_popular_where_the_user_is(
    parts: Parts,
) -> None:
    parts = under(parts, POPULAR_ALONE, in_country=10)
    log = [here(click(f"d{at}", "tea-1"), "DE") for at in range(300)]
    log += [here(click(f"f{at}", "book-1"), "FR") for at in range(500)]
    await lists_of(parts, *log, first=0)
    await parts.candidates.refresh_popular()
    # A search that nothing matches: the query says nothing, the country does.
    asked = [here(search(f"new {country}", "zzz"), country) for country in ("DE", "FR", None)]
    german, french, anywhere = await lists_of(parts, *asked, first=2_000)
    assert ids(german)[0] == "tea-1"
    assert ids(french)[0] == "book-1"
    assert ids(anywhere)[0] == "book-1"
    assert "popular" in german.items[0].sources


async def test_the_first_event_of_a_newcomer_changes_the_list_at_once(parts: Parts) -> None:
    parts = under(parts, TOGETHER_FIRST, in_category=10)
    log = [
        click(f"{kind} {at}", f"{kind}-{item}")
        for at in range(9)
        for kind in KINDS
        for item in (1, 2)
    ]
    await lists_of(parts, *log, first=0)
    await parts.candidates.refresh_popular()
    (before,) = await lists_of(parts, search("newcomer", "zzz"), first=1_000)
    (after,) = await lists_of(parts, click("newcomer", "lamp-2"), first=1_001)
    assert ids(before) != ids(after)
    assert ids(after)[0] == "lamp-1"
    assert "together" in after.items[0].sources
    assert "lamp-2" not in ids(after)


@pytest.mark.parametrize("new", [{"category": ("shop", "tea")}, {"brand": "leaf"}])
async def test_a_new_item_is_reached_by_category_and_by_brand(
    parts: Parts, new: dict[str, object]
) -> None:
    parts = under(parts, BlendWeights(network=0, repeat=0, unknown=1), fresh=20)
    parts.catalog.put(Item(item_id="old", title="old", category=("shop", "cup"), brand="leaf"))
    await parts.candidates.refresh_popular()
    seen = "tea-1" if "category" in new else "old"
    (before,) = await lists_of(parts, click("u", seen), first=0)
    parts.catalog.put(Item(item_id="just in", **new))  # type: ignore[arg-type]
    (after,) = await lists_of(parts, click("u", seen), first=1)
    assert "just in" not in ids(before)
    assert "new" in after.items[ids(after).index("just in")].sources


async def test_a_new_item_answers_the_next_search_for_its_brand(parts: Parts) -> None:
    parts = under(parts, POPULAR_ALONE)
    parts.catalog.put(Item(item_id="just in", title="kettle", brand="Leafworks"))
    (made,) = await lists_of(parts, search("u", "leafworks"), first=0)
    assert ids(made)[0] == "just in"
