"""The network of each data set: its settings, chosen on validation."""

from pathlib import Path

from benchmarks.quality_content import content_of
from benchmarks.quality_data import Dataset
from model.choice import Budget
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
        length=20, dim=96, loss="sampled", negatives=4_096, positions=4_096, epochs=10, half=True,
        dropout=0.5, learning_rate=0.003, weight_decay=0.05, spread=0.1, unit_items=True,
        neighbours=30,
    ),
}  # fmt: skip
"""Those of others are the defaults."""

CONTENT_READ = {"beauty", "online_retail"}
"""Where the network reads what is known of the items: on Beauty it is worth two fifths."""


def network_for(
    name: str,
    folder: Path,
    data: Dataset,
    budget: Budget,
    seed: int,
    members: int = 1,
    checkpoint: Path | None = None,
) -> Transformer:
    """The network of a data set.

    Args:
        name: of the protocol.
        folder: of the data; what it says about the items is learned from too.
        data: read from it.
        budget: of all members together.
        seed: of the first member.
        members: networks whose expectations are averaged.
        checkpoint: where a training that was broken off goes on from.
    """
    return Transformer(
        data.objective,
        settings=SETTINGS.get(name),
        content=content_of(name, folder, data.sequences) if name in CONTENT_READ else None,
        members=members,
        budget=budget,
        checkpoint=checkpoint,
        seed=seed,
    )
