"""A bundle's graph as a scorer of all items: what torch says, in the order asked for."""

from pathlib import Path

import numpy as np
import pytest
import torch

from model.export import export_network
from model.exported import UNKNOWN_SCORE, ExportedNetwork, features_of
from model.features import FIRST_ITEM, Vocabulary
from model.ids import item_hashes
from model.network import Network, NetworkConfig
from model.ranks import judge
from model.sequences import Cases, Sequences
from tests.sequence_shop import circle, timed

LENGTH = 6
KNOWN = [f"item-{number}" for number in range(11)]
"""All but the last item of the circle."""


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> tuple[Network, Path, Vocabulary]:
    torch.manual_seed(3)
    vocabulary = Vocabulary(KNOWN)
    network = Network(NetworkConfig(len(vocabulary), length=LENGTH, dim=8, blocks=1))
    path = tmp_path_factory.mktemp("graph") / "model.onnx"
    histories = circle()
    users = features_of(histories, item_hashes(histories.item_ids), vocabulary, LENGTH)
    export_network(network, path, users)
    return network.eval(), path, vocabulary


def exported(network: tuple[Network, Path, Vocabulary], item_ids: list[str]) -> ExportedNetwork:
    return ExportedNetwork(network[1], network[2], item_ids, length=LENGTH, threads=1)


def test_scores_are_those_of_torch(network: tuple[Network, Path, Vocabulary]) -> None:
    histories = circle()
    scorer = exported(network, histories.item_ids)
    found = scorer.scores(histories)
    assert found.shape == (len(histories), 12)
    assert found.dtype == np.float32
    inputs = (torch.from_numpy(each) for each in scorer.features(histories))
    with torch.inference_mode():
        state = network[0].encode(*inputs, newest_only=True)[:, 0]
        table = state @ network[0].item_table.weight.T + network[0].item_bias
    expected = table.numpy()[:, FIRST_ITEM:]
    assert np.allclose(found[:, :11], expected, atol=1e-4)
    assert (found[:, 11] == UNKNOWN_SCORE).all()


def test_the_order_of_the_items_is_the_caller_s(
    network: tuple[Network, Path, Vocabulary],
) -> None:
    histories = circle()
    order = np.random.default_rng(0).permutation(12)
    place = np.argsort(order)
    renamed = Sequences(
        place[histories.items].astype(np.int32),
        histories.starts,
        [histories.item_ids[item] for item in order],
    )
    ours = exported(network, histories.item_ids).scores(histories)
    theirs = exported(network, renamed.item_ids).scores(renamed)
    assert np.allclose(theirs, ours[:, order], atol=1e-6)


def test_batches_of_any_size_and_histories_of_any_length(
    network: tuple[Network, Path, Vocabulary], monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(1)
    histories = Sequences.from_lists(
        [rng.integers(0, 12, length).tolist() for length in (0, 1, 3, 6, 7, 20)],
        circle().item_ids,
    )
    scorer = exported(network, histories.item_ids)
    whole = scorer.scores(histories)
    for number in range(len(histories)):
        alone = scorer.scores(histories.take(np.array([number])))
        assert np.allclose(alone[0], whole[number], atol=1e-5)
    monkeypatch.setattr("model.exported.BATCH_CELLS", 24)
    small = exported(network, histories.item_ids)
    assert np.allclose(small.scores(histories), whole, atol=1e-6)


def test_times_are_read_where_they_are_known(network: tuple[Network, Path, Vocabulary]) -> None:
    hasty, slow = (timed([[("a", 0), ("b", pause)]]) for pause in (0.001, 300.0))
    vocabulary = Vocabulary(hasty.item_ids)
    gaps = [
        features_of(each, vocabulary.hashes, vocabulary, 2).gaps.tolist() for each in (hasty, slow)
    ]
    assert gaps[0] != gaps[1]


def test_it_is_judged_as_any_method(network: tuple[Network, Path, Vocabulary]) -> None:
    histories = circle()
    targets = ((histories.items[histories.starts[1:] - 1] + 1) % 12).astype(np.int32)
    cases = Cases.single(histories, targets, seen_excluded=False)
    scorer = exported(network, histories.item_ids)
    ranks = judge(scorer, cases).ranks
    scores = scorer.scores(histories)
    own = scores[np.arange(len(targets)), targets]
    assert ranks.tolist() == (1 + (scores > own[:, None]).sum(axis=1)).tolist()
