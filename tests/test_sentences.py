"""Reasons as sentences: every code in every language, whatever is put in."""

from string import Formatter
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.recommendation import Recommended
from serving.sentences import TEMPLATES, sentence
from serving.why import (
    LANGUAGES,
    REASONS,
    CorrectedQuery,
    FitsHistory,
    MatchesQuery,
    PopularInCountry,
    Reason,
    ViewedTogether,
    Why,
    code_of,
)

ODD = ("{title}", "{0.__class__}", "50 % {", "كتاب", "智能手机", "🙈", "[red]", "a\nb")


def made(reason: type[Reason], text: str) -> Any:
    """A reason with this text as every argument."""
    return reason(*[text for _ in reason.__struct_fields__])


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_code_has_a_sentence_in_every_language(language: Any) -> None:
    assert set(TEMPLATES[language]) == {code_of(reason) for reason in REASONS}
    assert set(TEMPLATES) == set(LANGUAGES)


@pytest.mark.parametrize("reason", REASONS, ids=code_of)
@pytest.mark.parametrize("language", LANGUAGES)
def test_a_sentence_says_all_arguments(reason: type[Reason], language: Any) -> None:
    template = TEMPLATES[language][code_of(reason)]
    named = {name for _, name, _, _ in Formatter().parse(template) if name is not None}
    # An item goes by its title, and by its id where it has none.
    arguments = set(reason.__struct_fields__) - {"item_id", "title"}
    if "item_id" in reason.__struct_fields__:
        arguments.add("name")
    assert named == arguments


@pytest.mark.parametrize("reason", REASONS, ids=code_of)
@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("text", ODD)
def test_what_is_put_in_stands_there_as_it_is(
    reason: type[Reason], language: Any, text: str
) -> None:
    template = TEMPLATES[language][code_of(reason)]
    said = sentence(made(reason, text), language)
    count = sum(name is not None for _, name, _, _ in Formatter().parse(template))
    assert said.count(text) == count
    assert len(said) == len(sentence(made(reason, ""), language)) + count * len(text)


def test_the_two_languages_differ_in_every_sentence() -> None:
    for reason in REASONS:
        english, chinese = (sentence(made(reason, "x"), each) for each in ("en", "zh"))
        assert english.isascii() or "“" in english
        assert any("\u4e00" <= each <= "\u9fff" for each in chinese)


def test_an_item_without_a_title_goes_by_its_id() -> None:
    assert sentence(ViewedTogether("a-1", "智能手机"), "zh") == "常与“智能手机”一起被选择"
    assert sentence(ViewedTogether("a-1"), "zh") == "常与“a-1”一起被选择"


def test_sentences_of_a_few_codes() -> None:
    assert sentence(MatchesQuery("手机")) == "matches your search “手机”"
    assert sentence(MatchesQuery("手机"), "zh") == "符合您的搜索“手机”"
    corrected = CorrectedQuery("choclate", "chocolate")
    assert sentence(corrected) == "matches “chocolate”, which your search “choclate” was taken for"
    assert sentence(FitsHistory("a-1", "tea")) == "fits what you chose: tea"
    assert sentence(PopularInCountry("FR")) == "popular in your country (FR)"


def test_words_of_ones_own_are_a_table_of_the_same_form() -> None:
    german = {"viewed_together": "oft mit {name} ({item_id})", "matches_query": "wie {query}"}
    why = ViewedTogether("a-1", "Tee")
    assert sentence(why, templates=german) == "oft mit Tee (a-1)"
    assert sentence(MatchesQuery("{query}"), templates=german) == "wie {query}"
    assert sentence(why, templates={"viewed_together": "{{x}} together"}) == "{x} together"
    with pytest.raises(KeyError, match="popular_in_country"):
        sentence(PopularInCountry("FR"), templates=german)
    with pytest.raises(AttributeError, match="titel"):
        sentence(why, templates={"viewed_together": "oft mit {titel}"})


@given(st.sampled_from(REASONS), st.text(max_size=20))
def test_the_wire_keeps_code_and_arguments(reason: type[Reason], text: str) -> None:
    why = made(reason, text)
    item = Recommended("i", 1, 0.5, ("popular",), sentence(why), why.because, why)
    data = msgspec.json.encode(item)
    assert msgspec.json.decode(data, type=Recommended) == item
    fields = msgspec.json.decode(data)["why"]
    assert fields.pop("code") == code_of(reason)
    assert set(fields.values()) <= {text}


def test_codes_are_distinct_and_no_other_is_read() -> None:
    assert len({code_of(reason) for reason in REASONS}) == len(REASONS)
    with pytest.raises(msgspec.ValidationError, match="luck"):
        msgspec.json.decode(b'{"code": "luck"}', type=Why)


def test_a_list_from_before_there_were_codes_is_read() -> None:
    before = b'{"item_id":"i","rank":1,"score":0.5,"sources":["search"],"reason":"matches"}'
    assert msgspec.json.decode(before, type=Recommended).why is None
