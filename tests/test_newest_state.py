"""What is exported in the network's place gives its states, whatever the network."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from model.features import GAP_COUNT, KIND_COUNT, PADDING, QUERY_ROWS
from model.network import Network, NetworkConfig
from model.newest_state import NewestState

ROWS, LENGTH = 40, 12
CONFIG = NetworkConfig(ROWS, length=LENGTH, dim=16, blocks=2, heads=2)


def histories(lengths: list[int], queries: bool = False) -> list[Tensor]:
    """Users with so many random events each, newest last."""
    chance = torch.Generator().manual_seed(3)
    shape = (len(lengths), LENGTH)
    held = torch.arange(LENGTH) >= LENGTH - torch.tensor(lengths)[:, None]
    rows = (ROWS, KIND_COUNT, GAP_COUNT)
    inputs = [torch.randint(1, most, shape, generator=chance) * held for most in rows]
    if queries:
        inputs.append(torch.randint(0, QUERY_ROWS, (*shape, 3), generator=chance))
    return inputs


def made(config: NetworkConfig) -> Network:
    """A network whose every weight says something."""
    torch.manual_seed(0)
    network = Network(config)
    with torch.no_grad():
        for name, weights in network.named_parameters():
            if not name.endswith("_table.weight"):
                weights.add_(torch.randn(weights.shape) * 0.2)
        if network.query_table is not None:
            torch.nn.init.normal_(network.query_table.weight[PADDING + 1 :])
    return network.eval()


@pytest.mark.parametrize(
    "config",
    [
        CONFIG,
        replace(CONFIG, blocks=1),
        replace(CONFIG, blocks=3, heads=4),
        replace(CONFIG, band=5),
        replace(CONFIG, unit_items=True),
        replace(CONFIG, queries=True),
    ],
    ids=["two blocks", "one block", "three blocks", "band", "unit items", "queries"],
)
@torch.inference_mode()
def test_the_states_are_those_of_the_network(config: NetworkConfig) -> None:
    network = made(config)
    inputs = histories([LENGTH, 1, 0, 5, LENGTH - 1], queries=config.queries)
    queries = inputs[3] if config.queries else None
    theirs = network.encode(*inputs[:3], newest_only=True, queries=queries)[:, 0]
    ours = NewestState(network.folded())(*inputs)
    assert torch.allclose(ours, theirs, atol=1e-5)


@torch.inference_mode()
def test_padding_that_all_have_may_be_left_out() -> None:
    newest = NewestState(made(CONFIG).folded())
    inputs = histories([4, 0, 1])
    whole = newest(*inputs)
    for length in (4, 7):
        assert torch.allclose(newest(*(each[:, -length:] for each in inputs)), whole, atol=1e-5)
    assert not torch.allclose(newest(*(each[:, -3:] for each in inputs))[0], whole[0], atol=1e-3)
