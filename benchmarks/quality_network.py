"""The network of each data set: its settings, chosen on validation, and what its items are."""

import json
from pathlib import Path

from benchmarks.quality_data import Dataset
from model.choice import Budget
from model.content import ItemContent, item_content, read_attributes, read_texts, read_titles
from model.sequences import Sequences
from model.transformer import Transformer
from model.transformer_settings import TransformerSettings

SETTINGS = {
    "beauty": TransformerSettings(
        loss="sampled", positions=1_024, epochs=20, half=True, dropout=0.5, learning_rate=0.002,
    ),
    "ml1m": TransformerSettings(
        length=100, positions=3_000, epochs=12, half=True, dropout=0.2, block_dropout=0.0,
        learning_rate=0.003, spread=0.05,
    ),
    "diginetica": TransformerSettings(
        length=20, loss="sampled", negatives=4_096, positions=4_096, epochs=11, half=True,
        dropout=0.3, learning_rate=0.004, spread=0.1, unit_items=True, recency=0.5,
    ),
}  # fmt: skip
"""Those of others are the defaults."""

CONTENT_READ = {"beauty", "online_retail"}
"""Where the network reads what is known of the items: on Beauty it is worth two fifths."""


def network_for(
    name: str, folder: Path, data: Dataset, budget: Budget, seed: int, members: int = 1
) -> Transformer:
    """The network of a data set.

    Args:
        name: of the protocol.
        folder: of the data; what it says about the items is learned from too.
        data: read from it.
        budget: of all members together.
        seed: of the first member.
        members: networks whose expectations are averaged.
    """
    return Transformer(
        data.objective,
        settings=SETTINGS.get(name),
        content=content_of(name, folder, data.sequences) if name in CONTENT_READ else None,
        members=members,
        budget=budget,
        seed=seed,
    )


def content_of(name: str, folder: Path, sequences: Sequences) -> ItemContent | None:
    """What is known of the items; None where the folder holds none of the files."""
    ids = sequences.item_ids
    if name == "beauty" and (folder / "s3rec_item2attributes.json").exists():
        codes = json.loads((folder / "s3rec_id_to_asin.json").read_text(encoding="utf-8"))
        asins = {asin: item for item, asin in codes.items()}
        texts = read_texts(folder / "item_short_text.txt", asins)
        keywords = read_texts(folder / "item_keywords_gram.txt", asins)
        words = {item: f"{text} {keywords.get(item, '')}" for item, text in texts.items()}
        attributes = read_attributes(folder / "s3rec_item2attributes.json")
        return item_content(ids, words, attributes, trigram_rows=0)
    if name == "ml1m" and (folder / "item_titles.tsv").exists():
        return item_content(ids, *read_titles(folder / "item_titles.tsv"), trigram_rows=0)
    if name == "online_retail":
        # The description is the item.
        return item_content(ids, {item: item for item in ids}, trigram_rows=0)
    return None
