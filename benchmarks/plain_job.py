"""The same job in its plainest form, for stock Faust and Quix Streams: one event, one list.

A profile of JSON (the newest 100 events), popularity and pairs in sorted sets of Redis, and one
ONNX Runtime run for each event. It promises less than the product does: a redelivered event counts
twice, two workers may overwrite each other's profiles, nothing decays, and reasons are missing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log1p
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from benchmarks.backlog import POPULAR_KEY, TEMPLATES, Crowd
from model.bundle import load_bundle
from model.events import INTERACTION_KINDS, Click
from model.features import UNKNOWN, gap_buckets
from model.signals import NEIGHBOURS, POPULAR, SEEDS, TOGETHER_MS

KEPT = 100
LIST_LENGTH = 10
LIST_TTL_S = 72 * 3600
KIND = INTERACTION_KINDS[Click]

History = list[tuple[str, int]]
"""(item id, epoch milliseconds) of a user's clicks, oldest first."""
Weights = Sequence[tuple[bytes, float]]
"""Members of a sorted set and their scores, as Redis answers."""
Command = tuple[Any, ...]


@dataclass
class PlainJob:
    """The parts that need no server.

    Args:
        bundle: the same bundle as the product's.
        crowd: whose past a user without a profile has.
    """

    bundle: Path
    crowd: Crowd

    def __post_init__(self) -> None:
        loaded = load_bundle(self.bundle)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(
            loaded.model_path, options, providers=["CPUExecutionProvider"]
        )
        self._length = loaded.manifest.history_length
        self._ids = loaded.vocabulary.ids
        rows = loaded.vocabulary.index_of(loaded.vocabulary.hashes).tolist()
        self._row_of = dict(zip(self._ids, rows, strict=True))
        self._id_of = dict(zip(rows, self._ids, strict=True))
        # Made up beforehand: a contender's timed work is the job and nothing else.
        self._pasts = [self.crowd.past_items(number) for number in range(TEMPLATES)]
        self._no_bias = np.zeros(len(loaded.vocabulary), np.float32)

    def past(self, user: str, now_ms: int) -> History:
        """What a user without a profile did before."""
        items = self._pasts[int(user.rpartition("-")[2]) % TEMPLATES]
        return list(zip(items, self.crowd.past_times(now_ms), strict=True))

    def learned(self, history: History, event: dict[str, Any]) -> History:
        """The history with one more event."""
        return [*history, (event["item_id"], event["ts"])][-KEPT:]

    def counting(self, history: History) -> list[Command]:
        """What counts the newest event: popularity, and pairs within half an hour."""
        item, time = history[-1]
        commands: list[Command] = [("ZINCRBY", POPULAR_KEY, 1, item)]
        for other, before in history[:-1]:
            if other != item and time - before <= TOGETHER_MS:
                commands.append(("ZINCRBY", f"plain:with:{item}", 1, other))
                commands.append(("ZINCRBY", f"plain:with:{other}", 1, item))
        return commands

    def asking(self, history: History) -> list[Command]:
        """What reads the candidates: popular items, then those seen with the newest ones."""
        seeds = list(dict.fromkeys(item for item, _ in reversed(history)))[:SEEDS]
        return [
            ("ZREVRANGE", POPULAR_KEY, 0, POPULAR - 1, "WITHSCORES"),
            *(
                ("ZREVRANGE", f"plain:with:{seed}", 0, NEIGHBOURS - 1, "WITHSCORES")
                for seed in seeds
            ),
        ]

    def recommendation(
        self, event: dict[str, Any], history: History, found: Sequence[Weights]
    ) -> dict[str, Any]:
        """The list, from the history and the answers to ``asking``."""
        popular = {item.decode(): log1p(weight) for item, weight in found[0]}
        together: dict[str, float] = {}
        for weights in found[1:]:
            for item, weight in weights:
                together[item.decode()] = together.get(item.decode(), 0.0) + weight
        candidates = list(popular.keys() | together.keys()) or self._ids[:1]
        nearest, nearest_scores, scores = self._run(history, candidates)
        network = {
            self._id_of[row]: score for row, score in zip(nearest, nearest_scores, strict=True)
        }
        network |= dict(zip(candidates, scores, strict=True))
        blended = {
            item: score + 0.5 * log1p(together.get(item, 0.0)) + 0.1 * popular.get(item, 0.0)
            for item, score in network.items()
            if item != event["item_id"]
        }
        best = sorted(blended, key=lambda item: -blended[item])[:LIST_LENGTH]
        return {
            "user_id": event["user_id"],
            "event_id": event["event_id"],
            "ts": event["ts"],
            "items": [{"item_id": item, "score": round(blended[item], 5)} for item in best],
        }

    def _run(
        self, history: History, candidates: Sequence[str]
    ) -> tuple[list[int], list[float], list[float]]:
        newest = history[-self._length :]
        times = np.array([time for _, time in newest], np.int64)
        rows = [self._row_of.get(item, UNKNOWN) for item, _ in newest]
        inputs = {
            "items": self._padded(np.array(rows, np.int64)),
            "kinds": self._padded(np.full(len(newest), KIND, np.int64)),
            "gaps": self._padded(gap_buckets(times, np.zeros(1, np.int64))),
            "item_bias": self._no_bias,
            "candidates": np.array([[self._row_of[item] for item in candidates]], np.int64),
        }
        top, top_scores, scores = self._session.run(None, inputs)
        return top[0].tolist(), top_scores[0].tolist(), scores[0].tolist()

    def _padded(self, values: NDArray[np.int64]) -> NDArray[np.int64]:
        padded = np.zeros((1, self._length), np.int64)
        padded[0, self._length - len(values) :] = values
        return padded
