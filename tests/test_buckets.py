"""Runs come in few shapes, each of which holds what is asked for."""

from itertools import chain

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.buckets import FEWEST_APART, MOST_TOGETHER, NARROWEST, SHORTEST, Bucket, Buckets, steps

LENGTH, MOST = 50, 200
EXACT = Buckets(LENGTH, MOST, in_steps=False, short_windows=True)
STEPS = Buckets(LENGTH, MOST, in_steps=True, short_windows=True, words=16)

needs = st.tuples(
    st.integers(1, 3 * MOST), st.integers(1, LENGTH), st.integers(1, 3000), st.integers(1, 16)
)


@pytest.mark.parametrize("buckets", [EXACT, STEPS], ids=["exact", "steps"])
@given(need=needs)
def test_a_bucket_holds_what_is_asked_for(
    buckets: Buckets, need: tuple[int, int, int, int]
) -> None:
    bucket = buckets.of(*need)
    assert all(size >= asked for size, asked in zip(bucket, need, strict=True))
    assert buckets.of(*bucket) == bucket, "what fits exactly is not padded"


@given(need=needs)
def test_users_are_padded_where_that_is_cheap(need: tuple[int, int, int, int]) -> None:
    assert EXACT.of(*need).users == need[0]
    assert STEPS.of(*need).users < 2 * need[0] or STEPS.of(*need).users == 1


def test_a_full_micro_batch_has_a_shape_of_its_own() -> None:
    assert [STEPS.of(users, 1, 1).users for users in (1, 3, 128, 129, MOST, MOST + 1)] == [
        1, 4, 128, MOST, MOST, 256,
    ]  # fmt: skip


def test_windows_are_whole_where_the_graph_takes_no_others() -> None:
    assert Buckets(LENGTH, MOST, in_steps=False, short_windows=False).lengths == (LENGTH,)
    assert EXACT.lengths == (8, 16, 32, LENGTH)


@given(st.lists(st.integers(1, LENGTH), min_size=1, max_size=300))
def test_every_user_is_in_one_run_whose_window_holds_him(needed: list[int]) -> None:
    for buckets in (EXACT, STEPS):
        parts = [(length, np.arange(len(needed))[users]) for length, users in buckets.apart(needed)]
        everyone = list(chain.from_iterable(users.tolist() for _, users in parts))
        assert sorted(everyone) == list(range(len(needed)))
        assert all(needed[user] <= length for length, users in parts for user in users)
        assert len(parts) == 1 or min(len(users) for _, users in parts) >= FEWEST_APART
        assert buckets is STEPS or max(len(users) for _, users in parts) <= MOST_TOGETHER


def test_short_histories_are_run_apart_from_long_ones() -> None:
    needed = [LENGTH, 3] * 20
    (short, shorts), (long, longs) = EXACT.apart(needed)
    assert (short, long) == (SHORTEST, LENGTH)
    everyone = np.arange(40)
    assert set(everyone[shorts].tolist()) == set(range(1, 40, 2))
    assert set(everyone[longs].tolist()) == set(range(0, 40, 2))


@pytest.mark.parametrize(
    ("buckets", "needed"),
    [
        (EXACT, [3, LENGTH] * (FEWEST_APART - 1)),
        (EXACT, [3] * 40),
        (EXACT, [LENGTH] * 40),
        (EXACT, [3] * 40 + [LENGTH] * (FEWEST_APART - 1)),
        (STEPS, [3, LENGTH] * 40),
    ],
    ids=["few", "all short", "all long", "few long ones", "device"],
)
def test_what_is_not_worth_it_stays_together(buckets: Buckets, needed: list[int]) -> None:
    assert buckets.apart(needed) == [(max(needed), slice(0, len(needed)))]


def test_many_are_run_in_parts_of_one_size() -> None:
    parts = [slice(0, 43), slice(43, 86), slice(86, 130)]
    assert EXACT.apart([LENGTH] * 130) == [(LENGTH, part) for part in parts]
    assert STEPS.apart([LENGTH] * 130) == [(LENGTH, slice(0, 130))]


def test_a_run_of_every_shape_that_a_device_meets_is_made_first() -> None:
    warmed = STEPS.warmed()
    assert warmed[0] == Bucket(MOST, LENGTH, NARROWEST, 16)
    assert len(warmed) == len(set(warmed)) == len(steps(1, MOST)) * 4 * 4
    for users in range(1, MOST + 1):
        for length in (1, 8, 9, LENGTH):
            for width in (1, NARROWEST + 1, 512):
                assert STEPS.of(users, length, width, 3) in warmed


def test_without_steps_the_sizes_that_memory_grows_for_are_made_first() -> None:
    assert [bucket.users for bucket in EXACT.warmed()] == [64, 32, 16, 8, 4, 2, 1]
    few = Buckets(LENGTH, 5, in_steps=False, short_windows=True)
    assert [bucket.users for bucket in few.warmed()] == [5, 4, 2, 1]
