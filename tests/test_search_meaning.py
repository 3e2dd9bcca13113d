"""Searches by words and meaning together: typing errors, no hits, new and changed items."""

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from model.features import Vocabulary
from model.items import Item
from model.text_encoder import open_text_encoder
from serving.catalog import Catalog
from serving.meaning_search import MeaningSearch
from serving.search import MatchKind, SearchIndex

TITLES = ["red mug", "blue mug", "chocolate milk", "milk jug", "headphones", "智能手机 黑色"]


def everything(rows: int = len(TITLES)) -> np.typing.NDArray[np.bool_]:
    return np.ones(rows, np.bool_)


def by_words() -> SearchIndex:
    index = SearchIndex()
    for row, title in enumerate(TITLES):
        index.add(row, title)
    return index


def by_letters() -> SearchIndex:
    encoder = open_text_encoder("static")
    assert encoder is not None
    return SearchIndex(MeaningSearch(encoder))


@pytest.fixture
def hybrid() -> SearchIndex:
    index = by_letters()
    for row, title in enumerate(TITLES):
        index.add(row, title)
    assert index.meaning is not None
    index.meaning.encode_all()
    return index


@pytest.mark.parametrize(
    ("typed", "meant", "title"),
    [
        ("choclate", "chocolate", "chocolate milk"),
        ("chocoalte", "chocolate", "chocolate milk"),
        ("headphoness", "headphone", "headphones"),
        ("mlik", "milk", "chocolate milk"),
        ("headphons", "headphone", "headphones"),
        ("choco", "chocolate", "chocolate milk"),
    ],
)
def test_a_mistyped_word_finds_what_was_meant_and_says_so(
    typed: str, meant: str, title: str
) -> None:
    found = by_words().find(typed, everything(), 3)
    assert TITLES[found.rows[0]] == title
    assert set(found.kinds.tolist()) == {MatchKind.CORRECTED}
    assert found.corrected[0] == (found.corrected[0][0], meant)


def test_words_written_as_one_are_parted() -> None:
    found = by_words().find("redmug", everything(), 3)
    assert found.corrected == (("redmug", "red"), ("redmug", "mug"))
    assert TITLES[found.rows[0]] == "red mug"


def test_a_word_that_the_catalogue_has_is_never_corrected() -> None:
    found = by_words().find("jug", everything(), 10)
    assert [TITLES[row] for row in found.rows] == ["milk jug"]
    assert found.kinds.tolist() == [MatchKind.WORDS]
    assert found.corrected == ()


def test_a_corrected_match_covers_less_than_a_word_as_typed() -> None:
    index = by_words()
    assert index.find("mugs", everything(), 1).match[0] == pytest.approx(1)
    assert 0 < index.find("muh", everything(), 1).match[0] < 1


def test_singular_and_plural_are_one() -> None:
    found = by_words().find("mugs", everything(), 10)
    assert found.rows.tolist() == [0, 1]
    assert found.corrected == ()


def test_what_holds_no_word_of_the_query_is_found_by_likeness(hybrid: SearchIndex) -> None:
    assert len(by_words().find("telephone", everything(), 2).rows) == 0
    found = hybrid.find("telephone", everything(), 2)
    assert TITLES[found.rows[0]] == "headphones"
    assert found.kinds.tolist()[0] == MatchKind.MEANING
    assert 0 < found.match[0] <= 0.3


def test_what_holds_the_words_stands_before_what_is_merely_alike(hybrid: SearchIndex) -> None:
    found = hybrid.find("milk", everything(), 6)
    assert {TITLES[row] for row in found.rows[:2]} == {"chocolate milk", "milk jug"}
    assert found.match[0] == pytest.approx(1)
    assert (np.diff(found.match) <= 0).all()
    assert (found.match > 0).all()


def test_chinese_is_found_with_an_encoder_too(hybrid: SearchIndex) -> None:
    found = hybrid.find("手机", everything(), 3)
    assert (found.rows[0], found.kinds[0]) == (5, MatchKind.WORDS)


@pytest.mark.parametrize("query", ["milk", "choclate mug", "telephone"])
def test_how_rows_matched_can_be_asked_again(hybrid: SearchIndex, query: str) -> None:
    found = hybrid.find(query, everything(), 4)
    kinds, corrected = hybrid.told(query, found.rows)
    assert kinds.tolist() == found.kinds.tolist()
    assert corrected == found.corrected


def test_a_word_that_a_new_item_brings_is_no_longer_corrected() -> None:
    index = by_words()
    assert index.find("mog", everything(), 2).kinds.tolist() == [MatchKind.CORRECTED] * 2
    index.add(len(TITLES), "mog the cat")
    found = index.find("mog", everything(len(TITLES) + 1), 9)
    assert (found.rows.tolist(), found.kinds.tolist()) == ([6], [MatchKind.WORDS])


@pytest.mark.parametrize("query", ["", "!!!", "\0", " "])
def test_nothing_asked_finds_nothing(hybrid: SearchIndex, query: str) -> None:
    assert len(hybrid.find(query, everything(), 5).rows) == 0


def test_only_allowed_rows_are_found_by_meaning(hybrid: SearchIndex) -> None:
    allowed = everything()
    allowed[4] = False
    assert 4 not in hybrid.find("telephone", allowed, 6).rows


async def test_lists_of_a_micro_batch_are_those_of_each_query(hybrid: SearchIndex) -> None:
    queries = ["milk", "telephone", "blue mgu", ""]
    together = await hybrid.find_lists(queries, everything(), 4)
    for query, found in zip(queries, together, strict=True):
        alone = hybrid.find(query, everything(), 4)
        assert found.rows.tolist() == alone.rows.tolist()
        assert found.match.tolist() == alone.match.tolist()


async def test_a_new_item_is_found_by_title_category_and_brand_at_once() -> None:
    catalog = Catalog(Vocabulary([]), by_letters())
    catalog.put(Item(item_id="1", title="red mug"))
    catalog.put(Item(item_id="2", title="thing", category=("kitchen", "teapots"), brand="Acme"))
    for query in ("thing", "teapot", "acme", "kitchen"):
        (found,) = await catalog.search_index.find_lists([query], catalog.allowed, 1)
        assert [catalog.items[row].item_id for row in found.rows] == ["2"], query


async def test_a_changed_text_is_found_anew_and_no_longer_as_it_was() -> None:
    catalog = Catalog(Vocabulary([]), by_letters())
    meaning = catalog.search_index.meaning
    assert meaning is not None
    catalog.put(Item(item_id="1", title="umbrella"))
    await meaning.encode_pending()
    catalog.put(Item(item_id="1", title="teapot"))
    assert meaning.pending == 1
    await meaning.encode_pending()
    (old, new) = await catalog.search_index.find_lists(["umbrella", "teapot"], catalog.allowed, 5)
    assert [catalog.items[row].title for row in new.rows] == ["teapot"]
    assert MatchKind.WORDS not in old.kinds
    assert {catalog.items[row].title for row in old.rows} <= {"teapot"}


async def test_a_changed_brand_alone_is_a_changed_text() -> None:
    catalog = Catalog(Vocabulary([]))
    catalog.put(Item(item_id="1", title="mug", brand="Acme"))
    catalog.put(Item(item_id="1", title="mug", brand="Bolt"))
    acme, bolt = await catalog.search_index.find_lists(["acme", "bolt"], catalog.allowed, 5)
    assert (len(acme.rows), len(bolt.rows)) == (0, 1)


class CountingEncoder:
    """The static encoder, which counts the texts that it is given."""

    def __init__(self) -> None:
        encoder = open_text_encoder("static")
        assert encoder is not None
        self.encoder, self.given = encoder, 0
        self.name, self.identity, self.share = encoder.name, encoder.identity, encoder.share
        self.dimensions, self.is_quick = encoder.dimensions, encoder.is_quick
        self.queries = encoder.queries

    def items(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.given += len(texts)
        return self.encoder.items(texts)


async def test_items_that_say_the_same_are_encoded_once_and_all_found() -> None:
    encoder = CountingEncoder()
    meaning = MeaningSearch(encoder)
    for row in range(300):
        meaning.add(row, TITLES[row % len(TITLES)])
    assert meaning.pending == 300
    await meaning.encode_pending()
    assert (meaning.pending, encoder.given, len(meaning.vectors)) == (0, len(TITLES), 300)
    (vector,) = encoder.encoder.items([TITLES[2]])
    cosines = meaning.vectors.cosines(vector, np.arange(2, 300, 6))
    assert cosines.tolist() == pytest.approx([1.0] * 50, abs=1e-3)


@pytest.mark.parametrize(
    ("query", "read"),
    [
        ("a red mugg, please", ["a red mugg, please", "a red mug, please"]),
        ("Chocolte milks", ["Chocolte milks", "chocolate milks"]),
        ("redmug", ["redmug", "red mug"]),
        ("red mug", ["red mug"]),
        ("智能手机", ["智能手机"]),
        ("tomorrow", ["tomorrow"]),
    ],
)
def test_the_encoder_reads_a_mistyped_query_as_typed_and_as_meant(
    hybrid: SearchIndex, monkeypatch: pytest.MonkeyPatch, query: str, read: list[str]
) -> None:
    assert hybrid.meaning is not None
    encoder, heard = hybrid.meaning.encoder, list[str]()
    encode = encoder.queries

    def spied(texts: Sequence[str]) -> NDArray[np.float32]:
        heard.extend(texts)
        return encode(texts)

    monkeypatch.setattr(encoder, "queries", spied)
    hybrid.find(query, everything(), 3)
    assert heard == read
