"""What the folders of public data say about their items."""

import json
from pathlib import Path

from model.content import ItemContent, item_content, read_attributes, read_texts, read_titles
from model.sequences import Sequences

WORD_BEGIN = "\u2581"
"""Stands before each keyword of that file, as its tokeniser has left it."""


def content_of(name: str, folder: Path, sequences: Sequences) -> ItemContent | None:
    """What is known of the items; None where the folder holds none of the files."""
    ids = sequences.item_ids
    if name == "beauty" and (folder / "s3rec_item2attributes.json").exists():
        codes = json.loads((folder / "s3rec_id_to_asin.json").read_text(encoding="utf-8"))
        asins = {asin: item for item, asin in codes.items()}
        texts = read_texts(folder / "item_short_text.txt", asins)
        keywords = read_texts(folder / "item_keywords_gram.txt", asins)
        words = {
            item: f"{text} {keywords.get(item, '').replace(WORD_BEGIN, ' ')}"
            for item, text in texts.items()
        }
        attributes = read_attributes(folder / "s3rec_item2attributes.json")
        return item_content(ids, words, attributes, trigram_rows=0)
    if name == "ml1m" and (folder / "item_titles.tsv").exists():
        return item_content(ids, *read_titles(folder / "item_titles.tsv"), trigram_rows=0)
    if name == "online_retail":
        # The description is the item.
        return item_content(ids, {item: item for item in ids}, trigram_rows=0)
    return None
