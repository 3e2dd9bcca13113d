"""The course of a training as a manifest tells it."""

import math

import pytest

from model.learning_curve import LearningCurve
from model.network import Network, NetworkConfig
from model.training_report import EpochReport


@pytest.fixture
def network() -> Network:
    return Network(NetworkConfig(vocabulary_size=5, length=4, dim=4, blocks=1, heads=1))


def test_the_best_epoch_is_kept_and_all_are_told(network: Network) -> None:
    curve = LearningCurve(network.state_dict())
    network.item_bias.data.fill_(1.0)
    curve.add(3.0, 0.2, network)
    network.item_bias.data.fill_(2.0)
    curve.add(2.0, 0.4, network)
    network.item_bias.data.fill_(3.0)
    curve.add(1.5, 0.4, network)
    curve.seconds = 12.34567
    assert set(curve.best["item_bias"].tolist()) == {2.0}
    report = curve.report()
    assert (report.epoch, report.seconds) == (2, 12.346)
    assert report.curve == [
        EpochReport(loss=3.0, ndcg=0.2),
        EpochReport(loss=2.0, ndcg=0.4),
        EpochReport(loss=1.5, ndcg=0.4),
    ]


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_no_number_can_be_written(network: Network, loss: float) -> None:
    curve = LearningCurve(network.state_dict())
    curve.add(loss, 0.0, network)
    assert curve.report().curve == [EpochReport(loss=None, ndcg=0.0)]
