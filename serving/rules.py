"""What a shop may declare about its lists, in a TOML or YAML file (docs/rules.md).

Every rule selects items and may be kept to some lists. What a rule does to the lists is the matter
of ``serving.policy``.
"""

import math
import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

PAGE = "docs/rules.md shows every field"
MOST_POSITIONS = 100
"""As many items as a list may have."""

Position = Annotated[int, Meta(ge=1, le=MOST_POSITIONS)]
Days = Annotated[int, Meta(ge=1, le=36_500)]


class RulesError(ValueError):
    """A file of rules cannot be used; the message names file, rule and field, and what to do."""


class _Declared(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A field that nobody knows is a typing error, and no rule must be ineffective unnoticed."""


class Range(_Declared, frozen=True):
    """Numbers from ``min`` to ``max``, both included."""

    min: float | None = None
    max: float | None = None

    def __post_init__(self) -> None:
        bounds = [bound for bound in (self.min, self.max) if bound is not None]
        if not bounds or not all(map(math.isfinite, bounds)):
            raise ValueError("needs `min`, `max` or both, as finite numbers")
        if bounds[0] > bounds[-1]:
            raise ValueError(f"`min` {bounds[0]} is greater than `max` {bounds[-1]}; exchange them")


class Lists(_Declared, frozen=True):
    """Which lists a rule is for: those for which all that is given holds."""

    countries: tuple[str, ...] = ()
    """Of the event that caused the list."""
    devices: tuple[str, ...] = ()
    searches: bool | None = None
    """True for lists of a search only, False for all others only."""
    words: tuple[str, ...] = ()
    """The search has all words of at least one of these."""


class Selector(_Declared, frozen=True):
    """Which items a rule is about: those for which all that is given holds.

    An item that does not say its price, stock or age is in no range of them.
    """

    items: tuple[str, ...] = ()
    """Ids."""
    brands: tuple[str, ...] = ()
    categories: tuple[str | tuple[str, ...], ...] = ()
    """Each a category or a path of them from the general one on, with all that is below it."""
    tags: tuple[str, ...] = ()
    price: Range | None = None
    stock: Range | None = None
    age_days: Range | None = None
    """Since ``created``, at the time of the event that caused the list."""

    @property
    def is_given(self) -> bool:
        """Whether it says anything: else it selects all items."""
        return bool(
            self.items or self.brands or self.categories or self.tags
            or self.price or self.stock or self.age_days
        )  # fmt: skip


class Rule(Selector, frozen=True):
    """What all rules have."""

    name: str = ""
    """For people."""
    when: Lists | None = None


class SelectingRule(Rule, frozen=True):
    """A rule that must say which items it means."""

    def __post_init__(self) -> None:
        if not self.is_given:
            raise ValueError(
                "selects no items; give `items`, `brands`, `categories`, `tags`, `price`, `stock` "
                "or `age_days`"
            )


class Hide(SelectingRule, frozen=True):
    """Never in a list."""


class Boost(SelectingRule, frozen=True):
    """Stands higher: its score s becomes s + (factor - 1) |s| + add."""

    factor: Annotated[float, Meta(ge=1, le=1_000)] = 1.0
    add: Annotated[float, Meta(ge=0, le=1_000)] = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.factor == 1 and self.add == 0:
            raise ValueError("changes no score; give a `factor` above 1 or an `add` above 0")


class Bury(SelectingRule, frozen=True):
    """Stands lower: its score s becomes s - (1 - factor) |s| - subtract."""

    factor: Annotated[float, Meta(ge=0, le=1)] = 1.0
    subtract: Annotated[float, Meta(ge=0, le=1_000)] = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.factor == 1 and self.subtract == 0:
            raise ValueError("changes no score; give a `factor` below 1 or a `subtract` above 0")


class Pin(SelectingRule, frozen=True, kw_only=True):
    """One of the items stands at a position."""

    position: Position


class Sponsored(SelectingRule, frozen=True, kw_only=True):
    """The items stand at these positions, marked as sponsored."""

    positions: Annotated[tuple[Position, ...], Meta(min_length=1)]


class AtMost(Rule, frozen=True, kw_only=True):
    """At most ``count`` items of one brand or category in a list."""

    count: Annotated[int, Meta(ge=1, le=MOST_POSITIONS)]
    per: Literal["brand", "category"]
    level: Annotated[int, Meta(ge=1)] | None = None
    """How many steps of the category count, from the general one on; None: all."""

    def __post_init__(self) -> None:
        if self.level is not None and self.per != "category":
            raise ValueError("has a `level`, which only goes with per = 'category'; remove it")


class NotAgain(Rule, frozen=True, kw_only=True):
    """Nothing that the user has bought in the last ``days``."""

    days: Days


class Rebuy(SelectingRule, frozen=True):
    """``NotAgain`` does not hold for these items."""


class Rules(_Declared, frozen=True):
    """A whole file."""

    hide: tuple[Hide, ...] = ()
    boost: tuple[Boost, ...] = ()
    bury: tuple[Bury, ...] = ()
    pin: tuple[Pin, ...] = ()
    sponsored: tuple[Sponsored, ...] = ()
    at_most: tuple[AtMost, ...] = ()
    not_again: tuple[NotAgain, ...] = ()
    rebuy: tuple[Rebuy, ...] = ()

    def __iter__(self) -> Iterator[Rule]:
        """All rules."""
        return chain.from_iterable(getattr(self, kind) for kind in self.__struct_fields__)

    def __len__(self) -> int:
        """How many."""
        return sum(1 for _ in self)


NO_RULES = Rules()


def read_rules(path: Path) -> Rules:
    """The rules of a file.

    Raises:
        RulesError: it is missing, is not valid TOML or YAML, or declares what there is not.
    """
    try:
        return decode_rules(path.read_bytes(), str(path))
    except OSError as error:
        reason = error.strerror or error
        raise RulesError(f"{path} cannot be read ({reason}); correct NEXTCLICK_RULES") from None


def decode_rules(data: bytes, name: str) -> Rules:
    """The rules in a file's bytes; ``name`` ends in .toml, .yaml or .yml.

    Raises:
        RulesError: see ``read_rules``.
    """
    match Path(name).suffix.lower():
        case ".toml":
            decode, form = msgspec.toml.decode, "TOML"
        case ".yaml" | ".yml":
            decode, form = msgspec.yaml.decode, "YAML"
        case _:
            raise RulesError(f"{name} is neither .toml nor .yaml; give it one of these endings")
    try:
        declared = decode(data)
    except ImportError:
        raise RulesError(
            f"{name} is YAML, and PyYAML is not installed; run: pip install 'nextclick[yaml]', "
            "or write the rules as TOML"
        ) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RulesError(f"{name} is not valid {form} ({error}); correct it") from None
    try:
        # An empty file of YAML is nothing.
        return msgspec.convert({} if declared is None else declared, Rules)
    except msgspec.ValidationError as error:
        raise RulesError(_told(name, str(error), declared)) from None


_PLACE = re.compile(r"^(?P<fault>.*?)(?: - at `\$(?P<path>.*)`)?$", re.DOTALL)
_RULE = re.compile(r"^\.(?P<kind>\w+)(?:\[(?P<number>\d+)\](?:\.(?P<field>.*))?)?$")


def _told(name: str, error: str, declared: object) -> str:
    """The sentence of an error of msgspec."""
    found = _PLACE.match(error)
    assert found is not None
    fault, place = found["fault"], _RULE.match(found["path"] or "")
    if place is None:
        kinds = ", ".join(Rules.__struct_fields__)
        return f"{name}: {fault}; a file holds lists of rules called {kinds} ({PAGE})"
    rule = f"[[{place['kind']}]]"
    if place["number"] is not None:
        rule += f" number {int(place['number']) + 1}{_named(declared, place)}"
    field = f", field `{place['field']}`" if place["field"] else ""
    return f"{name}: rule {rule}{field}: {fault}; correct it ({PAGE})"


def _named(declared: object, place: re.Match[str]) -> str:
    rules = declared.get(place["kind"]) if isinstance(declared, dict) else None
    rule = rules[int(place["number"])] if isinstance(rules, list) else None
    named = rule.get("name") if isinstance(rule, dict) else None
    return f" (“{named}”)" if isinstance(named, str) and named else ""
