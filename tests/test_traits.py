"""Who a user is: registers of attributes, country and device, in the profile."""

from collections.abc import AsyncIterator

import pytest

from model.events import Click, Context, Identify, User
from model.traits import (
    COUNTRY,
    DEVICE,
    NO_VALUE,
    TRAIT_BYTES,
    country_in,
    merge_traits,
    name_hash,
    pack_traits,
    place_hash,
    split_traits,
    text_hash,
)
from serving.functions import STAMP_BYTES
from serving.profile import HEADER_BYTES, PURCHASES, Profile, profile_of, unpack
from serving.store import Store
from tests.parts import NOW, click, forget, open_parts, open_store, purchase, records_of, take
from tests.test_profile import Deed, long_log, of, told
from tests.test_store import merge, new_user

pytestmark = pytest.mark.either_backend


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[Store]:
    async with open_store(redis_url) as opened:
        yield opened


def user(attributes: dict[str, str | int | float | bool | list[str] | None], ts: int = NOW) -> User:
    return User(event_id="e", user_id="u", ts=ts, attributes=attributes)


def in_country(country: str, ts: int, user_id: str = "u") -> Click:
    made = click(user_id, "a", ts)
    made.context = Context(country=country)
    return made


def value_of(traits: bytes, name: bytes) -> bytes:
    (found,) = [each[8:] for each in split_traits(traits) if each[6:8] == name]
    return found


def test_the_newest_value_wins_whatever_came_first() -> None:
    old, new = pack_traits(user({"age": "20-29"}, NOW - 1)), pack_traits(user({"age": "30-39"}))
    assert merge_traits(old, new) == merge_traits(new, old) == new
    assert merge_traits(new, new) == new


def test_an_attribute_that_is_taken_back_says_nothing_and_stands_against_older_values() -> None:
    given, taken = pack_traits(user({"age": 7}, NOW - 1)), pack_traits(user({"age": None}))
    assert value_of(merge_traits(given, taken), name_hash("age")) == NO_VALUE


def test_no_number_of_attributes_pushes_the_country_out() -> None:
    place = pack_traits(in_country("DE", 5))
    many = pack_traits(user({f"name {at}": at for at in range(1_000)}))
    both = merge_traits(place, many)
    assert len(both) == 9 * TRAIT_BYTES
    assert country_in(both) == place_hash(" de")
    assert country_in(many) is None


@pytest.mark.parametrize(
    ("one", "other"), [("Tea ", "tea"), (34, 34.04), (["a", "b"], ["b", "a", "a"])]
)
def test_values_that_say_the_same_are_the_same(
    one: str | int | list[str], other: str | float | list[str]
) -> None:
    assert pack_traits(user({"x": one})) == pack_traits(user({"x": other}))


@pytest.mark.parametrize("value", [10**400, -(10**400), 1e308, "", "长" * 100_000, []])
def test_any_value_has_a_record(value: str | int | float | list[str]) -> None:
    assert len(pack_traits(user({"x": value}))) == TRAIT_BYTES


def test_no_attribute_has_the_name_of_a_context() -> None:
    names = {name_hash(f"name {at}") for at in range(200_000)}
    assert not names & {COUNTRY, DEVICE}


def format_2(profile: Profile) -> bytes:
    """As a worker before there were traits has written it."""
    packed = profile.pack()
    return b"\2" + packed[1 : HEADER_BYTES - 1] + packed[HEADER_BYTES:]


def test_an_older_format_is_read() -> None:
    older = of(long_log(0))._replace(traits=b"")
    assert unpack(format_2(older)) == older


@pytest.mark.parametrize("admissions", [0, 3])
async def test_an_older_format_is_upgraded_by_the_next_merge(store: Store, admissions: int) -> None:
    someone = new_user()
    log: list[Deed] = [purchase("u", "b", NOW - 5), click("u", "a")]
    behind = bytes(20 * admissions) + bytes(STAMP_BYTES)
    key = store.keys(someone).profile
    await store.redis.set(key, format_2(of(log)) + behind)
    assert await store.profile(someone) == of(log)
    newest = click("u", "c", NOW + 1)
    merged = await merge(store, someone, [newest], first_offset=9)
    assert merged.profile == await store.profile(someone) == of([*log, newest])
    value = await store.redis.get(key)
    assert value is not None and value[0] == 3


async def test_more_purchases_than_now_fit_are_cut_to_the_newest(store: Store) -> None:
    someone = new_user()
    bought = [day.to_bytes(2, "big") + bytes(6) for day in range(400, 100, -1)]
    held = b"".join(bought[: PURCHASES.bound])
    older = Profile(purchases=b"".join(bought))
    value = b"\2\0\0" + (300).to_bytes(2, "big") + older.purchases
    assert unpack(value).purchases == held
    await store.redis.set(store.keys(someone).profile, value)
    assert (await store.profile(someone)).purchases == held
    merged = await merge(store, someone, [click("u", "a")])
    assert merged.profile.purchases == held


async def test_attributes_alone_make_a_profile_and_are_forgotten(redis_url: str) -> None:
    async with open_parts(redis_url) as parts:
        event = told("age", 3, NOW)
        await take(parts, records_of([event]))
        assert await parts.store.profile("u") == profile_of([], [], [pack_traits(event)])
        await take(parts, records_of([forget("u", NOW)], first=1))
        await take(parts, records_of([event, told("age", 4, NOW - 1)], first=2))
        assert await parts.store.profile("u") == Profile()
        later = told("age", 5, NOW + 1)
        await take(parts, records_of([later], first=4))
        assert (await parts.store.profile("u")).traits == pack_traits(later)


async def test_a_visitor_s_traits_are_the_known_user_s(redis_url: str) -> None:
    async with open_parts(redis_url) as parts:
        before, after = in_country("DE", NOW - 9, "visitor"), in_country("FR", NOW - 1, "visitor")
        link = Identify(event_id="i", user_id="u", ts=NOW - 5, anonymous_id="visitor")
        await take(parts, records_of([before, link]))
        assert country_in((await parts.store.profile("u")).traits) == place_hash("DE")
        await take(parts, records_of([after], first=2))
        assert country_in((await parts.store.profile("u")).traits) == place_hash("FR")


def test_a_context_is_packed_as_a_profile_keeps_it() -> None:
    made = click("u", "a")
    made.context = Context(country="DE", device="phone")
    packed = pack_traits(made)
    assert packed == merge_traits(packed, b"")
    assert len(packed) == 2 * TRAIT_BYTES


def test_a_text_that_takes_long_to_normalize_is_told_apart_as_it_is() -> None:
    marks = "a" + "\u0301" * 60_000 + "\u0316" * 60_000
    assert text_hash(marks) != text_hash(marks[:-1])
    assert place_hash(marks) == text_hash(marks)
    assert text_hash("  ＦＲ ") == text_hash("fr")
