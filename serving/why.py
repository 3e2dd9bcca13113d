"""Why an item stands in a list, for machines: a closed union, told apart by ``code``.

Codes and arguments are a contract. Sentences are made of them by ``serving.sentences``, by us and
by any consumer who wants other ones; a title is the catalogue's, as it is.
"""

from typing import Literal, TypeAlias, TypeGuard, get_args

import msgspec

Language: TypeAlias = Literal["en", "zh"]
LANGUAGES: tuple[Language, ...] = get_args(Language)


class Reason(msgspec.Struct, frozen=True, omit_defaults=True, gc=False, tag_field="code"):
    """What all codes have in common."""

    @property
    def because(self) -> str | None:
        """What it points at: an item id, a category, a country or a query."""
        return None


class AboutItem(Reason, frozen=True, gc=False):
    """A reason that names an item that the user has dealt with."""

    item_id: str
    title: str = ""

    @property
    def name(self) -> str:
        """What a person calls the item."""
        return self.title or self.item_id

    @property
    def because(self) -> str:
        """The item's id."""
        return self.item_id


class AboutQuery(Reason, frozen=True, gc=False):
    """A reason that names what the user has searched for."""

    query: str

    @property
    def because(self) -> str:
        """The query."""
        return self.query


class MatchesQuery(AboutQuery, frozen=True, gc=False, tag="matches_query"):
    """It has words of the query."""


class CorrectedQuery(AboutQuery, frozen=True, gc=False, tag="corrected_query"):
    """It has words that the query was taken for."""

    corrected: str
    """The query as it was understood."""


class NearQuery(AboutQuery, frozen=True, gc=False, tag="near_query"):
    """It has no word of the query; nothing in the catalogue is nearer in meaning."""


class ChosenAfterQuery(AboutQuery, frozen=True, gc=False, tag="chosen_after_query"):
    """Others chose it after the same search."""


class BoughtBefore(Reason, frozen=True, gc=False, tag="bought_before"):
    """The user has bought it."""


class ViewedTogether(AboutItem, frozen=True, gc=False, tag="viewed_together"):
    """It is often viewed or bought together with the item named, more than with the others."""


class GoesWithHistory(Reason, frozen=True, gc=False, tag="goes_with_history"):
    """As ``ViewedTogether``, with items that the catalogue has no longer."""


class FitsLast(AboutItem, frozen=True, gc=False, tag="fits_last"):
    """The network found it; named is the newest item of the user's, as the one it weighs first."""


class FitsHistory(AboutItem, frozen=True, gc=False, tag="fits_history"):
    """The network found it; without the item named its score would fall most, which was tried."""


class FitsProfile(Reason, frozen=True, gc=False, tag="fits_profile"):
    """The network found it, and there is no item of the user's to name."""


class ForNewcomer(Reason, frozen=True, gc=False, tag="for_newcomer"):
    """The network found it for somebody of whom no item is known."""


class NewItem(Reason, frozen=True, gc=False, tag="new_item"):
    """It is new, and shown to learn who likes it."""


class Popular(Reason, frozen=True, gc=False, tag="popular"):
    """It is popular now."""


class PopularInCategory(Reason, frozen=True, gc=False, tag="popular_in_category"):
    """It is popular now; named is its category."""

    category: str

    @property
    def because(self) -> str:
        """The category."""
        return self.category


class PopularInCountry(Reason, frozen=True, gc=False, tag="popular_in_country"):
    """It is popular now in the user's country."""

    country: str

    @property
    def because(self) -> str:
        """The country."""
        return self.country


class PopularInOwnCountry(Reason, frozen=True, gc=False, tag="popular_in_own_country"):
    """It is popular now in the country that the profile knows, by its hash alone."""


class Pinned(Reason, frozen=True, gc=False, tag="pinned"):
    """A rule of the shop placed it."""


class Sponsored(Reason, frozen=True, gc=False, tag="sponsored"):
    """Its place was paid for."""


Why: TypeAlias = (
    MatchesQuery
    | CorrectedQuery
    | NearQuery
    | ChosenAfterQuery
    | BoughtBefore
    | ViewedTogether
    | GoesWithHistory
    | FitsLast
    | FitsHistory
    | FitsProfile
    | ForNewcomer
    | NewItem
    | Popular
    | PopularInCategory
    | PopularInCountry
    | PopularInOwnCountry
    | Pinned
    | Sponsored
)
REASONS: tuple[type[Reason], ...] = get_args(Why)


def code_of(reason: type[Reason]) -> str:
    """The code on the wire."""
    return str(reason.__struct_config__.tag)


def is_language(name: str) -> TypeGuard[Language]:
    """Whether there are sentences in a language of this name."""
    return name in LANGUAGES
