"""The network of a re-ranker: a few dense layers that score each item of a pool by its features.

It learns by the listwise softmax (Cao et al., "Learning to Rank: From Pairwise Approach to Listwise
Approach", 2007): of all items of a pool, the right ones are to be the likeliest.
"""

import io
import warnings
from dataclasses import dataclass

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from model.course import Course
from model.export import MAX_DIFFERENCE, OPSET, ExportError
from model.ragged import ranges

FURTHEST = 5.0
"""Standard deviations from the mean; what is further away is no more than odd."""
CHUNK = 200_000


@dataclass(frozen=True)
class RerankingSettings:
    """Every choice of its training."""

    width: int = 64
    dropout: float = 0.2
    weight_decay: float = 0.05
    learning_rate: float = 4e-3
    epochs: int = 10
    cases: int = 128
    """Pools of a step."""
    members: int = 2
    """Networks from other seeds whose scores are averaged."""


class RerankingNetwork(nn.Module):
    """Features float32 [C, F], as they come, to scores float32 [C]."""

    def __init__(self, mean: Tensor, spread: Tensor, settings: RerankingSettings) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("spread", spread)
        self.mean: Tensor
        self.spread: Tensor
        width = settings.width
        self.layers = nn.Sequential(
            nn.Linear(len(mean), width), nn.SiLU(), nn.Dropout(settings.dropout),
            nn.Linear(width, width), nn.SiLU(), nn.Dropout(settings.dropout),
            nn.Linear(width, 1),
        )  # fmt: skip

    def forward(self, features: Tensor) -> Tensor:
        """float32 [C, F] to float32 [C]."""
        even = ((features - self.mean) / self.spread).clamp(-FURTHEST, FURTHEST)
        scores: Tensor = self.layers(even)[:, 0]
        return scores


class _Members(nn.Module):
    """The mean of several networks' scores."""

    def __init__(self, members: list[RerankingNetwork]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, features: Tensor) -> Tensor:
        total = torch.zeros(())
        for member in self.members:
            total = total + member(features)
        return total / len(self.members)


class RerankingSession:
    """An exported re-ranker, ready to score.

    Args:
        graph: an ONNX file's bytes.
        threads: of ONNX Runtime; 0 takes all.
    """

    def __init__(self, graph: bytes, threads: int = 0) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self._session = onnxruntime.InferenceSession(
            graph, options, providers=["CPUExecutionProvider"]
        )

    def scores(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32 [C, F] to float32 [C]."""
        parts: list[NDArray[np.float32]] = [
            self._session.run(["scores"], {"features": features[start : start + CHUNK]})[0]
            for start in range(0, len(features), CHUNK)
        ]
        return np.concatenate(parts) if parts else np.empty(0, np.float32)


def learn_reranking(
    features: NDArray[np.float32],
    starts: NDArray[np.int64],
    answers: NDArray[np.int64],
    answer_starts: NDArray[np.int64],
    settings: RerankingSettings,
    seed: int,
) -> bytes:
    """An ONNX file's bytes, which ``RerankingSession`` runs.

    Args:
        features: float32 [C, F], of B pools end to end.
        starts: int64 [B + 1], where each pool begins.
        answers: int64 [T], places of the right items in ``features``.
        answer_starts: int64 [B + 1]; pools without an answer teach nothing.
        settings: all choices.
        seed: of the first member.

    Raises:
        ValueError: no pool has an answer.
        ExportError: ONNX Runtime and torch differ.
    """
    taught = np.flatnonzero(np.diff(answer_starts) > 0)
    if not len(taught):
        raise ValueError("no pool holds a right item, so there is nothing to learn")
    mean = torch.from_numpy(features.mean(axis=0))
    # What is the same everywhere says nothing, whatever it is divided by.
    spread = torch.from_numpy(features.std(axis=0)).clamp(min=1e-6)
    pools = _Pools(torch.from_numpy(features), starts, answers, answer_starts)
    members = []
    for number in range(settings.members):
        torch.manual_seed(seed + number)
        member = RerankingNetwork(mean, spread, settings)
        _learn(member, pools, taught, settings, seed + number)
        members.append(member.eval())
    return _exported(_Members(members).eval(), features[:CHUNK])


@dataclass(frozen=True)
class _Pools:
    features: Tensor
    starts: NDArray[np.int64]
    answers: NDArray[np.int64]
    answer_starts: NDArray[np.int64]

    def loss(self, network: RerankingNetwork, cases: NDArray[np.int64]) -> Tensor:
        """Mean over cases of the cross-entropy with their answers, each as likely as the other."""
        begins, sizes = self.starts[cases], np.diff(self.starts)[cases]
        cells = ranges(begins, sizes)
        rows = np.repeat(np.arange(len(cases)), sizes)
        columns = torch.from_numpy(ranges(np.zeros(len(cases), np.int64), sizes))
        scores = torch.full((len(cases), int(sizes.max())), -torch.inf)
        scores[torch.from_numpy(rows), columns] = network(self.features[torch.from_numpy(cells)])
        chances = functional.log_softmax(scores, dim=1)
        counts = np.diff(self.answer_starts)[cases]
        places = self.answers[ranges(self.answer_starts[cases], counts)]
        owners = np.repeat(np.arange(len(cases)), counts)
        weights = torch.from_numpy((1 / counts)[owners]).float()
        right = chances[torch.from_numpy(owners), torch.from_numpy(places - begins[owners])]
        return -(right * weights).sum() / len(cases)


def _learn(
    network: RerankingNetwork,
    pools: _Pools,
    taught: NDArray[np.int64],
    settings: RerankingSettings,
    seed: int,
) -> None:
    course = Course(settings.epochs, float("inf"), settings.learning_rate)
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    chance = np.random.default_rng(seed)
    steps = -(-len(taught) // settings.cases)
    for _ in range(settings.epochs):
        order = chance.permutation(taught)
        for start in range(0, len(order), settings.cases):
            for group in optimizer.param_groups:
                group["lr"] = course.rate()
            loss = pools.loss(network, order[start : start + settings.cases])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            course.done += 1 / steps


def _exported(network: _Members, sample: NDArray[np.float32]) -> bytes:
    stream = io.BytesIO()
    with warnings.catch_warnings():
        # See ``model.scoring``.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (torch.from_numpy(sample),),
            stream,  # type: ignore[arg-type]
            input_names=["features"],
            output_names=["scores"],
            dynamic_axes={"features": {0: "C"}, "scores": {0: "C"}},
            opset_version=OPSET,
            dynamo=False,
        )
    written = stream.getvalue()
    with torch.inference_mode():
        expected = network(torch.from_numpy(sample)).numpy()
    difference = float(np.abs(RerankingSession(written).scores(sample) - expected).max())
    if difference > MAX_DIFFERENCE:
        raise ExportError(
            f"ONNX Runtime and torch differ by {difference:.2g} (at most {MAX_DIFFERENCE:g}); "
            "check the versions of torch and onnxruntime against constraints.txt"
        )
    return written
