"""Whatever is passed over, the best rows are those of the plain formula over every row."""

from math import log

import numpy as np
import pytest
from numpy.typing import NDArray

from serving.lexical_index import K1, B, Field, LexicalIndex, Term, best_places

ROWS = 3000


class PlainIndex:
    """BM25 over weighted fields as it is written down, one row at a time."""

    def __init__(self, texts: list[list[Field]]) -> None:
        self.bags = [
            {
                word: sum(f.weight * f.text.split().count(word) for f in fields)
                for word in {word for field in fields for word in field.text.split()}
            }
            for fields in texts
        ]
        self.lengths = [sum(f.weight * len(f.text.split()) for f in fields) for fields in texts]

    def scores(self, asked: list[Term]) -> NDArray[np.float64]:
        mean = sum(self.lengths) / len(self.lengths)
        scores = np.zeros(len(self.bags))
        for word, weight in asked:
            count = sum(word in bag for bag in self.bags)
            idf = log(1 + (len(self.bags) - count + 0.5) / (count + 0.5))
            for row, (bag, length) in enumerate(zip(self.bags, self.lengths, strict=True)):
                if word in bag:
                    norm = K1 * (1 - B + B * length / mean)
                    scores[row] += weight * idf * bag[word] * (K1 + 1) / (bag[word] + norm)
        return scores


@pytest.fixture(scope="module")
def texts() -> list[list[Field]]:
    """Words of which few are frequent, and one that all rows have in their category."""
    chance = np.random.default_rng(0)
    words = np.array([f"w{at}" for at in range(40)])
    often = 1 / np.arange(1, 41)
    return [
        [
            Field(" ".join(chance.choice(words, chance.integers(1, 7), p=often / often.sum())), 1),
            Field("all", 0.5),
        ]
        for _ in range(ROWS)
    ]


@pytest.mark.parametrize("most", [1, 20, 500])
def test_the_best_rows_are_those_of_the_formula(texts: list[list[Field]], most: int) -> None:
    index, plain = LexicalIndex(), PlainIndex(texts)
    for row, fields in enumerate(texts):
        index.add(row, fields)
    chance = np.random.default_rng(1)
    allowed = chance.random(ROWS) < 0.8
    for _ in range(15):
        drawn = chance.choice(40, chance.integers(1, 5), replace=False)
        asked = [Term(f"w{at}", float(chance.choice([1, 0.5]))) for at in drawn]
        asked += [Term("all"), Term("nowhere")]
        right = plain.scores(asked)
        rows, scores = index.find(asked, allowed, most)
        assert scores == pytest.approx(right[rows], rel=1e-4)
        assert (np.diff(scores) <= 0).all(), "best first"
        ties = np.diff(scores) == 0
        assert (np.diff(rows)[ties] > 0).all(), "equal ones keep row order"
        assert allowed[rows].all()
        assert len(set(rows.tolist())) == len(rows) == min(most, int(allowed.sum()))
        left = np.setdiff1d(np.flatnonzero(allowed), rows)
        assert right[left].max(initial=0) <= scores.min() * 1.0001
        some = np.array([0, 5, 2999, 17])
        assert index.scores_of(asked, some) == pytest.approx(right[some], rel=1e-4)


def test_equal_rows_keep_their_order_however_many_there_are() -> None:
    index = LexicalIndex()
    for row in range(5000):
        index.add(row, [Field("tea", 1)])
    allowed = np.ones(5000, np.bool_)
    allowed[3] = False
    rows, scores = index.find([Term("tea")], allowed, 100)
    assert rows.tolist() == [row for row in range(101) if row != 3]
    assert len(set(scores.tolist())) == 1


def test_a_search_leaves_nothing_behind_for_the_next_one(texts: list[list[Field]]) -> None:
    index = LexicalIndex()
    for row, fields in enumerate(texts):
        index.add(row, fields)
    allowed = np.ones(ROWS, np.bool_)
    few = [Term("w39"), Term("w38")]
    before = index.find(few, allowed, 50)
    index.find([Term("w0"), Term("all")], allowed, 50)
    after = index.find(few, allowed, 50)
    assert before[0].tolist() == after[0].tolist()
    assert before[1].tolist() == after[1].tolist()


def test_shorter_texts_say_more_and_repetitions_saturate() -> None:
    index = LexicalIndex()
    for row, text in enumerate(["tea pot blue big", "tea", "tea tea tea tea tea tea"]):
        index.add(row, [Field(text, 1)])
    rows, scores = index.find([Term("tea")], np.ones(3, np.bool_), 3)
    assert rows.tolist()[-1] == 0
    assert scores[0] < 2 * scores[-1]


@pytest.mark.parametrize("values", [3, 1_000_000])
@pytest.mark.parametrize("size", [5, 64, 999, 20_000])
def test_the_best_places_are_those_of_a_stable_sort(size: int, values: int) -> None:
    scores = np.random.default_rng(size).integers(0, values, size).astype(np.float32)
    for most in (1, 10, 300):
        expected = np.argsort(-scores, kind="stable")[:most]
        assert best_places(scores, most).tolist() == expected.tolist()
