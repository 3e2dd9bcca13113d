"""What profiles and shared counts have to be, from the log alone: sort, de-duplicate, cut."""

import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from serving.profile import (
    DAY_MS,
    INTERACTIONS,
    PURCHASES,
    QUERY_BYTES,
    Profile,
    pack_purchase,
    profile_of,
)
from tests.chaos.ledger import History

TOGETHER_MS = 30 * 60 * 1000

Weights = dict[str, dict[str, float]]
"""Weight of each item with each item, or after each query."""
WeightOf = Callable[[NDArray[np.int64]], NDArray[np.float64]]
"""What an event at each of these times adds."""


def time_of(packed: bytes) -> int:
    """Event time of a packed interaction or query, epoch milliseconds."""
    return int.from_bytes(packed[:6], "big")


def expected_profile(user_id: str, histories: Mapping[str, History]) -> Profile:
    """The newest of the user's and his visitors' distinct events later than his newest forget."""
    own = histories[user_id]
    marker = own.forgotten_until
    interactions = _later(own.interactions, marker)
    profile = profile_of(interactions, _later(own.queries, marker), _later(own.traits, marker))
    for visitor in (histories[each] for each in own.visitors if each in histories):
        others = [_linked(each) for each in _later(visitor.interactions, marker)]
        queries = profile_of([], _later(visitor.queries, marker)).linked().queries
        interactions += others
        traits = _later(visitor.traits, marker)
        profile = profile.merge(profile_of(others, [], traits)).merge(Profile(queries=queries))
    return profile if marker < 0 else _with_proven_purchases(profile, interactions, marker)


def _with_proven_purchases(profile: Profile, interactions: list[bytes], marker: int) -> Profile:
    """Of the marker's own day a purchase, which knows no more than its day, needs its proof."""
    width = INTERACTIONS.width
    packed = profile.interactions
    kept = {packed[at : at + width] for at in range(0, len(packed), width)}
    day = (marker // DAY_MS).to_bytes(2, "big")
    purchases = {
        pack_purchase(each)
        for each in interactions
        if profile_of([each], []).purchases and (pack_purchase(each)[:2] > day or each in kept)
    }
    newest = sorted(purchases, reverse=True)[: PURCHASES.bound]
    return profile._replace(purchases=b"".join(newest))


def _linked(interaction: bytes) -> bytes:
    return Profile(interaction).linked().interactions


def _later(packed: Iterable[bytes], marker: int) -> list[bytes]:
    return [each for each in packed if time_of(each) > marker]


def expected_popularity(histories: Iterable[History], weight_of: WeightOf) -> dict[str, float]:
    """The weight of each item: what each distinct interaction adds, forgotten or not."""
    found: dict[str, float] = defaultdict(float)
    for history in histories:
        items, times = _columns(history.interactions)
        for item, weight in zip(items, weight_of(times).tolist(), strict=True):
            found[item] += weight
    return dict(found)


def expected_covisits(histories: Iterable[History], weight_of: WeightOf) -> Weights:
    """By item and item, each pair of different items that one user had within 30 minutes."""
    found: Weights = defaultdict(lambda: defaultdict(float))
    for history in histories:
        for interactions in _between_forgets(history.interactions, history.forgets):
            items, times = _columns(interactions)
            weights = weight_of(times).tolist()
            begin = np.searchsorted(times, times - TOGETHER_MS).tolist()
            for later, item in enumerate(items):
                for earlier in range(begin[later], later):
                    if (other := items[earlier]) != item:
                        found[item][other] += weights[later]
                        found[other][item] += weights[later]
    return found


def expected_choices(histories: Iterable[History], weight_of: WeightOf) -> Weights:
    """By query and item, each interaction within 30 minutes after a search of the same user."""
    found: Weights = defaultdict(lambda: defaultdict(float))
    for history in histories:
        epochs = zip(
            _between_forgets(history.interactions, history.forgets),
            _between_forgets(history.queries, history.forgets),
            strict=True,
        )
        for interactions, queries in epochs:
            items, times = _columns(interactions)
            texts, asked = _columns(queries)
            weights = weight_of(times).tolist()
            first = np.searchsorted(times, asked).tolist()
            end = np.searchsorted(times, asked + TOGETHER_MS, side="right").tolist()
            for nth, text in enumerate(texts):
                chosen = found[plain_query(text)]
                for at in range(first[nth], end[nth]):
                    chosen[items[at]] += weights[at]
    return found


def plain_query(text: str) -> str:
    """A query as it is counted: the part that a profile keeps, without width, case and spacing."""
    kept = text.encode()[:QUERY_BYTES].decode(errors="ignore")
    return " ".join(unicodedata.normalize("NFKC", kept).casefold().split())


def _between_forgets(packed: Mapping[bytes, str], forgets: set[int]) -> Sequence[dict[bytes, str]]:
    """The events before, between and after a user's forget events: they never meet."""
    ordered = sorted(forgets)
    epochs: list[dict[bytes, str]] = [{} for _ in range(len(ordered) + 1)]
    for each, name in packed.items():
        epochs[int(np.searchsorted(ordered, time_of(each)))][each] = name
    return epochs


def _columns(packed: Mapping[bytes, str]) -> tuple[list[str], NDArray[np.int64]]:
    """Names and times, oldest first."""
    ordered = sorted(packed)
    times = np.fromiter(map(time_of, ordered), np.int64, len(ordered))
    return [packed[each] for each in ordered], times
