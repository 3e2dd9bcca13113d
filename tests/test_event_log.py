"""Event files as columns for training."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from model.events import Click, Event, Purchase, Search, encode_event
from model.mapping import Mapping, MappingError
from stream.event_log import read_event_log
from stream.rows import BadRow, RowsError


def click(time: int, number: int = 0, user: str = "u") -> Click:
    return Click(event_id=f"{time}-{number}", user_id=user, ts=time, item_id="i")


def write(path: Path, events: Sequence[Event]) -> Path:
    path.write_bytes(b"".join(encode_event(event) + b"\n" for event in events))
    return path


def nothing_is_bad(row: BadRow) -> None:
    raise AssertionError(str(row))


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


def test_the_log_of_another_system_is_read_by_its_mapping(tmp_path: Path) -> None:
    file = tmp_path / "feedback.csv"
    file.write_text(
        "feedback_type,user_id,item_id,time_stamp\n"
        "read,王芳,绿茶,2021-10-24T06:42:20Z\n"
        "shared,王芳,绿茶,2021-10-24T06:42:21Z\n"
        "buy,王芳,红茶,2021-10-24T06:42:19Z\n"
        "buy,王芳,红茶,2021-10-24T06:42:19Z\n"
    )
    bad: list[BadRow] = []
    log = read_event_log([file], bad.append, Mapping.named("gorse"))
    assert log.user_ids == ["王芳"]
    assert [log.item_ids[item] for item in log.items] == ["红茶", "绿茶"]
    assert log.kinds.tolist() == [5, 1]
    assert log.times.tolist() == [1_635_057_739_000, 1_635_057_740_000]
    assert [(row.line, row.reason) for row in bad] == [(3, "invalid")]


def test_a_mapping_of_items_alone_makes_no_log(tmp_path: Path) -> None:
    with pytest.raises(MappingError, match="makes no events"):
        read_event_log(
            [tmp_path / "movies.dat"], nothing_is_bad, Mapping.named("movielens-dat-movies")
        )
