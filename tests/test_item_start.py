"""Vectors to start from: what stands together points the same way."""

import numpy as np
import torch

from model.item_start import item_start
from model.sequences import Sequences
from tests.sequence_shop import named


def test_items_that_meet_point_the_same_way() -> None:
    chance = np.random.default_rng(0)
    groups = [chance.permutation(np.arange(8) + 8 * (user % 3)) for user in range(90)]
    train = Sequences.from_lists([each.tolist() for each in groups], [str(n) for n in range(24)])
    vectors = torch.nn.functional.normalize(item_start(train, 3), dim=1)
    cosines = (vectors @ vectors.T).reshape(3, 8, 3, 8)
    within = cosines[[0, 1, 2], :, [0, 1, 2]].mean()
    assert within > 0.9
    assert cosines.sum() - within * 3 * 64 < 0.2 * 6 * 64


def test_the_length_and_the_seed_are_what_they_should_be() -> None:
    train = named(["abcab", "cbadd", "dc", "ee"])
    vectors = item_start(train, 3, seed=4)
    assert torch.equal(vectors, item_start(train, 3, seed=4))
    assert torch.isclose(vectors.square().sum(dim=1).mean(), torch.tensor(1.0))
    # e meets only itself.
    assert not vectors[4].any()


def test_the_caller_s_random_state_is_left_alone() -> None:
    torch.manual_seed(9)
    expected = torch.rand(2)
    torch.manual_seed(9)
    item_start(named(["abcab", "cbad"]), 2)
    assert torch.equal(torch.rand(2), expected)


def test_where_nothing_meets_there_is_nothing_to_start_from() -> None:
    assert not item_start(named(["a", "b", "cc"]), 4).any()


def test_more_dimensions_than_items_are_left_at_zero() -> None:
    vectors = item_start(named(["ab", "ba", "ac"]), 8)
    assert vectors.shape == (3, 8)
    assert not vectors[:, 3:].any()
