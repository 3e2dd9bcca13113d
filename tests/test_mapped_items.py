"""A catalogue out of the files of others."""

from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from model.items import Item
from model.mapping import Mapping, MappingError
from stream.catalogue_files import LOOK, read_items
from stream.mapped_items import mapped_items
from stream.rows import BadRow, RowsError


def read(name: str, *paths: Path) -> tuple[list[Item], list[BadRow]]:
    bad: list[BadRow] = []
    return list(mapped_items(paths, Mapping.named(name), bad.append)), bad


def test_films_in_their_own_layout(tmp_path: Path) -> None:
    file = tmp_path / "movies.dat"
    file.write_bytes('1::Amélie, "it" (2001)::Comedy|Romance\n2::no genres\n'.encode("latin-1"))
    items, bad = read("movielens-dat-movies", file)
    assert items == [Item(item_id="1", title='Amélie, "it" (2001)', category=("Comedy", "Romance"))]
    assert [(row.line, row.detail) for row in bad] == [(2, "2 cells under 3 column names")]


def test_an_atomic_file_of_recbole(tmp_path: Path) -> None:
    file = tmp_path / "films.item"
    file.write_text('item_id:token\tmovie_title:token_seq\tclass:token_seq\n7\t"Tea\tDrama War\n')
    assert read("recbole", file) == (
        [Item(item_id="7", title='"Tea', category=("Drama", "War"))], [],
    )  # fmt: skip


def test_a_log_tells_of_an_item_again_where_it_has_changed(tmp_path: Path) -> None:
    rows = [("a", 2.0), ("b", 1.0), ("a", 2.0), ("a", 3.0)]
    table = pa.table({"product_id": [row[0] for row in rows], "price": [row[1] for row in rows]})
    file = tmp_path / "2019-Oct.parquet"
    pq.write_table(table, file)
    items, bad = read("rees46", file)
    assert items == [Item(item_id=item, price=price) for item, price in (rows[0], rows[1], rows[3])]
    assert not bad


def test_products_of_orders(tmp_path: Path) -> None:
    products = [{"sku": "a", "name": "Tea"}, {"sku": "b", "price": "dear"}]
    calls = [
        {"event": "Order Completed", "properties": {"products": products[:1]}},
        {"event": "Checkout Started"},
        {"event": "Order Completed", "properties": {"products": products}},
    ]
    file = tmp_path / "calls.jsonl"
    file.write_bytes(b"\n".join(map(msgspec.json.encode, calls)) + b"\n[]\n")
    items, bad = read("segment", file)
    assert items == [Item(item_id="a", title="Tea")]
    assert [row.line for row in bad] == [3, 4]


def test_a_mapping_without_items_is_told(tmp_path: Path) -> None:
    with pytest.raises(MappingError, match=r"taobao-like\.toml makes no items"):
        mapping = tmp_path / "taobao-like.toml"
        mapping.write_text("[fields]\nuser_id='u'\nts='t'\ntype='k'\nitem_id='i'")
        read(str(mapping), tmp_path / "away.csv")


def test_a_table_of_other_columns_is_told_once(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("sku,name\n" + "1,Tea\n" * 9)
    pq.write_table(pa.table({"sku": ["1"], "name": ["Tea"]}), tmp_path / "a.parquet")
    for name in ("a.csv", "a.parquet"):
        with pytest.raises(RowsError) as caught:
            read("movielens", tmp_path / name)
        assert str(caught.value) == (
            f"{tmp_path / name} has no column `movieId` for `item_id`; it has `sku`, `name`: "
            "correct movielens, or name another mapping"
        )


def catalogue(name: str | None, *paths: Path) -> tuple[list[Item], list[BadRow]]:
    bad: list[BadRow] = []
    mapping = None if name is None else Mapping.named(name)
    return list(read_items(paths, bad.append, mapping)), bad


def test_records_that_tell_of_no_item_are_told_at_the_end(tmp_path: Path) -> None:
    """They may come late in a file."""
    file, other = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    file.write_text('{"sku": "1", "name": "Tea"}\n{"sku": "2", "colour": "red"}\n')
    other.write_text('{"ItemId": "1", "Comment": "Tea"}\n')
    assert catalogue("gorse", file, other)[0] == [Item(item_id="1", title="Tea")]
    with pytest.raises(RowsError) as caught:
        catalogue("gorse", file)
    assert str(caught.value) == (
        f"{file} has no column `ItemId` or `item_id` for `item_id`; it has `sku`, `name`, "
        "`colour`: correct gorse, or name another mapping"
    )


def test_a_log_may_tell_of_no_item_for_a_while_and_not_for_ever(tmp_path: Path) -> None:
    file = tmp_path / "calls.jsonl"
    call = {"event": "Checkout Started", "properties": {"products": []}}
    file.write_bytes(msgspec.json.encode(call))
    assert catalogue("segment", file) == ([], [])
    file.write_bytes(b"\n".join([msgspec.json.encode(call)] * LOOK))
    with pytest.raises(RowsError, match=r"calls\.jsonl tells of an item: correct segment, or name"):
        catalogue("segment", file)


@pytest.mark.parametrize("name", [None, "gorse"])
def test_rows_of_which_all_are_bad_are_no_catalogue(tmp_path: Path, name: str | None) -> None:
    file = tmp_path / "items.jsonl"
    file.write_text('{"item_id": null, "title": "Tea"}\n' * 3)
    with pytest.raises(RowsError, match=r"tells of an item; the first bad one is .*:1: invalid: "):
        catalogue(name, file)


def test_a_table_of_no_items_of_ours_is_told_once(tmp_path: Path) -> None:
    file = tmp_path / "items.csv"
    file.write_text("sku,name\n" + "1,Tea\n" * 9)
    sentence = r"no column `item_id`; it has `sku`, `name`: say with --mapping what stands for it"
    with pytest.raises(RowsError, match=sentence):
        catalogue(None, file)
    file.write_text("")
    assert catalogue(None, file) == ([], [])
