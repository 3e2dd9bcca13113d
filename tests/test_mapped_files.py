"""Files of others as a source of the past."""

from pathlib import Path

import pytest

from model.events import Event
from model.mapping import Mapping
from stream.replay.file_past import FilePast
from stream.rows import BadRow

FILES = {
    ("retailrocket", "events.csv"): "timestamp,visitorid,event,itemid,transactionid\n"
    "1433221999827,2,addtocart,7,\n1433221332117,1,view,7,\n",
    ("yoochoose-clicks", "yoochoose-clicks.dat"): "1,2014-04-07T10:54:09.868Z,7,0\n"
    "1,2014-04-07T10:51:09.277Z,7,0\n",
    ("rees46", "2019-Oct.csv"): "event_time,event_type,product_id,category_id,category_code,brand,"
    "price,user_id,user_session\n"
    "2019-10-01 00:00:04 UTC,cart,7,1,,,1.5,1,s\n2019-10-01 00:00:00 UTC,view,7,1,,,1.5,1,s\n",
    ("taobao", "UserBehavior.csv"): "1,7,5,buy,1511544071\n1,7,5,pv,1511544070\n",
    ("movielens-dat", "ratings.dat"): "1::7::5::978302109\n1::8::3::978300760\n",
    ("movielens-100k", "u.data"): "1\t7\t5\t978302109\n1\t8\t3\t978300760\n",
    ("recbole", "films.inter"): "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
    "1\t7\t5\t978302109\n1\t8\t3\t978300760\n",
    ("ubi-queries", "queries.jsonl"): '{"query_id":"b","client_id":"c","user_query":"tea",'
    '"timestamp":1714557601000}\n{"query_id":"a","client_id":"c","user_query":"tea",'
    '"timestamp":1714557600000}\n{"query_id":"c","client_id":"c","timestamp":1714557602000}\n',
}


def read(path: Path, name: str, folder: Path) -> tuple[list[Event], list[BadRow], FilePast]:
    bad: list[BadRow] = []
    past = FilePast([path], bad.append, Mapping.named(name), folder=folder)
    return [each.event for batch in past.batches({}) for each in batch.decoded], bad, past


@pytest.mark.parametrize(("name", "file"), FILES)
def test_a_log_is_read_in_the_order_of_time(name: str, file: str, tmp_path: Path) -> None:
    path = tmp_path / file
    path.write_text(FILES[name, file])
    events, bad, _ = read(path, name, tmp_path / "work")
    assert not bad
    assert len(events) == 2
    assert events[0].time < events[1].time
    # What is read again is the same, ids too.
    assert read(path, name, tmp_path / "elsewhere")[0] == events


def test_rows_that_are_left_out_are_told_apart_from_bad_ones(tmp_path: Path) -> None:
    path = tmp_path / "2019-Oct.csv"
    head, *rows = FILES["rees46", "2019-Oct.csv"].splitlines()
    rows += [rows[0].replace("cart", "remove_from_cart"), rows[0].replace("cart", "share")]
    path.write_text("\n".join([head, *rows]))
    events, bad, past = read(path, "rees46", tmp_path / "work")
    assert len(events) == 2
    assert [(row.line, row.reason) for row in bad] == [(5, "invalid")]
    assert past.summary is not None
    assert past.summary.unmapped == 1
