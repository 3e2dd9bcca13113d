"""A whole bundle made in a second, for tests of everything that serves one."""

from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import numpy as np
import onnxruntime
import torch

from model.blend import BlendWeights
from model.bundle import Manifest, ParityReport, write_bundle
from model.events import INTERACTION_KINDS, Purchase
from model.export import export_network
from model.features import (
    NO_SEARCHES,
    PADDING,
    Interactions,
    NetworkInputs,
    Vocabulary,
    featurize,
)
from model.index_gate import Quality, make_index
from model.item_index import ITEM_VECTORS, IndexFiles, ItemIndex
from model.item_tokens import catalogue_content
from model.items import Item
from model.network import Network, NetworkConfig
from model.top_metrics import rank_metrics
from model.tower_export import export_tower
from model.traits import MOST_TRAITS

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
    who: bool = False,
    index: bool = False,
    shaped: Callable[[Network], None] | None = None,
    users: int = 16,
    catalog: Sequence[Item] = (),
) -> Manifest:
    """Write a small untrained bundle over ``item_ids`` to ``path``.

    Args:
        path: the bundle's folder.
        item_ids: the vocabulary.
        length, dim, blocks, queries, who: of the network.
        top_k: of the graph.
        seed: of everything.
        blend: for the manifest.
        index: whether to make an index of the items.
        shaped: called with the network, to give it what training would.
        users: to compare graphs on.
        catalog: of which the network gets an item tower; none without.
    """
    torch.manual_seed(seed)
    vocabulary = Vocabulary(item_ids)
    config = NetworkConfig(
        vocabulary_size=len(vocabulary), length=length, dim=dim, blocks=blocks, queries=queries,
        who=who, content_bias=bool(catalog),
    )  # fmt: skip
    network = Network(config, catalogue_content(catalog, vocabulary) if catalog else None)
    if network.query_table is not None:
        # Words say something, as they would after training.
        torch.nn.init.normal_(network.query_table.weight[PADDING + 1 :])
    if network.who_table is not None:
        torch.nn.init.normal_(network.who_table.weight[PADDING + 1 :])
    if shaped:
        shaped(network)
    rng = np.random.default_rng(seed)
    histories = [
        Interactions(
            rng.choice(vocabulary.hashes, count),
            np.full(count, INTERACTION_KINDS[Purchase], np.uint8),
            np.cumsum(rng.integers(1000, 86_400_000, count)),
        )
        for count in rng.integers(1, length, users)
    ]
    with TemporaryDirectory() as folder:
        model = Path(folder) / "model.onnx"
        searches = [NO_SEARCHES] * len(histories) if queries else None
        known = np.arange(len(histories) * MOST_TRAITS).reshape(-1, MOST_TRAITS)
        inputs = featurize(histories, vocabulary, length, searches, known if who else None)
        parity = export_network(network, model, inputs, top_k, states=bool(catalog))
        tower = Path(folder) / "tower.onnx" if catalog else None
        if tower:
            export_tower(network, tower, catalog, vocabulary)
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
        files = None
        if index:
            report, files = make_index(
                model, Path(folder), inputs, manifest.top_k, likeness(model, inputs)
            )
            manifest = msgspec.structs.replace(manifest, index=report)
        return write_bundle(path, model, item_ids, manifest, index=files, tower=tower)


def likeness(model: Path, users: NetworkInputs) -> Quality:
    """NDCG@10 of users' nearest items, as if the exact ones were what they choose."""
    given = {**users._asdict(), "candidates": np.zeros((len(users.items), 1), np.int64)}

    def run(graph: Path, output: str, **more: np.typing.NDArray[np.float32]) -> Any:
        session = onnxruntime.InferenceSession(str(graph), providers=["CPUExecutionProvider"])
        return session.run([output], given | more)[0]

    def quality(files: IndexFiles | None) -> float:
        if files is None:
            return 1.0
        index = ItemIndex.read(files, threads=1)
        no_bias = np.zeros(len(index.vectors), np.float32)
        exact = run(model, "top_items", item_bias=no_bias)
        states = run(files.states, "states", **{ITEM_VECTORS: index.vectors})
        found = index.nearest(states, no_bias, exact.shape[1]).rows
        return rank_metrics(list(found), [set(each[:10]) for each in exact.tolist()]).ndcg

    return quality
