"""A profile is a function of the set of distinct events, and bounded."""

import random
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.events import (
    INTERACTION_KINDS,
    Cart,
    Click,
    Context,
    EventBase,
    Favorite,
    Interaction,
    Purchase,
    Rating,
    Search,
    User,
)
from model.ids import item_hash
from model.traits import COUNTRY, DEVICE, pack_traits
from serving.profile import (
    INTERACTIONS,
    PURCHASES,
    QUERIES,
    QUERY_BYTES,
    TRAITS,
    VERSION,
    Profile,
    ProfileError,
    histories_of,
    pack_interaction,
    pack_query,
    profile_of,
    purchases_of,
    unpack,
)
from tests.parts import DAY_MS, NOW, click, purchase, search

Deed: TypeAlias = Interaction | Search | User


def of(deeds: Sequence[Deed]) -> Profile:
    """The profile of these events, each given as it comes."""
    return profile_of(
        [pack_interaction(each) for each in deeds if not isinstance(each, Search | User)],
        [pack_query(each) for each in deeds if isinstance(each, Search)],
        [pack_traits(each) for each in deeds],
    )


def oracle(deeds: Sequence[Deed]) -> Profile:
    """What the promise says, in the plainest words: sort, drop copies, keep the newest."""
    interactions = {pack_interaction(each) for each in deeds if not isinstance(each, Search | User)}
    queries = {pack_query(each) for each in deeds if isinstance(each, Search)}
    purchases = {
        (each.time // DAY_MS).to_bytes(2, "big") + item_hash(each.item_id).to_bytes(6, "big")
        for each in deeds
        if isinstance(each, Purchase)
    }
    return Profile(
        b"".join(sorted(interactions, reverse=True)[:100]),
        b"".join(sorted(queries, reverse=True)[:10]),
        b"".join(sorted(purchases, reverse=True)[:280]),
        b"".join(oracle_traits(deeds)),
    )


def oracle_traits(deeds: Sequence[Deed]) -> list[bytes]:
    """The newest record of each name; of the attributes those of the eight newest names."""
    told: list[EventBase] = []
    for each in deeds:
        context = each.context or Context()
        for where in (Context(country=context.country), Context(device=context.device)):
            told.append(Click(event_id="e", user_id="u", ts=each.ts, item_id="i", context=where))
        attributes = each.attributes if isinstance(each, User) else {}
        for name, value in attributes.items():
            told.append(User(event_id="e", user_id="u", ts=each.ts, attributes={name: value}))
    newest: dict[bytes, bytes] = {}
    for record in sorted(filter(None, map(pack_traits, told))):
        newest[record[6:8]] = record
    places = [newest.pop(name) for name in (COUNTRY, DEVICE) if name in newest]
    return sorted([*places, *sorted(newest.values(), reverse=True)[:8]], reverse=True)


def in_batches(deeds: Sequence[Deed], cuts: Sequence[int]) -> list[Sequence[Deed]]:
    """The events cut into batches at these places."""
    places = [0, *sorted(cut % (len(deeds) + 1) for cut in cuts), len(deeds)]
    return [deeds[start:end] for start, end in pairwise(places)]


def merged(batches: Sequence[Sequence[Deed]]) -> Profile:
    """One profile, batch after batch."""
    profile = Profile()
    for batch in batches:
        profile = profile.merge(of(batch))
    return profile


ids = st.text("abc", min_size=1, max_size=2)
times = st.integers(NOW - 3 * DAY_MS, NOW) | st.integers(0, 3)
contexts = st.none() | st.builds(
    Context, country=st.sampled_from(["DE", "FR", None]), device=st.sampled_from(["phone", None])
)
attributes = st.dictionaries(
    st.sampled_from("abcdefghijkl"),
    st.none() | st.booleans() | st.integers(0, 3) | st.lists(ids, max_size=2),
    max_size=10,
)
deeds = st.one_of(
    st.builds(User, event_id=ids, user_id=st.just("u"), ts=times, attributes=attributes,
              context=contexts),
    st.builds(Click, event_id=ids, user_id=st.just("u"), ts=times, item_id=ids, context=contexts,
              dwell_ms=st.none() | st.integers(0, 10**6)),
    st.builds(Cart, event_id=ids, user_id=st.just("u"), ts=times, item_id=ids),
    st.builds(Favorite, event_id=ids, user_id=st.just("u"), ts=times, item_id=ids),
    st.builds(Rating, event_id=ids, user_id=st.just("u"), ts=times, item_id=ids,
              value=st.floats(allow_nan=False, allow_infinity=False)),
    st.builds(Purchase, event_id=ids, user_id=st.just("u"), ts=times, item_id=ids,
              quantity=st.floats(0.001, 1e300), price=st.none() | st.floats(0, 1e300)),
    st.builds(Search, event_id=ids, user_id=st.just("u"), ts=times, context=contexts,
              query=st.text(min_size=1, max_size=60)),
)  # fmt: skip
logs = st.lists(deeds, max_size=30)
cuts = st.lists(st.integers(0, 100), max_size=5)


MAKERS: list[Callable[[str, str, int], Deed]] = [click, search, purchase, purchase, purchase]


def told(name: str, value: int, ts: int) -> User:
    """An attribute, with where it was told."""
    return User(
        event_id=f"told {name}", user_id="u", ts=ts, attributes={name: value},
        context=Context(country="DE", device=f"phone {value % 3}"),
    )  # fmt: skip


def long_log(seed: int) -> list[Deed]:
    """600 events of one user, far over every bound, with repetitions, in no order."""
    rng = random.Random(seed)
    log: list[Deed] = []
    for _ in range(600):
        ts = NOW - rng.randrange(400) * DAY_MS - rng.randrange(DAY_MS)
        make = rng.choice(MAKERS)
        log.append(make("u", f"item {rng.randrange(900)}", ts))
    log += [told(f"name {rng.randrange(12)}", at, NOW - rng.randrange(DAY_MS)) for at in range(40)]
    log += rng.sample(log, 100)
    rng.shuffle(log)
    return log


@given(logs, cuts, st.randoms(use_true_random=False))
@settings(deadline=None)
def test_is_order_independent(log: list[Deed], cuts: list[int], rng: random.Random) -> None:
    other = list(log)
    rng.shuffle(other)
    assert merged(in_batches(other, cuts)).pack() == of(log).pack() == oracle(log).pack()


@given(logs, cuts, st.data())
@settings(deadline=None)
def test_survives_redelivery(log: list[Deed], cuts: list[int], data: st.DataObject) -> None:
    again = data.draw(st.lists(st.sampled_from(log), max_size=20)) if log else []
    assert merged([*in_batches(log, cuts), again, log]) == oracle(log)


@pytest.mark.parametrize("seed", range(5))
def test_is_bounded_and_still_order_independent(seed: int) -> None:
    log = long_log(seed)
    rng = random.Random(seed)
    other = rng.sample(log, len(log))
    profile = merged(in_batches(other, [rng.randrange(700) for _ in range(20)]))
    assert profile == of(log) == oracle(log)
    assert len(profile.interactions) == 100 * INTERACTIONS.width
    assert len(profile.queries) == 10 * QUERIES.width
    assert len(profile.purchases) == 280 * PURCHASES.width
    assert len(profile.traits) == 10 * TRAITS.width
    assert len(profile.pack()) == 4886


def test_merging_is_commutative_associative_and_idempotent() -> None:
    a, b, c = (of(long_log(seed)) for seed in range(3))
    assert a.merge(b) == b.merge(a)
    assert a.merge(b).merge(c) == a.merge(b.merge(c))
    assert a.merge(a) == a == a.merge(Profile())


def test_what_is_older_than_the_windows_floor_changes_nothing() -> None:
    full = of([click("u", f"i{n}", NOW - n) for n in range(100)])
    older = of([click("u", "late", NOW - 100)])
    assert older.interactions
    assert full.merge(older) == full


def test_a_conflicting_content_is_another_event() -> None:
    one = Click(event_id="e", user_id="u", ts=NOW, item_id="a")
    two = Click(event_id="e", user_id="u", ts=NOW, item_id="b")
    assert len(of([one, two, one]).history().items) == 2


@given(logs)
@settings(deadline=None)
def test_packing_loses_nothing(log: list[Deed]) -> None:
    profile = of(log)
    assert unpack(profile.pack()) == profile


def test_history_is_oldest_first_and_purchases_newest_first() -> None:
    first, last = NOW - 2 * DAY_MS, NOW
    profile = of([purchase("u", "b", last), click("u", "a", last - 1), purchase("u", "a", first)])
    history, bought = profile.history(), profile.bought()
    assert history.items.tolist() == [item_hash("a"), item_hash("a"), item_hash("b")]
    assert history.kinds.tolist() == [5, 1, 5]
    assert history.times.tolist() == [first, last - 1, last]
    assert bought.items.tolist() == [item_hash("b"), item_hash("a")]
    assert bought.days.tolist() == [last // DAY_MS, first // DAY_MS]


def test_linked_records_tell_the_same_and_know_that_they_are_linked() -> None:
    log: list[Deed] = [purchase("u", "b"), click("u", "a"), search("u", "智" * 30)]
    own, linked = of(log), of(log).linked()
    assert linked == linked.linked() == unpack(linked.pack())
    assert linked.interactions != own.interactions
    assert linked.queries != own.queries
    for told in (Profile.searches, lambda profile: profile.history().kinds.tolist()):
        assert told(linked) == told(own)
    assert linked.bought().items.tolist() == own.bought().items.tolist()


def test_an_empty_value_is_an_empty_profile() -> None:
    assert unpack(None) == unpack(b"") == unpack(Profile().pack()) == Profile()
    assert len(Profile().history().items) == len(Profile().bought().items) == 0


@pytest.mark.parametrize("query", ["智能手机" * 20, "é" * 60, "😀" * 40, "ab智" * 20, "x" * 50])
def test_a_long_query_is_cut_at_a_character(query: str) -> None:
    ((time, kept),) = of([search("u", query, NOW - 5)]).searches()
    assert time == NOW - 5
    assert query.startswith(kept)
    assert 46 <= len(kept.encode()) <= QUERY_BYTES
    # One character more would not have fitted.
    assert len(query[: len(kept) + 1].encode()) > QUERY_BYTES or kept == query


def test_searches_are_newest_first() -> None:
    profile = of([search("u", text, NOW + at) for at, text in enumerate(["one", "two", "三"])])
    assert profile.searches() == [(NOW + 2, "三"), (NOW + 1, "two"), (NOW, "one")]


@pytest.mark.parametrize(
    "make",
    [
        lambda: Rating(event_id="e", user_id="u", ts=NOW, item_id="i", value=1.7e308),
        lambda: Rating(event_id="e", user_id="u", ts=NOW, item_id="i", value=-1.7e308),
        lambda: Purchase(
            event_id="e", user_id="u", ts=NOW, item_id="i", quantity=1e308, price=1e308
        ),
        lambda: Click(event_id="e", user_id="u", ts=NOW, item_id="i", dwell_ms=10**400),
    ],
)
def test_no_number_is_too_large_to_be_kept(make: Callable[[], Interaction]) -> None:
    assert len(pack_interaction(make())) == INTERACTIONS.width


def test_quantities_and_prices_are_quantised() -> None:
    record = pack_interaction(
        Purchase(event_id="e", user_id="u", ts=NOW, item_id="i", quantity=3, price=7)
    )
    assert record[16:] == bytes((INTERACTION_KINDS[Purchase], 3, 1 + 8 * 3))
    unknown = pack_interaction(Click(event_id="e", user_id="u", ts=NOW, item_id="i"))
    assert unknown[16:] == bytes((INTERACTION_KINDS[Click], 0, 0))


def test_a_newer_format_is_refused() -> None:
    with pytest.raises(ProfileError, match=f"format {VERSION + 1}.*upgrade"):
        unpack(bytes((VERSION + 1,)) + of([click("u", "a")]).pack()[1:])


@pytest.mark.parametrize(
    "damage", [b"\x02", b"\x02\x01\x00\x00\x00", b"\x02\0\0\0\0?", b"\x01\0\0\0\0"]
)
def test_a_damaged_value_is_refused(damage: bytes) -> None:
    with pytest.raises(ProfileError, match="bytes"):
        unpack(damage)


def test_many_profiles_at_once_are_read_user_by_user() -> None:
    baskets = ["abc", "", "ba"]
    some = [
        of([purchase("u", "milk", NOW - 1), *(click("u", i, NOW + at) for at, i in enumerate(own))])
        for own in baskets
    ]
    histories, purchases = histories_of([Profile(), *some]), purchases_of([Profile(), *some])
    assert [len(each.items) for each in histories] == [0, 4, 1, 3]
    assert purchases.owner.tolist() == [1, 2, 3]
    assert set(purchases.items.tolist()) == {item_hash("milk")}
    assert set(purchases.days.tolist()) == {(NOW - 1) // DAY_MS}
    for own, each in zip(baskets, list(histories)[1:], strict=True):
        assert each.items.tolist() == [item_hash(item) for item in ("milk", *own)]
        assert each.times.tolist() == [NOW - 1 + at for at in range(len(own) + 1)]
        kinds = [INTERACTION_KINDS[Purchase], *[INTERACTION_KINDS[Click]] * len(own)]
        assert each.kinds.tolist() == kinds
    assert len(histories_of([])) == len(purchases_of([]).items) == 0
