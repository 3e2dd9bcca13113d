"""Public layouts: what is read, what is left out and why."""

import datetime as dt
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from model.dataset import PURCHASE
from model.layouts import (
    CLICK,
    Cleaning,
    read_atomic,
    read_atomic_items,
    read_inputs_and_outputs,
    read_sequences,
    read_sessions,
    read_shop,
)
from model.sequences import Sequences


def words(found: Sequences) -> list[list[str]]:
    parts = np.split(found.items, found.starts[1:-1])
    return [[found.item_ids[item] for item in part] for part in parts]


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_a_sequence_file_with_users(tmp_path: Path) -> None:
    path = written(tmp_path / "s.txt", "u1 7 8 7\n\nu2 9\nu3\n")
    found, cleaning = read_sequences(path, owner_first=True)
    assert words(found) == [["7", "8", "7"], ["9"], []]
    assert found.item_ids == ["7", "8", "9"]
    assert (cleaning.read, cleaning.kept) == (4, 4)


def test_a_sequence_file_without_users(tmp_path: Path) -> None:
    found, _ = read_sequences(written(tmp_path / "s.txt", "7 8\n9 7\n"), owner_first=False)
    assert words(found) == [["7", "8"], ["9", "7"]]


def test_a_user_twice_and_a_file_without_items_are_errors(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="line 2: user 'u1'"):
        read_sequences(written(tmp_path / "s.txt", "u1 7\nu1 8\n"), owner_first=True)
    with pytest.raises(ValueError, match="holds no item"):
        read_sequences(written(tmp_path / "s.txt", "\n"), owner_first=False)


def test_inputs_and_their_last_items(tmp_path: Path) -> None:
    inputs = written(tmp_path / "in.txt", "7 8\n9\n")
    outputs = written(tmp_path / "out.txt", "9\n7\n")
    found, cleaning = read_inputs_and_outputs(inputs, outputs)
    assert words(found) == [["7", "8", "9"], ["9", "7"]]
    assert cleaning.kept == 5
    with pytest.raises(ValueError, match=r"2 lines and .* 1"):
        read_inputs_and_outputs(inputs, written(tmp_path / "out.txt", "9\n"))
    with pytest.raises(ValueError, match="line 2: expected one item, got 2"):
        read_inputs_and_outputs(inputs, written(tmp_path / "out.txt", "9\n7 8\n"))


def test_sessions_and_prefixes_share_a_catalogue(tmp_path: Path) -> None:
    sessions = written(tmp_path / "train.txt", "1 2\n3 1 3\n")
    prefixes = written(tmp_path / "test.txt", "2 3\t1\n2\t9\n")
    train, test, cleaning = read_sessions(sessions, prefixes)
    assert words(train) == [["1", "2"], ["3", "1", "3"]]
    assert words(test.histories) == [["2", "3"], ["2"]]
    assert [train.item_ids[item] for item in test.targets] == ["1", "9"]
    assert train.item_ids == test.histories.item_ids == ["1", "2", "3", "9"]
    assert not test.seen_excluded
    assert cleaning.kept == 10
    for bad in ("1 2\n", "\t1\n", "1\t2 3\n", "1\t\n"):
        with pytest.raises(ValueError, match="line 1: expected a prefix"):
            read_sessions(sessions, written(tmp_path / "test.txt", bad))


def test_a_shop_is_cleaned_and_says_why(tmp_path: Path) -> None:
    noon = dt.datetime(2011, 5, 1, 12, 0)
    later = noon + dt.timedelta(minutes=1)
    rows = [
        (17.0, " MUG ", 2, later),
        (17.0, "LAMP", 1, noon),
        (17.0, "MUG", 3, later),
        (17.0, "LAMP", 4, later),
        (None, "MUG", 1, noon),
        (17.0, None, 1, noon),
        (17.0, " ", 1, noon),
        (17.0, "MUG", -2, noon),
        (4.0, "MUG", 1, noon),
    ]
    names = ("CustomerID", "Description", "Quantity", "InvoiceDate")
    columns = {name: [row[place] for row in rows] for place, name in enumerate(names)}
    path = tmp_path / "shop.parquet"
    pq.write_table(pa.table(columns), path)
    found, cleaning = read_shop(path)
    assert words(found) == [["LAMP", "MUG", "LAMP"], ["MUG"]]
    noon_ms = int(noon.replace(tzinfo=dt.UTC).timestamp() * 1000)
    assert (found.known_times - noon_ms).tolist() == [0, 60_000, 60_000, 0]
    assert found.kinds is not None
    assert set(found.kinds.tolist()) == {PURCHASE}
    assert cleaning.dropped == {
        "without a customer": 1,
        "without a description": 2,
        "cancelled": 1,
        "repeated within a moment": 1,
    }
    assert cleaning.kept == len(found.items) == 4


ATOMIC = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"


def test_an_atomic_file_is_ordered_by_time_and_has_no_copies(tmp_path: Path) -> None:
    rows = "ann\tx y\t5\t20\nbob\tz\t1\t5\nann\tz\t2\t10.5\nann\tx y\t4\t20\n"
    found, cleaning = read_atomic(written(tmp_path / "a.inter", ATOMIC + rows))
    assert words(found) == [["z", "x y"], ["z"]]
    assert found.known_times.tolist() == [10_500, 20_000, 5_000]
    assert found.kinds is not None
    assert set(found.kinds.tolist()) == {CLICK}
    assert cleaning.dropped == {"repeated within a moment": 1}


def test_an_atomic_file_without_times_keeps_the_order_of_its_lines(tmp_path: Path) -> None:
    rows = "user_id:token\titem_id:token\nann\ty\nbob\tz\nann\tx\nann\ty\n"
    found, cleaning = read_atomic(written(tmp_path / "a.inter", rows))
    assert words(found) == [["y", "x", "y"], ["z"]]
    assert found.times is None
    assert cleaning.dropped == {}


def test_an_atomic_file_says_what_it_lacks(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected a column item_id:token, got user_id, price"):
        read_atomic(written(tmp_path / "a.inter", "user_id:token\tprice:float\n"))
    with pytest.raises(ValueError, match="line 2: 1 fields under a header of 4"):
        read_atomic(written(tmp_path / "a.inter", ATOMIC + "ann\n"))
    with pytest.raises(ValueError, match="holds no item"):
        read_atomic(written(tmp_path / "a.inter", ATOMIC))


def test_atomic_items_keep_their_columns(tmp_path: Path) -> None:
    text = "item_id:token\ttitle:token_seq\tbrand:token\nx\tA red mug\tacme\ny\t\t\n"
    assert read_atomic_items(written(tmp_path / "a.item", text)) == {
        "x": {"title": "A red mug", "brand": "acme"},
        "y": {"title": "", "brand": ""},
    }
    assert read_atomic_items(written(tmp_path / "a.item", "item_id:token\nx\n")) == {"x": {}}


def test_cleaning_is_a_sentence() -> None:
    cleaning = Cleaning(read=1234)
    assert str(cleaning) == "1,234 of 1,234 rows kept"
    cleaning.drop("cancelled", 200)
    cleaning.drop("never", 0)
    cleaning.drop("cancelled", 4)
    assert str(cleaning) == "1,030 of 1,234 rows kept; left out: 204 cancelled"
