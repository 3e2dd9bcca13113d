"""The figures that benchmarks.catalogue_coverage compares, on lists that can be counted."""

import numpy as np
import pytest

from benchmarks.catalogue_coverage import figures, padded
from model.list_quality import NOTHING
from model.protocols import NEXT_BASKET, questions
from tests.planted import at
from tests.test_evaluate import shop


def test_lists_of_what_was_bought_are_right_and_show_just_that() -> None:
    log = shop()
    asked = questions(NEXT_BASKET, log, at(8), at(100))
    bought = [np.array(sorted(each), np.int64) for each in asked.target_sets()]
    found = figures(padded(bought), asked, np.zeros(len(log.item_ids), np.int32))
    distinct = len(np.unique(np.concatenate(bought)))
    assert found["ndcg@10"] == pytest.approx(1)
    assert found["coverage@10"] == pytest.approx(distinct / len(log.item_ids))


def test_short_lists_are_padded_and_long_ones_cut() -> None:
    table = padded([np.array([4, 2]), np.arange(12)])
    assert table.tolist() == [[4, 2, *[NOTHING] * 8], [*range(10)]]
