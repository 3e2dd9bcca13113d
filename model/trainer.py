"""One network in training: the steps of an epoch, and what a checkpoint keeps of them."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from zlib import crc32

import numpy as np
import torch
from torch import Tensor

from model.content import ItemContent
from model.dataset import Split
from model.export import RankingGraph
from model.features import FIRST_ITEM, KIND_COUNT, PADDING, Vocabulary
from model.loss import DIVERGED, NegativeSampler, Sample, next_basket_loss
from model.network import Network, NetworkConfig
from model.step_table import StepTable
from model.tasks import task_weights
from model.top_metrics import rank_metrics
from model.windows import Batch, TrainingWindows

Progress = Callable[[str, float], None]
"""Gets a sentence on what is being done and the share of the whole job that is done, 0 to 1."""

SELECTION_BASKETS = 2_000
"""Enough to tell two epochs apart; more would cost more time than the choice is worth."""
TRAINING_SHARE = 0.75
"""Of the job's time; the rest is export, the fit of the blend and the evaluation."""


@dataclass(frozen=True)
class TrainConfig:
    """Every choice of a training run. The defaults are those of the demonstration."""

    length: int = 50
    """Interactions the network sees."""
    dim: int = 64
    blocks: int = 2
    heads: int = 2
    dropout: float = 0.1
    min_count: int = 5
    """Rarer items are "unknown" to the network; counts still recommend them."""
    stride: int = 50
    batch: int = 128
    epochs: int = 5
    learning_rate: float = 6e-3
    weight_decay: float = 0.01
    kind_noise: float = 0.1
    """Share of kinds replaced by random ones: a log of purchases alone must not leave the network
    helpless at the first click."""
    head: int = 1_500
    tail: int = 1_000
    """Rows of the softmax's sample, see ``model.loss``."""
    validation_days: int = 14
    test_days: int = 13
    top_k: int = 100
    popularity_half_life_days: float = 14.0
    repeat_half_life_days: float = 60.0
    repeats_allowed: bool = True
    task: str | None = None
    """The kind that lists are made for; None: purchases, or what there is most of where nothing
    is sold."""
    task_weights: tuple[tuple[str, float], ...] = ()
    """What a basket of a kind weighs in the loss, where ``model.tasks`` is not to say; 0 leaves
    the kind out."""
    queries: bool = False
    """Whether the network reads what was searched for."""
    who: bool = False
    """Whether the network reads users' attributes, country and device."""
    id_dropout: float = 0.25
    """Share of a step's items that are seen by their content alone, where a catalogue is given."""


class Trainer:
    """The network, its optimiser and where training stands.

    Raises:
        ValueError: queries are to be read of a log that holds no search, or who users are of one
            that does not say; or there is no such task.
    """

    def __init__(
        self,
        split: Split,
        vocabulary: Vocabulary,
        config: TrainConfig,
        seed: int,
        content: ItemContent | None = None,
    ) -> None:
        if config.queries and not len(split.train.searches):
            raise ValueError("the log holds no search to learn from; train without queries")
        if config.who and not len(split.train.traits):
            raise ValueError("the log holds no attribute, country or device; train without who")
        torch.manual_seed(seed)
        self._config = config
        self._seed = seed
        self._step = 0
        served = split.validation.target_kind
        self.tasks = task_weights(split.train, served, config.task_weights)
        """The kinds that are learned, and what a basket of each weighs."""
        self.task = served if len(self.tasks) > 1 else None
        """The kind that is served, where the network knows several."""
        self.network = Network(
            NetworkConfig(
                len(vocabulary), config.length, config.dim, config.blocks, config.heads,
                config.dropout, tasks=self.task is not None, queries=config.queries,
                who=config.who, content_bias=content is not None,
            ),
            content,
        )  # fmt: skip
        self._windows = TrainingWindows(
            split.train, vocabulary, config.length, config.stride, self.tasks,
            queries=config.queries, who=config.who,
        )  # fmt: skip
        counts = torch.from_numpy(self._windows.target_counts().astype(np.float32))
        self._sampler = NegativeSampler(counts, config.head, config.tail)
        with torch.no_grad():
            # Starting at the logarithm of popularity saves an epoch of learning it.
            self.network.item_bias.copy_(torch.log((counts + 0.1) / (counts + 0.1).sum()))
            if self.network.cold_bias is not None:
                self.network.cold_bias.copy_(self.network.item_bias[FIRST_ITEM:].mean())
        self._optimizer = torch.optim.AdamW(
            self.network.parameters(),
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
            betas=(0.9, 0.98),
            fused=True,
        )
        self._steps_per_epoch = len(self._windows.batches(config.batch, _rng(seed, 0)))
        self._selection = split.validation.spread(SELECTION_BASKETS)
        self._selection_inputs = self._selection.inputs(
            range(len(self._selection)), vocabulary, config.length,
            queries=config.queries, who=config.who,
        )  # fmt: skip
        self._selection_rows = [
            set(vocabulary.index_of(split.train.hashes[self._selection.targets(number)]).tolist())
            for number in range(len(self._selection))
        ]
        self.fingerprint = repr(
            (config, seed, len(split.train), len(split.train.searches), len(vocabulary),
             len(split.train.traits),
             None if content is None else crc32(content.tokens.tobytes()))
        )  # fmt: skip

    def run_epoch(self, epoch: int, progress: Progress) -> float:
        """Learn from every moment once.

        Returns:
            The mean loss of the steps; no number where there was nothing to learn.

        Raises:
            FloatingPointError: training has diverged.
        """
        total = self._config.epochs * self._steps_per_epoch
        losses: list[float] = []
        for pending in self._windows.batches(self._config.batch, _rng(self._seed, epoch)):
            batch = pending.make()
            if len(batch.target_row):
                losses.append(self._learn(batch, self._step / total))
            self._step += 1
            recent = losses[-50:]
            loss = sum(recent) / max(len(recent), 1)
            progress(
                f"training, epoch {epoch + 1} of {self._config.epochs}, loss {loss:.3f}",
                TRAINING_SHARE * self._step / total,
            )
        return sum(losses) / len(losses) if losses else math.nan

    def _learn(self, batch: Batch, share: float) -> float:
        # Seeded per step, so that a run that was cut off goes on as if it had not been.
        torch.manual_seed(self._seed * 1_000_003 + self._step)
        for group in self._optimizer.param_groups:
            group["lr"] = self._config.learning_rate * _one_cycle(share)
        inputs = {name: torch.from_numpy(each) for name, each in batch.features._asdict().items()}
        kinds = _disturbed(inputs["kinds"], self._config.kind_noise)
        self.network.train()
        items, gaps, queries = inputs["items"], inputs["gaps"], inputs.get("queries")
        answers = torch.from_numpy(batch.target_row)
        vectors: Tensor = self.network.item_table.weight
        biases: Tensor = self.network.item_bias
        if self.network.tower is None:
            states = self.network.encode(items, kinds, gaps, queries=queries)
            # Behind the encoding: drawn before it, a seed would give another network.
            sample = self._sampler.draw()
        else:
            sample = self._sampler.draw()
            table = StepTable.of(self.network, items, answers, sample.rows, self._config.id_dropout)
            place, vectors, biases = table.place, table.vectors, table.biases
            states = self.network.encode(
                items, kinds, gaps, embedded=vectors[place[items]], queries=queries
            )
            answers = place[answers]
            sample = Sample(place[sample.rows], sample.log_q, sample.drawn[table.rows])
        states = states.flatten(0, 1)[torch.from_numpy(batch.positions)]
        states = self.network.of_users(
            states, None if batch.who is None else torch.from_numpy(batch.who)
        )
        loss = next_basket_loss(
            self.network.for_tasks(states, torch.from_numpy(batch.kinds)),
            torch.from_numpy(batch.target_state),
            answers,
            torch.from_numpy(batch.weight),
            vectors,
            biases,
            sample,
        )
        if not math.isfinite(value := float(loss.detach())):
            raise FloatingPointError(DIVERGED)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self._optimizer.step()
        return value

    def validation_ndcg(self) -> float:
        """NDCG@10 of the network alone, over the whole vocabulary."""
        graph = RankingGraph(self.served(), 10).eval()
        bias = torch.zeros(self.network.config.vocabulary_size)
        lists: list[list[int]] = []
        with torch.inference_mode():
            for start in range(0, len(self._selection), 256):
                part = {
                    name: torch.from_numpy(each[start : start + 256])
                    for name, each in self._selection_inputs._asdict().items()
                }
                best, _, _ = graph(**part, item_bias=bias, candidates=part["items"][:, -1:])
                lists += best.tolist()
        return rank_metrics(lists, self._selection_rows).ndcg

    def served(self) -> Network:
        """The network as it is now, asked for answers of the kind that lists are made for."""
        network = self.network.eval()
        return network if self.task is None else network.folded(self.task)

    def state(self) -> dict[str, object]:
        """What a checkpoint keeps."""
        return {
            "network": self.network.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "step": self._step,
        }

    def restore(self, state: dict[str, object]) -> None:
        """Go on from ``state()``."""
        self.network.load_state_dict(state["network"])  # type: ignore[arg-type]
        self._optimizer.load_state_dict(state["optimizer"])  # type: ignore[arg-type]
        self._step = int(state["step"])  # type: ignore[call-overload]


def _one_cycle(share: float) -> float:
    """Factor of the learning rate: up for a tenth of the steps, then down a cosine to zero."""
    if share < 0.1:
        return 0.04 + 0.96 * share / 0.1
    return 0.5 + 0.5 * math.cos(math.pi * min((share - 0.1) / 0.9, 1.0))


def _disturbed(kinds: Tensor, noise: float) -> Tensor:
    """Some of the kinds replaced by random ones; padding stays."""
    other = torch.randint(1, KIND_COUNT, kinds.shape)
    return torch.where((torch.rand(kinds.shape) < noise) & (kinds != PADDING), other, kinds)


def _rng(seed: int, epoch: int) -> np.random.Generator:
    return np.random.default_rng((seed, epoch))
