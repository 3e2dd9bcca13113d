"""A micro-batch is cut where counting has to come between, and nowhere else."""

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.events import Cart, Click, Context, Event, Favorite, Identify, Impression, Rating, User
from model.mapping_rules import MOST_ENTRIES
from model.traits import pack_traits
from serving.functions import MOST_ADMISSIONS
from serving.intake import Decoded, decode
from serving.merge import origin
from serving.profile import pack_interaction, pack_query, profile_of
from serving.waves import PARTS, WORTH_LANES, Wave, in_lanes, in_waves
from tests.parts import NOW, FakeRecord, click, forget, records_of, search


def source(topic: str, partition: int) -> str:
    return f"{topic}:{partition}"


def cut(events: Sequence[Event], first: int = 0) -> list[Wave]:
    """The waves of a micro-batch with these events."""
    return in_waves(decoded(events, first), source)


def decoded(events: Sequence[Event], first: int = 0) -> list[Decoded]:
    good, dead = decode(records_of(events, first=first), NOW)
    assert not dead
    return good


def placed(events: Sequence[Event], partitions: Sequence[int]) -> list[Decoded]:
    """The events, each in a record of its partition."""
    return [
        Decoded(replace(cast(FakeRecord, each.record), partition=partition), each.event)
        for each, partition in zip(decoded(events), partitions, strict=True)
    ]


def identify(user_id: str, anonymous_id: str, ts: int = NOW) -> Identify:
    return Identify(
        event_id=f"{user_id} is {anonymous_id}", user_id=user_id, ts=ts, anonymous_id=anonymous_id
    )


def test_changes_are_gathered_by_user_in_order_of_arrival() -> None:
    cart = Cart(event_id="c", user_id="u", ts=NOW - 3, item_id="a")
    rating = Rating(event_id="r", user_id="v", ts=NOW, item_id="b", value=4)
    favorite = Favorite(event_id="f", user_id="u", ts=NOW - 9, item_id="b")
    query = search("u", "智能手机")
    (wave,) = cut([query, rating, cart, favorite], first=40)
    assert list(wave.changes) == ["u", "v"]
    change = wave.changes["u"]
    assert change.update.events == [
        pack_query(query), pack_interaction(cart), pack_interaction(favorite),
    ]  # fmt: skip
    assert change.update.origins == [origin("events:0", offset) for offset in (40, 42, 43)]
    assert [each.event for each in change.events] == [query, cart, favorite]
    assert change.item_ids == ["a", "b"]
    assert [each.event for each in wave.changes["v"].events] == [rating]


def test_a_wave_ends_where_a_user_has_as_many_events_as_admissions_are_kept() -> None:
    busy = [click("u", f"i{at}") for at in range(2 * MOST_ADMISSIONS)]
    calm = [click(f"v{at}", "i") for at in range(5)]
    waves = cut([*busy[:3], *calm, *busy[3:]])
    assert [len(wave.changes["u"].events) for wave in waves] == [MOST_ADMISSIONS] * 2
    assert sorted(waves[0].changes) == ["u", *(f"v{at}" for at in range(5))]
    assert len(cut(calm * 2)) == 1


def test_a_search_waits_for_what_was_chosen_before_it() -> None:
    waves = cut(
        [search("u", "a"), click("u", "i"), search("v", "b"), search("u", "c"), click("v", "j")]
    )
    assert [
        {user: len(change.events) for user, change in wave.changes.items()} for wave in waves
    ] == [{"u": 2, "v": 1}, {"u": 1, "v": 1}]


@given(
    st.lists(
        st.tuples(st.sampled_from("uuuuuvwx"), st.integers(0, 20), st.integers(0, 1)), max_size=90
    )
)
def test_waves_hold_every_event_once_and_in_the_order_of_its_partition(
    script: list[tuple[str, int, int]],
) -> None:
    """And what stands behind a forget or identify event comes in a later wave."""
    events = [
        forget(user) if die == 0 else identify(user, "anon") if die == 1 else click(user, "i")
        for user, die, _ in script
    ]
    given_events = placed(events, [place for _, _, place in script])
    waves = in_waves(given_events, source)
    seen: dict[int, list[int]] = {0: [], 1: []}
    for wave in waves:
        assert all(len(change.events) <= MOST_ADMISSIONS for change in wave.changes.values())
        for partition, offsets in seen.items():
            offsets += sorted(
                each.record.offset
                for change in wave.changes.values()
                for each in change.events
                if each.record.partition == partition
            )
    for partition, offsets in seen.items():
        assert offsets == [
            each.record.offset
            for each in given_events
            if each.record.partition == partition and isinstance(each.event, Click)
        ]
    assert sum(len(wave.identifications) for wave in waves) == sum(die == 1 for _, die, _ in script)


def test_what_comes_behind_forget_and_identify_waits() -> None:
    events: list[Event] = [
        click("u", "a"), forget("u", NOW - 5), forget("v", 7), forget("u", NOW - 9),
        identify("u", "x"), click("u", "b"), click("v", "b"), identify("u", "x"), forget("w", 3),
    ]  # fmt: skip
    first, second = cut(events)
    assert (list(first.changes), list(second.changes)) == (["u"], ["u", "v"])
    assert (first.forgets, second.forgets) == ({"u": NOW - 5, "v": 7}, {"w": 3})
    assert (len(first.identifications), len(second.identifications)) == (1, 1)


@pytest.mark.parametrize(
    ("users", "partitions", "lanes"),
    [
        ("uvwx", (0, 1, 2, 3), ["uw", "vx"]),
        ("uvuw", (0, 1, 0, 1), ["uu", "vw"]),
        ("uvw", (0, 2, 4), ["uvw"]),
        ("uvuw", (0, 1, 1, 1), ["uvuw"]),  # u comes in both
    ],
)
def test_lanes_share_no_partition_and_no_user(
    users: str, partitions: Sequence[int], lanes: list[str]
) -> None:
    cut_up = in_lanes(placed([click(user, "i") for user in users], partitions), 1)
    assert ["".join(each.event.user_id for each in lane) for lane in cut_up] == lanes


@pytest.mark.parametrize("far_reaching", [forget("w"), identify("w", "u")])
def test_what_reaches_other_ids_is_learnt_with_all_the_others(far_reaching: Event) -> None:
    events = placed([click("u", "i"), click("v", "i"), far_reaching], (0, 1, 1))
    assert in_lanes(events, 1) == [events]


def test_few_events_go_one_way() -> None:
    few = placed([click(f"u{at}", "i") for at in range(WORTH_LANES)], range(WORTH_LANES))
    assert in_lanes(few[:-1]) == [few[:-1]]
    assert len(in_lanes(few)) == 2


def test_an_impression_changes_no_profile() -> None:
    events: list[Event] = [
        Impression(event_id="i", user_id="u", ts=NOW, rec_id="r", item_ids=("a",)),
    ]
    assert cut(events) == [Wave()] == cut([])


def test_attributes_and_context_of_a_user_come_together() -> None:
    told = User(event_id="a", user_id="u", ts=NOW, attributes={"age": "30-39"})
    seen = click("u", "i")
    seen.context = Context(country="DE")
    (wave,) = cut([told, seen])
    update = wave.changes["u"].update
    assert len(update.events) == 1
    assert update.others == profile_of([], [], [pack_traits(told), pack_traits(seen)])


def test_attributes_behind_a_forget_event_come_in_the_next_wave() -> None:
    told = User(event_id="a", user_id="u", ts=NOW, attributes={"age": "30-39"})
    first, second = cut([forget("u"), told])
    assert not first.changes and list(second.changes) == ["u"]


def test_there_is_a_place_for_each_event_of_a_record() -> None:
    assert MOST_ENTRIES <= PARTS
