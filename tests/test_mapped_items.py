"""A catalogue out of the files of others."""

from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from model.items import Item
from model.mapping import Mapping, MappingError
from stream.mapped_items import mapped_items
from stream.rows import BadRow


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
