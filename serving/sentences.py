"""Reasons as sentences: one table of templates a language, by the codes of ``serving.why``.

``sentence`` makes them, for the lists and for whoever reads lists: ``why`` of an item holds all
that a sentence says. Another language, or other words, are another table of the same form.
"""

from collections.abc import Callable, Mapping
from operator import attrgetter
from string import Formatter
from types import MappingProxyType
from typing import TypeAlias

from serving.why import REASONS, Language, Why, code_of

Templates: TypeAlias = Mapping[str, str]
"""By code; an argument stands in braces, and ``{name}`` is an item's title, or its id."""

ENGLISH: Templates = MappingProxyType(
    {
        "matches_query": "matches your search “{query}”",
        "corrected_query": "matches “{corrected}”, which your search “{query}” was taken for",
        "near_query": "comes near your search “{query}”",
        "chosen_after_query": "others chose this after searching “{query}”",
        "bought_before": "you have bought this before",
        "viewed_together": "often together with {name}",
        "goes_with_history": "often together with your earlier choices",
        "fits_last": "fits what you chose last: {name}",
        "fits_history": "fits what you chose: {name}",
        "fits_profile": "fits your earlier choices",
        "for_newcomer": "suggested to newcomers",
        "new_item": "new here",
        "popular": "popular now",
        "popular_in_category": "popular in {category}",
        "popular_in_country": "popular in your country ({country})",
        "popular_in_own_country": "popular in your country",
        "pinned": "picked by the shop",
        "sponsored": "sponsored",
    }
)
CHINESE: Templates = MappingProxyType(
    {
        "matches_query": "符合您的搜索“{query}”",
        "corrected_query": "符合“{corrected}”（由您的搜索“{query}”更正而来）",
        "near_query": "与您的搜索“{query}”相近",
        "chosen_after_query": "其他人搜索“{query}”后选择了它",
        "bought_before": "您以前买过",
        "viewed_together": "常与“{name}”一起被选择",
        "goes_with_history": "常与您以前的选择一起出现",
        "fits_last": "与您最近的选择相配：{name}",
        "fits_history": "与您的选择相配：{name}",
        "fits_profile": "与您以前的选择相配",
        "for_newcomer": "为新顾客推荐",
        "new_item": "新品",
        "popular": "当前热门",
        "popular_in_category": "“{category}”热门",
        "popular_in_country": "您所在国家/地区（{country}）热门",
        "popular_in_own_country": "您所在国家/地区热门",
        "pinned": "商店精选",
        "sponsored": "赞助",
    }
)
TEMPLATES: Mapping[Language, Templates] = MappingProxyType({"en": ENGLISH, "zh": CHINESE})


def sentence(why: Why, language: Language = "en", templates: Templates | None = None) -> str:
    """What a reason says to a person.

    Args:
        why: as it stands in a list, ``decode_recommendation(data).items[0].why``.
        language: which of our tables.
        templates: a table of your own, in its place.

    Raises:
        KeyError: the table lacks the code.
        AttributeError: a template names an argument that the reason does not have.
    """
    if templates is None:
        return _MAKERS[language][type(why)](why)
    return _maker(templates[code_of(type(why))])(why)


def _maker(template: str) -> Callable[[Why], str]:
    """What puts a reason's arguments into a template, once and literally: they may hold braces."""
    pieces = [(text, name) for text, name, _, _ in Formatter().parse(template)]
    arguments = [name for _, name in pieces if name is not None]
    if not arguments:
        said = "".join(text for text, _ in pieces)
        return lambda _: said
    if len(arguments) == 1 and pieces[0][1] is not None:
        # Nearly all are so, and each micro-batch has hundreds of them.
        first, last = pieces[0][0], "".join(text for text, _ in pieces[1:])
        value = attrgetter(arguments[0])
        return lambda why: f"{first}{value(why)}{last}"
    return lambda why: "".join(
        text if name is None else f"{text}{getattr(why, name)}" for text, name in pieces
    )


_MAKERS = {
    language: {reason: _maker(templates[code_of(reason)]) for reason in REASONS}
    for language, templates in TEMPLATES.items()
}
