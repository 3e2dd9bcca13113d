"""The lists that the console holds: which, for how long, in how much memory, and until when."""

import time
import tracemalloc

import pytest

from serving.merge import ProfileUpdate
from serving.recommendation import Recommendation, encode_recommendation
from stream.console.recent_lists import OF_USER, RecentLists
from stream.settings import Settings
from tests.api_client import Api, open_api, prepare
from tests.console_lists import made_list

NOW = 1_780_000_000_000
NEVER = -1
MEBIBYTE = 1 << 20


def keep(held: RecentLists, *lists: Recommendation) -> None:
    for each in lists:
        held.keep(each.user_id.encode(), encode_recommendation(each))


def offsets(lists: list[Recommendation]) -> list[int]:
    return [each.as_of.offset for each in lists]


def test_the_newest_lists_of_a_user_come_first() -> None:
    held = RecentLists()
    for offset in range(OF_USER + 3):
        keep(held, made_list("ann", offset), made_list("小明/1", 100 + offset))
    newest = list(reversed(range(3, OF_USER + 3)))
    assert offsets(held.of("ann", None, NEVER)) == newest
    assert offsets(held.of("小明/1", None, NEVER)) == [100 + each for each in newest]
    assert held.of("eve", None, NEVER) == []


def test_the_stored_list_is_among_them_once() -> None:
    held = RecentLists()
    lists = [made_list("ann", offset) for offset in range(20)]
    assert offsets(held.of("ann", lists[9], NEVER)) == [9]
    keep(held, *lists[3:10])
    for last, told in (
        (lists[9], [9, 8, 7, 6, 5, 4, 3]),
        (lists[12], [12, 9, 8, 7, 6, 5, 4, 3]),
        # Of a Redis that has lost writes.
        (lists[1], [9, 8, 7, 6, 5, 4, 3, 1]),
        # Of another partition nobody knows; what is stored is the last one.
        (made_list("ann", 2, partition=1), [2, 9, 8, 7, 6, 5, 4, 3]),
    ):
        assert offsets(held.of("ann", last, NEVER)) == told
    keep(held, lists[10])
    assert offsets(held.of("ann", lists[12], NEVER)) == [12, 10, 9, 8, 7, 6, 5, 4]


def test_a_copy_is_no_newer_list() -> None:
    held = RecentLists()
    first, second = made_list("ann", 1), made_list("ann", 2)
    keep(held, first, second, first)
    assert held.of("ann", None, NEVER) == [second, first]


def test_whatever_stands_in_the_topic_is_held_and_lists_alone_are_told() -> None:
    held = RecentLists()
    good = made_list("ann", 1)
    keep(held, good)
    for value in (b"", b"junk", b'{"rec_id": "\xff"}', b"[]", b'{"a": ' + b"[" * 100_000):
        held.keep(b"ann", value)
    held.keep(None, encode_recommendation(good))
    held.keep(b"ann", None)
    held.keep(b"\xff", b"junk")
    assert held.of("ann", None, NEVER) == [good]


@pytest.mark.parametrize("length", [0, 40, 5_000], ids=lambda each: f"{each} bytes")
@pytest.mark.parametrize("of_user", [1, 2, OF_USER, 3 * OF_USER])
def test_memory_is_bounded(length: int, of_user: int) -> None:
    users = 6 * MEBIBYTE // (300 + of_user * (length + 40))
    tracemalloc.start()
    try:
        held = RecentLists(MEBIBYTE)
        before, _ = tracemalloc.get_traced_memory()
        for user in range(users):
            for _ in range(of_user):
                # New bytes of their own each time, as those of a record are.
                held.keep(b"household-%d" % user, b"%d" % user + bytes(length))
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # Full, but for less than a user's lists; and in no more memory than it says.
    assert held.bytes > MEBIBYTE - 500 - OF_USER * (length + 100)
    assert after - before <= held.bytes <= MEBIBYTE


def test_who_has_been_given_none_for_longest_goes_first() -> None:
    one = len(encode_recommendation(made_list("ann", 1))) + 600
    held = RecentLists(4 * one)
    for offset, user in enumerate(("ann", "bob", "ann", "eve", "joe", "kim")):
        keep(held, made_list(user, offset))
    told = {user: offsets(held.of(user, None, NEVER)) for user in ("ann", "bob", "eve", "joe")}
    assert told == {"ann": [2, 0], "bob": [], "eve": [3], "joe": [4]}
    for user in ("ann", "eve", "joe", "kim", "nobody"):
        held.drop(user.encode())
    assert held.bytes == 0


def test_what_a_user_was_forgotten_with_is_neither_told_nor_held() -> None:
    held = RecentLists()
    lists = [made_list("ann", offset, ts=NOW + offset) for offset in range(6)]
    keep(held, *lists)
    full = held.bytes
    assert offsets(held.of("ann", lists[5], NOW + 2)) == [5, 4, 3]
    assert held.bytes < full
    assert offsets(held.of("ann", lists[5], NEVER)) == [5, 4, 3]
    # Read before he was forgotten.
    assert held.of("ann", lists[5], NOW + 5) == []
    assert held.bytes == 0
    # Forgotten up to an earlier time: the last list goes all the same, and with it the others.
    keep(held, *lists)
    assert held.of("ann", None, NOW - 1) == []
    assert held.bytes == 0


async def told(api: Api, user: str) -> list[str]:
    answer = (await api.get(f"/console/users/{user}")).json()
    return [each["rec_id"] for each in answer["last_lists"]]


async def test_a_user_is_told_with_lists_until_somebody_forgets_him(
    stream_settings: Settings,
) -> None:
    await prepare(stream_settings)
    lists = [made_list("ann", offset) for offset in range(4)]
    names = [each.rec_id for each in lists]
    async with open_api(stream_settings.model_copy(update={"console": True})) as api:
        [drop] = api.service.writer.when_forgotten
        held: RecentLists = drop.__self__  # type: ignore[attr-defined]
        store = api.service.parts.store
        keep(held, *lists[:3])
        await store.keep(lists[2:])
        assert await told(api, "ann") == names[::-1]

        # By another process, of which this one learns when somebody looks.
        now = time.time_ns() // 1_000_000
        await store.merge([ProfileUpdate("ann", forget_at=now)])
        assert await told(api, "ann") == []
        assert held.bytes == 0
        later = made_list("ann", 7, ts=now + 1)
        keep(held, lists[3], later)
        await store.keep([later])
        assert await told(api, "ann") == [later.rec_id]

        # By this one: at once.
        keep(held, made_list("bob", 8))
        body = {"type": "click", "event_id": "c", "user_id": "bob", "ts": now, "item_id": "tea-1"}
        assert (await api.post("/console/events", body)).status_code == 202
        assert len(held.of("bob", None, NEVER)) == 1
        body = {"type": "forget", "event_id": "f", "user_id": "bob", "ts": now}
        assert (await api.post("/console/events", body)).status_code == 202
        assert held.of("bob", None, NEVER) == []
        assert (await api.client.delete("/v1/users/ann")).status_code == 202
        assert held.bytes == 0
