"""Order, rules and reasons of a list, on candidates whose right order is known."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from model.blend import BlendWeights
from model.events import Context
from model.features import Vocabulary
from model.ids import item_hashes
from model.items import Item
from model.pool_table import best_of_lists
from model.signals import Pool
from serving.candidates import Candidates, CandidateTable, Ties
from serving.catalog import Catalog
from serving.contributions import Shown, ties_of_shown
from serving.list_request import ListRequest, RequestTable
from serving.reasons import Telling, reasons_of
from serving.recommendation import SOURCE_BIT, AsOf, Recommended, Source
from serving.rerank import rerank
from serving.source import Place
from serving.why import FitsProfile, Pinned, Sponsored
from tests.parts import NOW, profile

REPEAT_ALONE = BlendWeights(network=0, repeat=1)
NETWORK_ALONE = BlendWeights(network=1, repeat=0)


@pytest.fixture
def catalog() -> Catalog:
    """Items a to h, of which the network knows a to d."""
    made = Catalog(Vocabulary(list("abcd")))
    for name in "abcdefgh":
        made.put(Item(item_id=name, title=f"title {name}", category=("shop", f"aisle {name}")))
    return made


def request(
    *,
    seen: Sequence[str] = (),
    bought: Sequence[str] = (),
    query: str | None = None,
    current: str | None = None,
) -> ListRequest:
    past = profile(seen=seen, bought=bought)
    return ListRequest("u", "e", NOW, AsOf("events", 0, 0), past, query, current)


def pool(
    catalog: Catalog,
    repeat: Mapping[str, float],
    *,
    match: Mapping[str, float] | None = None,
    chosen: Mapping[str, float] | None = None,
    sources: Mapping[str, Sequence[Source]] | None = None,
    ties: Sequence[tuple[str, str, float]] = (),
) -> Candidates:
    """Candidates with these strengths; ``ties`` are (user's item, other item, weight)."""
    names = sorted(repeat)
    rows = np.array([catalog.items.index(item(catalog, name)) for name in names], np.int64)
    bits = [
        sum(SOURCE_BIT[each] for each in (sources or {}).get(name, ["repeat"])) for name in names
    ]
    zeros = np.zeros(len(names), np.float32)
    return Candidates(
        rows=rows,
        sources=np.array(bits, np.uint8),
        repeat=np.array([repeat[name] for name in names], np.float32),
        together=zeros,
        popular=zeros,
        match=np.array([(match or {}).get(name, 0) for name in names], np.float32),
        chosen=np.array([(chosen or {}).get(name, 0) for name in names], np.float32),
        ties=Ties(
            item_hashes([seed for seed, _, _ in ties]),
            catalog.rows_of_hashes(item_hashes([other for _, other, _ in ties])),
            np.array([weight for _, _, weight in ties]),
        ),
    )


def item(catalog: Catalog, name: str) -> Item:
    found = catalog.get(name)
    assert found is not None
    return found


def listed(
    catalog: Catalog,
    candidates: Candidates,
    asked: ListRequest | None = None,
    *,
    network: Mapping[str, float] | None = None,
    nearest: Mapping[str, float] | None = None,
    in_countries: tuple[Place, ...] = (),
    **changes: Any,
) -> tuple[Recommended, ...]:
    """The list; ``network`` scores candidates, ``nearest`` are the network's own items."""
    network, nearest = network or {}, nearest or {}
    names = [catalog.items[row].item_id for row in candidates.rows]
    arguments: dict[str, Any] = {
        "catalog": catalog,
        "weights": REPEAT_ALONE,
        "repeats_allowed": True,
        "length": 10,
    }
    (made,) = rerank(
        RequestTable([asked or request()]),
        replace(alone(candidates), in_countries=in_countries),
        np.array([network.get(name, 0) for name in names], np.float32),
        catalog.rows_of_hashes(item_hashes(list(nearest)))[None],
        np.array([list(nearest.values())], np.float32),
        np.zeros((1, len(nearest)), np.float32),
        **arguments | changes,
    )
    return made


def alone(candidates: Candidates) -> CandidateTable:
    """The candidates of one list as those of a whole micro-batch."""
    columns = {each.name: getattr(candidates, each.name) for each in fields(Pool)}
    size = len(candidates.rows)
    return CandidateTable(
        pool=Pool(**columns),
        owner=np.zeros(size, np.int64),
        starts=np.array([0, size]),
        ties=candidates.ties,
        tie_places=np.searchsorted(candidates.rows, candidates.ties.rows),
        units=np.ones(1),
    )


def ids(items: Sequence[Recommended]) -> str:
    assert [each.rank for each in items] == list(range(1, len(items) + 1))
    return "".join(each.item_id for each in items)


def test_the_blend_decides_and_equals_keep_catalogue_order(catalog: Catalog) -> None:
    strengths = {"a": 1, "b": 3, "c": 2, "d": 3}
    assert ids(listed(catalog, pool(catalog, strengths))) == "bdca"


def test_a_list_has_at_most_its_length(catalog: Catalog) -> None:
    found = pool(catalog, {name: at for at, name in enumerate("abcdefgh")})
    assert ids(listed(catalog, found, length=3)) == "hgf"
    assert ids(listed(catalog, found, length=8)) == "hgfedcba"


def test_what_others_chose_answers_the_query_like_a_match(catalog: Catalog) -> None:
    found = pool(
        catalog,
        {"a": 100, "b": 1, "c": 50, "d": 2},
        match={"b": 1.0, "d": 0.45},
        chosen={"c": 1, "b": 3},
    )
    assert ids(listed(catalog, found, request(query="q"))) == "bcda"
    # One choice after the same search is half an answer, of nine each nearly one.
    found = pool(catalog, {"a": 0, "b": 100}, match={"b": 0.8}, chosen={"a": 9})
    assert ids(listed(catalog, found, request(query="q"))) == "ab"


def test_matches_of_a_query_come_first_and_in_steps(catalog: Catalog) -> None:
    found = pool(
        catalog,
        {"a": 100, "b": 1, "c": 50, "d": 2, "e": 3},
        match={"b": 1.0, "d": 0.51, "e": 0.55, "c": 0.001},
    )
    assert ids(listed(catalog, found, request(query="q"))) == "bedca"


def test_the_networks_nearest_join_with_its_own_scores(catalog: Catalog) -> None:
    found = pool(catalog, {"a": 1, "e": 1})
    items = listed(
        catalog, found, network={"a": 0.5, "e": 2}, nearest={"a": 0.5, "b": 1, "c": 3},
        weights=NETWORK_ALONE,
    )  # fmt: skip
    assert ids(items) == "ceba"
    assert [each.score for each in items] == [3, 2, 1, 0.5]
    assert [each.sources for each in items] == [
        ("nearest",),
        ("repeat",),
        ("nearest",),
        ("repeat", "nearest"),
    ]


def test_what_the_catalogue_does_not_have_is_left_out(catalog: Catalog) -> None:
    found = pool(catalog, {"a": 1, "e": 2})
    catalog.remove("b")
    catalog.put(Item(item_id="c", available=False))
    nearest = {"b": 9, "c": 8, "d": 1, "never heard of": 7}
    assert ids(listed(catalog, found, nearest=nearest)) == "ead"


def test_what_was_removed_while_the_network_ran_is_left_out(catalog: Catalog) -> None:
    found = pool(catalog, dict.fromkeys("abc", 1))
    catalog.remove("a")
    assert ids(listed(catalog, found)) == "bc"
    catalog.put(Item(item_id="b", title="a new title, and so a new row"))
    assert ids(listed(catalog, found, nearest={"b": 1})) == "cb", "and only once"
    for name in "bcdefgh":
        catalog.remove(name)
    assert listed(catalog, found, nearest={"b": 1}) == ()


def test_the_current_item_is_not_recommended(catalog: Catalog) -> None:
    found = pool(catalog, {"a": 2, "b": 1})
    assert ids(listed(catalog, found, request(current="a"), nearest={"a": 1, "c": 1})) == "bc"
    assert ids(listed(catalog, found, request(current="unknown"))) == "ab"


def test_seen_items_return_only_where_repeats_are_allowed(catalog: Catalog) -> None:
    found = pool(catalog, dict.fromkeys("abcdef", 1))
    asked = request(seen=["a", "unknown"], bought=["b", "b", "gone"])
    assert ids(listed(catalog, found, asked)) == "abcdef"
    assert ids(listed(catalog, found, asked, repeats_allowed=False)) == "cdef"
    assert ids(listed(catalog, found, repeats_allowed=False)) == "abcdef"
    everything = request(seen=list("abc"), bought=list("defgh"))
    assert listed(catalog, found, everything, repeats_allowed=False) == ()


def test_no_candidates_make_an_empty_list(catalog: Catalog) -> None:
    assert listed(catalog, pool(catalog, {})) == ()
    assert listed(Catalog(Vocabulary([])), pool(catalog, {})) == ()


@pytest.mark.parametrize(
    ("sources", "reason", "because"),
    [
        (["search", "popular"], "comes near your search “智能 手机”", "智能 手机"),
        (["repeat", "together", "popular"], "you have bought this before", None),
        (["together", "nearest"], "often together with title b", "b"),
        (["nearest", "popular"], "fits what you chose last: title c", "c"),
        (["chosen", "together"], "others chose this after searching “智能 手机”", "智能 手机"),
        (["nearest", "new"], "fits what you chose last: title c", "c"),
        (["new", "popular"], "new here", None),
        (["popular"], "popular in aisle a", "aisle a"),
        (["rule", "search", "popular"], "picked by the shop", None),
    ],
)
def test_the_most_telling_source_gives_the_reason(
    catalog: Catalog, sources: list[Source], reason: str, because: str | None
) -> None:
    found = pool(
        catalog,
        {"a": 1},
        sources={"a": sources},
        ties=[("c", "a", 1), ("b", "a", 3), ("gone", "a", 9)],
    )
    asked = request(seen=["b", "c", "unknown"], query="智能 手机")
    (made,) = listed(catalog, found, asked)
    assert (made.reason, made.because, made.sources) == (reason, because, tuple(sources))


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("title a", "matches your search “title a”"),
        ("titel a", "matches “title”, which your search “titel a” was taken for"),
        ("nothing of it", "comes near your search “nothing of it”"),
    ],
)
def test_how_an_item_matches_the_query_is_said(catalog: Catalog, query: str, reason: str) -> None:
    found = pool(catalog, {"b": 1}, sources={"b": ["search"]})
    (made,) = listed(catalog, found, request(query=query))
    assert (made.reason, made.because) == (reason, query)


def test_what_is_popular_in_the_country_of_the_list_says_so(catalog: Catalog) -> None:
    found = pool(catalog, {"a": 1, "b": 2}, sources={"a": ["popular"], "b": ["popular"]})
    here = Place(np.array([0]), np.array([catalog.row_of("a")]), np.ones(1))
    asked = request()._replace(context=Context(country="FR"))
    made = listed(catalog, found, asked, in_countries=(here,))
    assert [each.reason for each in made] == ["popular in aisle b", "popular in your country (FR)"]
    # Of the profile alone, by its hash, the name is not known.
    made = listed(catalog, found, asked._replace(context=None), in_countries=(here,))
    assert [each.reason for each in made] == ["popular in aisle b", "popular in your country"]


def test_of_items_that_tie_it_equally_the_newest_is_named(catalog: Catalog) -> None:
    ties = [("d", "a", 1), ("b", "a", 3), ("c", "a", 3), ("b", "e", 1), ("c", "e", 2)]
    sources: dict[str, list[Source]] = {"a": ["together"], "e": ["together"]}
    found = pool(catalog, {"a": 2, "e": 1}, sources=sources, ties=ties)
    made = listed(catalog, found, request(seen=["c", "b", "d"]))
    assert [each.because for each in made] == ["b", "c"]


def test_the_newest_item_that_the_catalogue_has_is_named(catalog: Catalog) -> None:
    found = pool(catalog, {"a": 1}, sources={"a": ["nearest"]})
    for seen, named in ((["b", "c"], "c"), (["b", "c", "gone", "lost"], "c"), (["gone"], None)):
        (made,) = listed(catalog, found, request(seen=seen))
        assert made.because == named


def test_a_place_that_was_paid_for_is_told_as_such(catalog: Catalog) -> None:
    found = alone(pool(catalog, {"a": 1, "b": 1}, sources={"a": ["rule"], "b": ["rule"]}))
    shown = Shown(
        np.zeros(2, np.int64), np.arange(2), found.pool.rows, found.pool.sources,
        sponsored=np.array([False, True]),
    )  # fmt: skip
    requests = RequestTable([request()])
    ties = ties_of_shown(shown, found, catalog)
    reasons = reasons_of(shown, ties, requests, catalog, ("en",))
    assert reasons.why == [Pinned(), Sponsored()]
    assert reasons.sentences == ["picked by the shop", "sponsored"]


def test_sentences_come_in_the_languages_asked_for(catalog: Catalog) -> None:
    found = pool(catalog, {"a": 1, "b": 0}, sources={"a": ["together"]}, ties=[("c", "a", 1)])
    asked = request(seen=["c"])
    chinese = listed(catalog, found, asked, telling=Telling(("zh",)))
    assert [each.reason for each in chinese] == ["常与“title c”一起被选择", "您以前买过"]
    assert all(each.reasons is None for each in chinese)
    both = listed(catalog, found, asked, telling=Telling(("en", "zh"), "off"))
    assert both[0].reasons == {"en": "often together with title c", "zh": chinese[0].reason}
    assert [each.reasons and each.reasons["en"] for each in both] == [each.reason for each in both]
    assert [each.why for each in both] == [each.why for each in chinese]


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("together", "often together with your earlier choices"),
        ("nearest", "suggested to newcomers"),
        ("popular", "popular now"),
    ],
)
def test_a_reason_points_at_nothing_where_there_is_nothing(source: Source, reason: str) -> None:
    catalog = Catalog(Vocabulary([]))
    catalog.put(Item(item_id="a"))
    (made,) = listed(catalog, pool(catalog, {"a": 1}, sources={"a": [source]}))
    assert (made.reason, made.because) == (reason, None)


def test_who_has_a_past_is_no_newcomer(catalog: Catalog) -> None:
    found = pool(catalog, {"a": 1}, sources={"a": ["nearest"]})
    (made,) = listed(catalog, found, request(seen=["gone", "lost"]))
    assert (made.reason, made.why) == ("fits your earlier choices", FitsProfile())


@given(
    st.lists(st.tuples(st.sampled_from([0.0, 0.04, 0.5, 1.0]), st.integers(-3, 3)), max_size=40),
    st.integers(1, 12),
)
def test_sorting_a_part_is_sorting_the_whole(found: list[tuple[float, int]], length: int) -> None:
    match: NDArray[np.float32] = np.array([one for one, _ in found], np.float32)
    scores: NDArray[np.float32] = np.array([two for _, two in found], np.float32)
    rows = np.arange(len(found), dtype=np.int64)[::-1].copy()
    whole = sorted(
        range(len(found)), key=lambda at: (-np.ceil(match[at] * 10), -scores[at], rows[at])
    )
    owner = np.zeros(len(found), np.int64)
    chosen = best_of_lists(owner, match, scores, rows, lists=1, length=length)
    assert chosen.places.tolist() == whole[:length]
    assert chosen.ends.tolist() == [min(length, len(found))]
