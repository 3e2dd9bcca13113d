"""Event files in event-time order, however they come, and as columns for training."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from model.events import Click, Event, Purchase, Search, encode_event
from stream.event_log import read_event_log
from stream.history import read_history
from stream.rows import BadRow, RowsError

TIMES = [5, 3, 9, 3, 7, 1]


def click(time: int, number: int = 0, user: str = "u") -> Click:
    return Click(event_id=f"{time}-{number}", user_id=user, ts=time, item_id="i")


def write(path: Path, events: Sequence[Event]) -> Path:
    path.write_bytes(b"".join(encode_event(event) + b"\n" for event in events))
    return path


def nothing_is_bad(row: BadRow) -> None:
    raise AssertionError(str(row))


def test_files_in_order_stay_as_they_are(tmp_path: Path) -> None:
    events = [click(3, 1), click(3, 0), click(8)]
    history = read_history([write(tmp_path / "a.jsonl", events)], nothing_is_bad)
    assert list(history.events) == events
    assert history[1:] == (3, 3, 8, True)


def test_a_file_out_of_order_is_sorted_and_ties_keep_their_order(tmp_path: Path) -> None:
    events = [click(time, number) for number, time in enumerate(TIMES)]
    history = read_history([write(tmp_path / "a.jsonl", events)], nothing_is_bad)
    assert [event.event_id for event in history.events] == [
        "1-5",
        "3-1",
        "3-3",
        "5-0",
        "7-4",
        "9-2",
    ]
    assert history[1:] == (6, 1, 9, False)


def test_several_files_make_one_history(tmp_path: Path) -> None:
    paths = [
        write(tmp_path / "a.jsonl", [click(2), click(6)]),
        write(tmp_path / "b.jsonl", [click(1), click(4), click(9)]),
    ]
    kept = read_history(paths, nothing_is_bad)
    merged = read_history(paths, nothing_is_bad, sort_limit=2)
    expected = [1, 2, 4, 6, 9]
    assert [event.ts for event in kept.events] == expected
    assert [event.ts for event in merged.events] == expected
    assert kept[1:] == merged[1:] == (5, 1, 9, False)


def test_a_large_file_must_be_in_order(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [click(time) for time in TIMES])
    with pytest.raises(RowsError, match=r"a\.jsonl:2 is older than a row before it, and 6 events"):
        read_history([path], nothing_is_bad, sort_limit=5)


def test_bad_rows_are_reported_once_and_before_anything_is_handed_on(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [click(1), click(2), click(3)])
    path.write_bytes(path.read_bytes() + b"{\n")
    for limit in (100, 2):
        bad: list[BadRow] = []
        history = read_history([path], bad.append, sort_limit=limit)
        assert [row.line for row in bad] == [4]
        assert len(list(history.events)) == history.total == 3
        assert len(bad) == 1


def test_no_events_at_all(tmp_path: Path) -> None:
    history = read_history([write(tmp_path / "a.jsonl", [])], nothing_is_bad)
    assert list(history.events) == []
    assert history.total == 0


def test_the_columns_hold_each_interaction_once(tmp_path: Path) -> None:
    bought = Purchase(event_id="p", user_id="v", ts=4, item_id="j")
    events: list[Event] = [
        click(9),
        Search(event_id="s", user_id="u", ts=2, query="q"),
        bought,
        bought,
        click(1),
        click(1, user="v"),
    ]
    log = read_event_log([write(tmp_path / "a.jsonl", events)], nothing_is_bad)
    rows = [
        (log.user_ids[user], log.item_ids[item], int(kind), int(time))
        for user, item, kind, time in zip(log.users, log.items, log.kinds, log.times, strict=True)
    ]
    assert rows == [("u", "i", 1, 1), ("u", "i", 1, 9), ("v", "i", 1, 1), ("v", "j", 5, 4)]


def test_the_columns_tell_sessions_apart_where_events_name_them(tmp_path: Path) -> None:
    def in_session(time: int, session: str | None) -> Click:
        return Click(event_id=f"e{time}", user_id="u", ts=time, item_id="i", session_id=session)

    named = [in_session(4, "b"), in_session(1, "a"), in_session(3, None), in_session(2, "b")]
    log = read_event_log([write(tmp_path / "a.jsonl", named)], nothing_is_bad)
    assert log.sessions is not None
    a, b, none, again = log.sessions.tolist()
    assert (none, again) == (-1, b)
    assert -1 != a != b != -1
    earlier = log.before(3).sessions
    assert earlier is not None
    assert earlier.tolist() == [a, b]
    unnamed = read_event_log([write(tmp_path / "b.jsonl", [click(1)])], nothing_is_bad)
    assert unnamed.sessions is None


def test_files_without_an_interaction_are_refused(tmp_path: Path) -> None:
    searched = Search(event_id="s", user_id="u", ts=2, query="q")
    with pytest.raises(RowsError, match=r"there is no interaction .* in .*a\.jsonl"):
        read_event_log([write(tmp_path / "a.jsonl", [searched])], nothing_is_bad)
