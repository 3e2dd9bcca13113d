"""The ONNX Runtime session: one run per micro-batch, on the provider that was asked for."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from model.bundle import Bundle, Precision
from model.features import NO_SEARCHES, PADDING, Interactions, Searches, featurize
from model.item_index import ITEM_VECTORS, STATE_OUTPUTS
from serving.nearest import NearestBy, chosen_index

logger = logging.getLogger(__name__)

Provider: TypeAlias = Literal["cuda", "cpu"]
PROVIDERS: dict[Provider, str] = {"cuda": "CUDAExecutionProvider", "cpu": "CPUExecutionProvider"}


OUTPUTS = ["top_items", "top_scores", "candidate_scores"]


class ProviderError(RuntimeError):
    """The execution provider that was asked for is not really in use."""


class RankerError(RuntimeError):
    """ONNX Runtime failed on a run."""


@dataclass(frozen=True)
class Scores:
    """What one run gives; see ``model.export`` for the graph."""

    top_rows: NDArray[np.int64]
    """[B, K] vocabulary rows, best first."""
    top_scores: NDArray[np.float32]
    candidate_scores: NDArray[np.float32]
    """[B, C]"""


class Ranker:
    """Scores users' candidates and finds each user's nearest items over the whole vocabulary.

    Args:
        bundle: what to load.
        provider: ``cuda``, or ``cpu`` where that was asked for.
        threads: of one run.
        precision: of the bundle's graphs, the one to run.
        nearest: whether all items are scored or an index is searched, see ``serving.nearest``.

    Raises:
        model.bundle.BundleError: the bundle has no such graph, or no index.
        ProviderError: the provider is not in use; ONNX Runtime itself would go on on the CPU.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        provider: Provider,
        threads: int,
        precision: Precision = "fp32",
        nearest: NearestBy = "auto",
    ) -> None:
        self.index = chosen_index(
            bundle, nearest, provider=provider, precision=precision, threads=threads
        )
        """None where all items are scored."""
        graph = bundle.index_files().states if self.index else bundle.graph(precision)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Idle threads that spin take the cores that decoding and Redis need.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        self.provider = PROVIDERS[provider]
        if provider == "cuda":
            self._session = _cuda_session(graph, options)
        else:
            self._session = onnxruntime.InferenceSession(graph, options, providers=[self.provider])
        self.reads_queries = "queries" in {each.name for each in self._session.get_inputs()}
        """Whether runs need what users have searched for."""
        self._vocabulary = bundle.vocabulary
        self._length = bundle.manifest.history_length
        self._top_k = bundle.manifest.top_k
        self._warm_up()
        logger.info("bundle %s (%s) on %s", bundle.manifest.version, precision, self.provider)

    def _warm_up(self) -> None:
        """The first run allocates; no event should wait for that."""
        nobody = Interactions(np.empty(0, np.uint64), np.empty(0, np.uint8), np.empty(0, np.int64))
        bias = np.zeros(len(self._vocabulary), dtype=np.float32)
        self.rank([nobody], [np.zeros(1, dtype=np.int64)], bias, [NO_SEARCHES])

    def rank(
        self,
        histories: list[Interactions],
        candidates: list[NDArray[np.int64]],
        item_bias: NDArray[np.float32],
        searches: list[Searches] | None,
    ) -> Scores:
        """One run for B users.

        Args:
            histories: what each user did, oldest first.
            candidates: vocabulary rows to score for each; padded here to the longest, C.
            item_bias: float32 [V], added before the nearest are taken.
            searches: of each; None does where the network reads no queries.

        Raises:
            RankerError: ONNX Runtime failed.
            ValueError: the network reads queries, and ``searches`` is None.
        """
        if self.reads_queries and searches is None:
            raise ValueError("this bundle's network reads queries; give the users' searches")
        features = featurize(
            histories, self._vocabulary, self._length, searches if self.reads_queries else None
        )
        widest = max((len(rows) for rows in candidates), default=0)
        padded = np.full((len(candidates), max(widest, 1)), PADDING, dtype=np.int64)
        for user, rows in enumerate(candidates):
            padded[user, : len(rows)] = rows
        inputs = {**features._asdict(), "candidates": padded}
        try:
            if self.index is None:
                return Scores(*self._session.run(OUTPUTS, inputs | {"item_bias": item_bias}))
            given = inputs | {ITEM_VECTORS: self.index.vectors}
            states, scores = self._session.run(STATE_OUTPUTS, given)
            return Scores(*self.index.nearest(states, item_bias, self._top_k), scores)
        except Exception as error:  # ONNX Runtime's own types are not public
            raise RankerError(f"ONNX Runtime failed on {len(histories)} users: {error}") from error


def _cuda_session(graph: Path, options: onnxruntime.SessionOptions) -> onnxruntime.InferenceSession:
    advice = (
        "install an NVIDIA driver for a GPU, or ask for the CPU with `--provider cpu` "
        "(NEXTCLICK_PROVIDER=cpu)"
    )
    name = PROVIDERS["cuda"]
    if name not in onnxruntime.get_available_providers():
        raise ProviderError(f"this onnxruntime has no {name}; {advice}")
    if not any(Path("/dev", node).exists() for node in ("nvidiactl", "dxg", "nvhost-ctrl")):
        raise ProviderError(f"no CUDA device on this machine; {advice}")
    # Finds the CUDA and cuDNN libraries of the nvidia wheels, where those are installed.
    onnxruntime.preload_dlls()
    try:
        session = onnxruntime.InferenceSession(graph, options, providers=[name])
    except Exception as error:  # ONNX Runtime's own types are not public
        raise ProviderError(f"{name} does not start ({error}); {advice}") from error
    if session.get_providers()[0] != name:
        raise ProviderError(f"ONNX Runtime fell back to {session.get_providers()[0]}; {advice}")
    return session
