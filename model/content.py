"""What is known of an item beside its id: words of its text, and attributes, as a bag of tokens.

Words and their letter trigrams are hashed into a fixed number of rows (Weinberger et al., "Feature
Hashing for Large Scale Multitask Learning", 2009), so that new words need no new rows; attributes
(category, brand, ...) get rows of their own.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from model.words import tokens

WORD_ROWS = 8_192
"""Some ten thousand distinct words share them: few meet a stranger in their row."""
TRIGRAM_ROWS = 4_096


@dataclass(frozen=True)
class ItemContent:
    """A weighted bag of tokens for each item, end to end."""

    tokens: NDArray[np.int64]
    """int64 [N], from 0 to ``token_count`` - 1."""
    weights: NDArray[np.float32]
    """float32 [N]: rarer tokens say more; each bag's squares sum to 1."""
    starts: NDArray[np.int64]
    """int64 [items + 1]: the bag of item i is ``tokens[starts[i]:starts[i + 1]]``, perhaps empty.
    """
    token_count: int
    token_weights: NDArray[np.float32] | None = None
    """float32 [token_count]: what each token weighs in a bag before it is scaled to length 1; None
    where bags of other items will not be asked for."""

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def known(self) -> NDArray[np.bool_]:
        """bool [items]: whether anything is known."""
        return np.diff(self.starts) > 0


def item_content(
    item_ids: Sequence[str],
    texts: Mapping[str, str],
    attributes: Mapping[str, Iterable[str]] | None = None,
    *,
    word_rows: int = WORD_ROWS,
    trigram_rows: int = TRIGRAM_ROWS,
) -> ItemContent:
    """Bags of tokens for a catalogue.

    Args:
        item_ids: the catalogue; the content is in this order.
        texts: item id to text; items may lack one, and others are ignored.
        attributes: item id to the names of its attributes.
        word_rows, trigram_rows: rows that words and trigrams are hashed into; 0 leaves them out.

    Raises:
        ValueError: when nothing is known of any item: the ids are probably written another way.
    """
    attributes = attributes or {}
    names = sorted({name for each in item_ids for name in attributes.get(each, ())})
    first_name = word_rows + trigram_rows
    row_of = {name: first_name + number for number, name in enumerate(names)}
    bags: list[list[int]] = []
    for each in item_ids:
        bag = [row_of[name] for name in attributes.get(each, ())]
        for word in tokens(texts.get(each, "")):
            if word_rows:
                bag.append(_row(word, word_rows))
            if trigram_rows:
                bag += [word_rows + _row(gram, trigram_rows) for gram in _trigrams(word)]
        bags.append(sorted(set(bag)))
    if not any(bags):
        raise ValueError("nothing is known of any item; are the item ids those of the catalogue?")
    return _weighted(bags, first_name + len(names))


def read_attributes(path: Path) -> dict[str, list[str]]:
    """A JSON object of item id to a list of attribute ids."""
    found = json.loads(path.read_text(encoding="utf-8"))
    return {item: [str(each) for each in names] for item, names in found.items()}


def read_texts(path: Path, ids: Mapping[str, str] | None = None) -> dict[str, str]:
    """A file of lines ``id text``.

    Args:
        path: the file.
        ids: the file's ids to those of the catalogue, where they differ; ids that are not there
            are left out.
    """
    texts: dict[str, str] = {}
    with path.open(encoding="utf-8") as file:
        for line in file:
            item, _, text = line.strip().partition(" ")
            if ids is None:
                texts[item] = text
            elif item in ids:
                texts[ids[item]] = text
    return texts


def read_titles(path: Path) -> tuple[dict[str, str], dict[str, list[str]]]:
    """A file of lines ``id <tab> other id <tab> title <tab> genre|genre``.

    Returns:
        The titles without their year; and genres and decade as attributes.

    Raises:
        ValueError: when a line has other columns.
    """
    titles: dict[str, str] = {}
    attributes: dict[str, list[str]] = {}
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            columns = line.rstrip("\n").split("\t")
            if len(columns) != 4:
                raise ValueError(f"{path}, line {number}: {len(columns)} columns, expected 4")
            item, _, title, genres = columns
            year = re.search(r"\((\d{3})\d\)\s*$", title)
            titles[item] = title[: year.start()] if year else title
            attributes[item] = genres.split("|") + ([f"{year[1]}0s"] if year else [])
    return titles, attributes


def _row(token: str, rows: int) -> int:
    return crc32(token.encode()) % rows


def _trigrams(word: str) -> list[str]:
    edged = f"<{word}>"
    return [edged[start : start + 3] for start in range(len(edged) - 2)]


def _weighted(bags: Sequence[Sequence[int]], token_count: int) -> ItemContent:
    """Inverse document frequency, each bag scaled to length 1."""
    held = Counter(token for bag in bags for token in bag)
    starts = np.zeros(len(bags) + 1, np.int64)
    np.cumsum([len(bag) for bag in bags], out=starts[1:])
    tokens = np.fromiter((token for bag in bags for token in bag), np.int64, int(starts[-1]))
    frequency = np.array([held[token] for token in tokens.tolist()], np.float64)
    weights = np.log1p(len(bags) / frequency)
    owners = np.repeat(np.arange(len(bags)), np.diff(starts))
    lengths = np.sqrt(np.bincount(owners, weights**2, len(bags)))
    return ItemContent(tokens, (weights / lengths[owners]).astype(np.float32), starts, token_count)
