"""Two public shops with their catalogues, for the benchmarks of next baskets."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.prequential import log_of
from benchmarks.quality_data import one_file
from model.dataset import EventLog
from model.items import Item
from model.journey import load_items, load_purchases
from model.layouts import read_shop
from model.words import tokens

COMPLETE_JOURNEY = "complete_journey"
NAMES = ("online_retail", COMPLETE_JOURNEY)
VALIDATION_DAYS, TEST_DAYS = 14, 28


def shop_parser(description: str | None) -> argparse.ArgumentParser:
    """What every benchmark of these shops is asked."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--dataset", choices=NAMES, required=True)
    parser.add_argument("--data", type=Path, help="its folder; the groceries come with a package")
    parser.add_argument("--json", action="store_true", help="the only output there is")
    return parser


def parsed(parser: argparse.ArgumentParser, arguments: Sequence[str] | None) -> argparse.Namespace:
    """The arguments; it is an error to ask for a shop without the folder that it needs."""
    asked = parser.parse_args(arguments)
    if asked.data is None and asked.dataset != COMPLETE_JOURNEY:
        parser.error(f"--dataset {asked.dataset} needs --data FOLDER")
    return asked


def read(dataset: str, folder: Path | None) -> tuple[EventLog, list[Item]]:
    """A shop by its name.

    Raises:
        ValueError: it needs a folder.
    """
    if dataset == COMPLETE_JOURNEY:
        return complete_journey(folder)
    if folder is None:
        raise ValueError(f"{dataset} needs its folder")
    return online_retail(folder)


def online_retail(folder: Path) -> tuple[EventLog, list[Item]]:
    """The gift shop, whose item ids are its titles.

    It tells no category: the last word of a title that is no number stands for it, such as
    "holder" or "bag", as titles there end with what a thing is. Prices are the first ones asked.
    """
    file = one_file(folder, "*full*.parquet")
    sequences, _ = read_shop(file)
    prices = _first_prices(file)
    items = [
        Item(item_id=each, title=each, category=_last_word(each), price=prices.get(each))
        for each in sequences.item_ids
    ]
    return log_of(sequences), items


def complete_journey(folder: Path | None) -> tuple[EventLog, list[Item]]:
    """The groceries, which come with a package; no folder is needed."""
    return load_purchases(), load_items()


def _last_word(title: str) -> tuple[str, ...]:
    words = [word for word in tokens(title) if word.isalpha()]
    return (words[-1],) if words else ()


def _first_prices(file: Path) -> dict[str, float]:
    table = pq.read_table(file, columns=["Description", "UnitPrice", "InvoiceDate"])
    table = table.filter(pc.field("UnitPrice") > 0).sort_by("InvoiceDate")
    titles = pc.utf8_trim_whitespace(table["Description"].cast(pa.string())).to_pylist()
    first: dict[str, float] = {}
    for title, price in zip(titles, table["UnitPrice"].to_pylist(), strict=True):
        if title is not None:
            first.setdefault(title, float(price))
    return first
