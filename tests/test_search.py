"""Queries in any script find the texts that a person would say they match."""

import numpy as np
import pytest

from model.words import tokens
from serving.search import MatchKind, SearchIndex

TEXTS = [
    "智能手机 黑色",
    "手机壳 iPhone",
    "スマートフォン ケース",
    "โทรศัพท์มือถือ สีดำ",
    "هاتف ذكي أسود",
    "שלום עולם",
    "हिन्दी किताब",
    "스마트폰 케이스",
    "🍕 pizza Margherita",
    "Crème brûlée",
    "USB cable 2 m",
    "🎧 headphones",
]


@pytest.fixture(scope="module")
def index() -> SearchIndex:
    made = SearchIndex()
    for row, text in enumerate(TEXTS):
        made.add(row, text)
    return made


def everything() -> np.typing.NDArray[np.bool_]:
    return np.ones(len(TEXTS), dtype=np.bool_)


@pytest.mark.parametrize(
    ("query", "best"),
    [
        ("智能手机", "智能手机 黑色"),
        ("机壳", "手机壳 iPhone"),
        ("iPhone手机壳", "手机壳 iPhone"),
        ("IPHONE", "手机壳 iPhone"),
        ("スマートフォン", "スマートフォン ケース"),
        ("ｽﾏｰﾄﾌｫﾝ", "スマートフォン ケース"),
        ("มือถือ", "โทรศัพท์มือถือ สีดำ"),
        ("هاتف", "هاتف ذكي أسود"),
        ("هَاتِف", "هاتف ذكي أسود"),
        ("שָׁלוֹם", "שלום עולם"),
        ("किताब", "हिन्दी किताब"),
        ("스마트폰", "스마트폰 케이스"),
        ("🍕", "🍕 pizza Margherita"),
        ("pizza🍕", "🍕 pizza Margherita"),
        ("🎧️", "🎧 headphones"),
        ("BRÛLÉE", "Crème brûlée"),
        ("ＵＳＢ　ｃａｂｌｅ", "USB cable 2 m"),
        ("usb-cable", "USB cable 2 m"),
    ],
)
def test_finds_first_what_matches_best(index: SearchIndex, query: str, best: str) -> None:
    rows, match, kinds, _ = index.find(query, everything(), 3)
    assert TEXTS[rows[0]] == best
    assert kinds[0] == MatchKind.WORDS
    assert match[0] == pytest.approx(1)
    assert (np.diff(match) <= 0).all()


@pytest.mark.parametrize("query", ["", " ", "!!!", "…", "\0", "_", "\u200d", "\ufe0f", "﷽ nowhere"])
def test_a_query_with_nothing_to_find_finds_nothing(index: SearchIndex, query: str) -> None:
    rows, match, *_ = index.find(query, everything(), 10)
    assert len(rows) == len(match) == 0


def test_a_partial_match_covers_a_part(index: SearchIndex) -> None:
    rows, match, *_ = index.find("headphones nobody sells", everything(), 10)
    assert [TEXTS[row] for row in rows] == ["🎧 headphones"]
    assert 0 < match[0] < 1


def test_a_rare_word_weighs_more_than_a_common_one() -> None:
    index = SearchIndex()
    for row, text in enumerate(["red", "red", "red", "red", "blue"]):
        index.add(row, text)
    rows, *_ = index.find("red blue", np.ones(5, dtype=np.bool_), 5)
    assert rows.tolist() == [4, 0, 1, 2, 3]


def test_equal_matches_keep_row_order() -> None:
    index = SearchIndex()
    for row in range(500):
        index.add(row, f"tea {row}")
    rows, match, *_ = index.find("tea", np.ones(500, dtype=np.bool_), 100)
    assert rows.tolist() == list(range(100))
    assert len(set(match.tolist())) == 1


def test_only_allowed_rows_are_found(index: SearchIndex) -> None:
    allowed = everything()
    allowed[8] = False
    assert index.find("pizza", allowed, 10)[0].tolist() == []
    assert index.find("pizza", everything(), 10)[0].tolist() == [8]


def test_an_empty_index_finds_nothing() -> None:
    rows, match, *_ = SearchIndex().find("tea", np.zeros(0, dtype=np.bool_), 10)
    assert rows.dtype == np.int64
    assert len(rows) == len(match) == 0


def test_a_search_leaves_nothing_behind_for_the_next_one(index: SearchIndex) -> None:
    before = index.find("智能手机", everything(), 10)
    index.find("pizza usb 手机", everything(), 10)
    after = index.find("智能手机", everything(), 10)
    assert before[0].tolist() == after[0].tolist()
    assert before[1].tolist() == after[1].tolist()


def test_tokens() -> None:
    assert tokens("iPhone手机壳 64GB") == ["iphone", "手", "机", "壳", "手机", "机壳", "64gb"]
    assert tokens("人々") == ["人", "々", "人々"]
    assert tokens("हिन्दी") == ["हिन्दी"], "vowel signs do not break a word"
    assert tokens("men's snake_case") == ["men", "s", "snake", "case"]
    assert tokens("Straße") == tokens("STRASSE")
