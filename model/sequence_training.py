"""One network learns from sequences: every event of every sequence predicts the one after it."""

import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from model.augmentation import augmented
from model.content import ItemContent
from model.course import Course
from model.features import FIRST_ITEM
from model.item_start import item_start
from model.loss import NegativeSampler, Sample, gbce_loss, softmax_loss
from model.network import Network, NetworkConfig
from model.packing import PackedRows, batches, pack
from model.sequences import Sequences
from model.step_table import StepTable
from model.transformer_settings import TransformerSettings


class SequenceTrainer:
    """A network and its optimiser.

    Args:
        settings: all choices.
        item_count: of the catalogue; item i is row ``FIRST_ITEM + i``.
        content: of the items, or None.
        seed: the same seed, sequences and number of threads give the same network, where the
            course counts epochs alone (its seconds are infinite).
    """

    def __init__(
        self, settings: TransformerSettings, item_count: int, content: ItemContent | None, seed: int
    ) -> None:
        torch.manual_seed(seed)
        self.settings = settings
        self.seed = seed
        self.network = Network(
            NetworkConfig(
                item_count + FIRST_ITEM, settings.length, settings.dim, settings.blocks,
                settings.heads, settings.dropout, settings.block_dropout, settings.feed,
                spread=settings.spread, unit_items=settings.unit_items, tasks=bool(settings.tasks),
            ),
            content,
        )  # fmt: skip
        self._optimizer = self._fresh_optimizer()
        self.epoch = 0

    def run(
        self,
        train: Sequences,
        course: Course,
        after_epoch: Callable[[float], None],
    ) -> None:
        """Learn until the course ends; ``after_epoch`` gets the mean loss of each epoch.

        Raises:
            ValueError: when no event follows another.
            FloatingPointError: training has diverged.
        """
        if not (train.lengths > 1).any():
            raise ValueError("no sequence has two events, so that nothing follows anything")
        course.begun = time.monotonic()
        counts = torch.from_numpy(np.bincount(train.items + FIRST_ITEM,
                                  minlength=self.network.config.vocabulary_size))  # fmt: skip
        if not self.epoch:
            self._start(train, counts)
        sampler = NegativeSampler(
            counts, self.settings.negatives // 2, self.settings.negatives // 2
        )
        while course.share() < 1:
            before = round(course.done)
            loss = self._epoch(train, course, sampler)
            self.epoch += 1
            course.done = before + 1
            after_epoch(loss)

    def _epoch(self, train: Sequences, course: Course, sampler: NegativeSampler) -> float:
        chance = np.random.default_rng((self.seed, self.epoch))
        packed = pack(augmented(train, self.settings, chance), self.settings.length, chance)
        filled = (packed.answers > 0).mean() * self.settings.length
        rows = max(1, round(self.settings.positions / max(filled, 1)))
        steps = -(-len(packed.items) // rows)
        losses = []
        for step, batch in enumerate(batches(packed, rows, chance)):
            torch.manual_seed((self.seed * 1_009 + self.epoch) * 100_003 + step)
            losses.append(self._learn(batch, course, sampler))
            course.done += 1 / steps
            if course.spent() > course.seconds:
                break
        return float(np.mean(losses)) if losses else float("nan")

    @torch.no_grad()
    def _start(self, train: Sequences, counts: Tensor) -> None:
        """What counting gives saves epochs of learning it."""
        if self.settings.loss != "gbce":
            self.network.item_bias.copy_(torch.log((counts + 0.1) / (counts + 0.1).sum()))
        if self.settings.counted_start:
            vectors = item_start(train, self.settings.dim, seed=self.seed)
            scale = self.settings.spread * self.settings.dim**0.5
            self.network.item_table.weight[FIRST_ITEM:] += vectors * scale

    def _learn(self, batch: PackedRows, course: Course, sampler: NegativeSampler) -> float:
        settings = self.settings
        for group in self._optimizer.param_groups:
            group["lr"] = course.rate()
        self.network.train()
        items, kinds, gaps, segments, answers, tasks = (torch.from_numpy(each) for each in batch)
        asked = answers.flatten().nonzero()[:, 0]
        answers = answers.flatten()[asked]
        sample = self._sample(sampler)
        table = StepTable.of(
            self.network, items, answers, None if sample is None else sample.rows,
            settings.id_dropout,
        )  # fmt: skip
        states = self.network.encode(
            items, kinds, gaps, segments=segments, embedded=table.vectors[table.place[items]]
        )
        states = self.network.for_tasks(states.flatten(0, 1)[asked], tasks.flatten()[asked])
        loss = self._loss(states, answers, table, sample)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self._optimizer.step()
        return float(loss.detach())

    def _sample(self, sampler: NegativeSampler) -> Sample | None:
        """Rows that the answers compete with; None for all."""
        if self.settings.loss == "softmax":
            return None
        if self.settings.loss == "sampled":
            return sampler.draw()
        high = self.network.config.vocabulary_size
        rows = torch.randint(FIRST_ITEM, high, (self.settings.negatives,))
        return Sample(rows, torch.zeros(len(rows)), torch.zeros(high, dtype=torch.bool))

    def _loss(
        self, states: Tensor, answers: Tensor, table: StepTable, sample: Sample | None
    ) -> Tensor:
        settings, place = self.settings, table.place
        if sample is not None:
            sample = Sample(place[sample.rows], sample.log_q, sample.drawn[table.rows])
        bias = table.biases
        if settings.loss == "gbce":
            assert sample is not None
            share = settings.negatives / (self.network.config.vocabulary_size - FIRST_ITEM - 1)
            return gbce_loss(states, place[answers], table.vectors, bias, sample.rows, share)
        return softmax_loss(
            states, place[answers], table.vectors, bias, sample,
            smoothing=settings.smoothing, half=settings.half,
        )  # fmt: skip

    def begin_at(self, weights: dict[str, Tensor], epoch: int) -> None:
        """Take other weights, with an optimiser that remembers nothing."""
        self.network.load_state_dict(weights)
        self._optimizer = self._fresh_optimizer()
        self.epoch = epoch

    def _fresh_optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(
            self.network.parameters(),
            lr=self.settings.learning_rate,
            weight_decay=self.settings.weight_decay,
            betas=(0.9, 0.98),
            fused=True,
        )

    def state(self) -> dict[str, object]:
        """What a checkpoint keeps."""
        return {
            "network": self.network.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "epoch": self.epoch,
        }

    def restore(self, state: dict[str, object]) -> None:
        """Go on from ``state()``."""
        self.network.load_state_dict(state["network"])  # type: ignore[arg-type]
        self._optimizer.load_state_dict(state["optimizer"])  # type: ignore[arg-type]
        self.epoch = int(state["epoch"])  # type: ignore[call-overload]
