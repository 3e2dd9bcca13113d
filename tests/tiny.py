"""A whole bundle made in a second, for tests of everything that serves one."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from model.blend import BlendWeights
from model.bundle import Manifest, ParityReport, write_bundle
from model.events import INTERACTION_KINDS, Purchase
from model.export import export_network
from model.features import NO_SEARCHES, PADDING, Interactions, Vocabulary, featurize
from model.network import Network, NetworkConfig

DEFAULT_BLEND = BlendWeights(network=1.0, repeat=1.0, covisit=0.5, popular=0.1)


def tiny_bundle(
    path: Path,
    item_ids: Sequence[str],
    *,
    length: int = 20,
    top_k: int = 20,
    dim: int = 16,
    blocks: int = 1,
    seed: int = 0,
    blend: BlendWeights = DEFAULT_BLEND,
    queries: bool = False,
) -> Manifest:
    """Write a small untrained bundle over ``item_ids`` to ``path``."""
    torch.manual_seed(seed)
    vocabulary = Vocabulary(item_ids)
    config = NetworkConfig(
        vocabulary_size=len(vocabulary), length=length, dim=dim, blocks=blocks, queries=queries
    )
    network = Network(config)
    if network.query_table is not None:
        # Words say something, as they would after training.
        torch.nn.init.normal_(network.query_table.weight[PADDING + 1 :])
    rng = np.random.default_rng(seed)
    histories = [
        Interactions(
            rng.choice(vocabulary.hashes, count),
            np.full(count, INTERACTION_KINDS[Purchase], np.uint8),
            np.cumsum(rng.integers(1000, 86_400_000, count)),
        )
        for count in rng.integers(1, length, 16)
    ]
    with TemporaryDirectory() as folder:
        model = Path(folder) / "model.onnx"
        searches = [NO_SEARCHES] * len(histories) if queries else None
        users = featurize(histories, vocabulary, length, searches)
        parity = export_network(network, model, users, top_k)
        manifest = Manifest(
            history_length=length,
            top_k=min(top_k, len(item_ids)),
            training_range=("2026-01-01T00:00:00Z", "2026-01-31T00:00:00Z"),
            seed=seed,
            command="tiny_bundle",
            parity=ParityReport(
                max_difference=parity.max_difference,
                identical_top_20=parity.identical_top_20,
                users=parity.users,
            ),
            blend=blend,
            network={"dim": config.dim, "blocks": config.blocks, "heads": config.heads},
        )
        return write_bundle(path, model, item_ids, manifest)
