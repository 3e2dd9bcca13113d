"""The course of a training as a manifest tells it."""

import math

import pytest

from model.learning_curve import Course
from model.network import Network, NetworkConfig
from model.training_report import EpochReport


@pytest.fixture
def network() -> Network:
    return Network(NetworkConfig(vocabulary_size=5, length=4, dim=4, blocks=1, heads=1))


def test_the_best_epoch_is_kept_and_all_are_told(network: Network) -> None:
    course = Course(network.state_dict())
    network.item_bias.data.fill_(1.0)
    course.add(3.0, 0.2, network)
    network.item_bias.data.fill_(2.0)
    course.add(2.0, 0.4, network)
    network.item_bias.data.fill_(3.0)
    course.add(1.5, 0.4, network)
    course.seconds = 12.34567
    assert set(course.best["item_bias"].tolist()) == {2.0}
    report = course.report()
    assert (report.epoch, report.seconds) == (2, 12.346)
    assert report.curve == [
        EpochReport(loss=3.0, ndcg=0.2),
        EpochReport(loss=2.0, ndcg=0.4),
        EpochReport(loss=1.5, ndcg=0.4),
    ]


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_no_number_can_be_written(network: Network, loss: float) -> None:
    course = Course(network.state_dict())
    course.add(loss, 0.0, network)
    assert course.report().curve == [EpochReport(loss=None, ndcg=0.0)]
