"""``nextclick evaluate --protocol search``: how good searches are, by graded queries.

Ranked are all items, by search alone: no shopper, no network. ``bm25`` is the words as they were
typed, ``corrected`` the same with mistyped words mended, ``dense`` the encoder's vectors alone, and
``hybrid`` what a worker does.
"""

from collections.abc import Callable
from hashlib import blake2b
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from model.intervals import Interval, bootstrap
from model.search_quality import METRICS, RECALL_AT, judge_search
from serving.search import SearchIndex
from stream.evaluation_tables import Sheet
from stream.search_folder import SearchFolderError, SearchSet

LISTED = 100
"""Items on a list, as a worker takes them; 20 are judged."""
Rankings = list[NDArray[np.int64]]


class SearchAssessment(msgspec.Struct, frozen=True, kw_only=True):
    """What searches are worth."""

    protocol: str
    encoder: str
    items: int
    judgements: int
    queries: dict[str, int]
    """Judged of each split; one without a relevant item is left out."""
    seed: int
    contenders: dict[str, dict[str, Interval]]
    """On the test part."""
    ahead: dict[str, dict[str, Interval]]
    """By how much the hybrid is ahead of each other one, on the same queries."""
    validation: dict[str, dict[str, Interval]]
    """On the other part, on which settings may be chosen."""


def assess_search(
    found: SearchSet, index: SearchIndex, *, seed: int, progress: Callable[[str, float], None]
) -> SearchAssessment:
    """Judge an empty index on a folder's queries.

    Args:
        found: the folder.
        index: takes the folder's items.
        seed: of the split, where the folder names none, and of the intervals.
        progress: called with a text and the share that is done.

    Raises:
        stream.search_folder.SearchFolderError: no query has a relevant item.
    """
    judgements = found.judgements
    asked = np.flatnonzero(judgements.answerable)
    is_validation = _is_validation(found, seed)
    parts = {"test": asked[~is_validation[asked]], "validation": asked[is_validation[asked]]}
    if not len(parts["test"]):
        raise SearchFolderError("no query of the test part has a relevant item; judge more")
    for row, item in enumerate(found.items):
        index.add(row, item.title, item.category, item.brand)
    if index.meaning is not None:
        index.meaning.encode_all(lambda share: progress("texts encoded", share))
    rankings = _rankings(found, index, asked, progress)
    place = np.full(len(found.queries), -1)
    place[asked] = np.arange(len(asked))
    values = {name: judge_search(lists, judgements, asked) for name, lists in rankings.items()}
    judged = {
        part: {
            name: _intervals({m: each[m][place[queries]] for m in METRICS}, queries, seed)
            for name, each in values.items()
        }
        for part, queries in parts.items()
        if len(queries)
    }
    best, test = values[list(values)[-1]], place[parts["test"]]
    ahead = {
        name: _intervals({m: (best[m] - each[m])[test] for m in METRICS}, parts["test"], seed)
        for name, each in list(values.items())[:-1]
    }
    return SearchAssessment(
        protocol="search",
        encoder="off" if index.meaning is None else index.meaning.encoder.name,
        items=len(found.items),
        judgements=len(judgements.rows),
        queries={part: len(queries) for part, queries in parts.items()},
        seed=seed,
        contenders=judged["test"],
        ahead=ahead,
        validation=judged.get("validation", {}),
    )


def search_figures(found: SearchAssessment) -> dict[str, Any]:
    """The verdict for machines; ``metrics`` holds the means alone, by contender."""
    means = {
        name: {metric: each.mean for metric, each in figures.items()}
        for name, figures in found.contenders.items()
    }
    whole: dict[str, Any] = msgspec.to_builtins(found)
    return whole | {"metrics": means}


def search_sheet(found: SearchAssessment) -> Sheet:
    """The verdict for people."""
    title = (
        f"{found.queries['test']:,} queries, all {found.items:,} items ranked, encoder "
        f"{found.encoder} (± half the 95% interval)"
    )
    rows = [
        [name, *(f"{figures[m].mean:.4f} ± {figures[m].margin:.4f}" for m in METRICS)]
        for name, figures in found.contenders.items()
    ]
    return Sheet(title, ["", "nDCG@10", f"recall@{RECALL_AT}"], rows)


def _rankings(
    found: SearchSet,
    index: SearchIndex,
    asked: NDArray[np.int64],
    progress: Callable[[str, float], None],
) -> dict[str, Rankings]:
    """The lists of each contender; the one that a worker makes comes last."""
    allowed = np.ones(len(found.items), np.bool_)
    lists: dict[str, Rankings] = {"bm25": [], "corrected": []}
    if index.meaning is not None:
        lists |= {"dense": [], "hybrid": []}
    for at, number in enumerate(asked.tolist()):
        query = found.queries[number]
        lists["bm25"].append(index.words.find(query, allowed, LISTED, correct=False).rows)
        lists["corrected"].append(index.words.find(query, allowed, LISTED).rows)
        if index.meaning is not None:
            vector = index.meaning.query_vectors([query])
            lists["dense"].append(index.meaning.vectors.nearest(vector, allowed, LISTED)[0].rows)
            lists["hybrid"].append(index.find(query, allowed, LISTED).rows)
        progress("queries judged", (at + 1) / len(asked))
    return lists


def _is_validation(found: SearchSet, seed: int) -> NDArray[np.bool_]:
    """As the folder says, else half of the queries by a hash of seed and id."""
    if found.splits:
        return np.array([split == "validation" for split in found.splits])
    return np.array(
        [
            blake2b(f"{seed}:{query_id}".encode(), digest_size=1).digest()[0] < 128
            for query_id in found.query_ids
        ]
    )


def _intervals(
    values: dict[str, NDArray[np.float64]], queries: NDArray[np.int64], seed: int
) -> dict[str, Interval]:
    return bootstrap(values, queries, seed=seed)
