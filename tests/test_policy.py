"""What comes before what, and how an item says that a rule has put it there."""

from typing import Any

import msgspec
import numpy as np
import pytest

from model.diversity import Diversity
from model.events import Context
from model.features import DAY_MS, Vocabulary
from model.items import Item
from model.pool_table import JoinedPools
from serving.catalog import NEVER, Catalog
from serving.list_request import RequestTable
from serving.policy import Policy
from serving.rules import Rules
from tests.parts import NOW
from tests.test_rerank import alone, ids, listed, pool, request

STRENGTHS = {name: 8.0 - at for at, name in enumerate("abcdefgh")}
"""In the order of the alphabet."""


@pytest.fixture
def catalog() -> Catalog:
    """Items a to h, of which the network knows a to d; z is no candidate of anybody."""
    made = Catalog(Vocabulary(list("abcd")))
    for at, name in enumerate("abcdefgh"):
        brand = "odd" if at % 2 else "even"
        made.put(Item(item_id=name, title=name, category=("shop", brand), brand=brand, price=at))
    made.put(Item(item_id="z", tags=("promoted",), stock=5, created=NOW))
    return made


def policy(catalog: Catalog, **rules: Any) -> Policy:
    return Policy(catalog, msgspec.convert({k: [v] for k, v in rules.items()}, Rules))


def order(catalog: Catalog, made: Policy | None, **asked: Any) -> str:
    context, length = asked.pop("context", None), asked.pop("length", 10)
    wanted = request(**asked)._replace(context=context)
    found = pool(catalog, STRENGTHS)
    return ids(listed(catalog, found, wanted, policy=made, length=length))


def test_without_rules_lists_are_as_they_were(catalog: Catalog) -> None:
    made = Policy(catalog)
    assert not made.has_say
    found = pool(catalog, STRENGTHS)
    assert listed(catalog, found, policy=made) == listed(catalog, found)


def test_what_is_hidden_always_is_hidden_from_every_source(catalog: Catalog) -> None:
    made = policy(catalog, hide={"brands": ["even"]})
    assert not made.has_say, "and costs nothing more"
    assert order(catalog, made) == "bdfh"
    assert catalog.item_bias.tolist()[2:] == [NEVER, 0, NEVER, 0]
    edition = catalog.bias_edition
    catalog.put(msgspec.structs.replace(catalog.items[0], brand="odd"))
    made.catch_up()
    assert catalog.usable(np.array([catalog.row_of("a")])).all()
    assert catalog.bias_edition > edition
    catalog.put(msgspec.structs.replace(catalog.items[1], available=False))
    made.use(Rules())
    assert order(catalog, made) == "acdefgh", "b is no longer there, the others are again"


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ({"pin": {"items": ["f"], "position": 1}}, "fabcdegh"),
        ({"pin": {"items": ["gone", "z", "f"], "position": 3}}, "abzcdefgh"),
        ({"pin": {"brands": ["odd"], "position": 1}}, "bacdefgh"),
        ({"pin": {"tags": ["promoted"], "position": 20}}, "abcdefgh"),
        ({"sponsored": {"tags": ["promoted"], "positions": [2, 4]}}, "azbcdefgh"),
        ({"sponsored": {"items": ["h", "g"], "positions": [3, 1]}}, "gahbcdef"),
        ({"hide": {"items": ["z", "a"]}, "pin": {"items": ["z", "c"], "position": 1}}, "cbdefgh"),
        ({"at_most": {"count": 1, "per": "brand"}}, "ab"),
        ({"at_most": {"count": 1, "per": "category", "level": 1}}, "a"),
        ({"at_most": {"count": 2, "per": "brand", "brands": ["odd"]}}, "abcdeg"),
        ({"at_most": {"count": 1, "per": "brand"}, "pin": {"items": ["h"], "position": 4}}, "ah"),
        ({"boost": {"items": ["h"], "factor": 20}}, "habcdefg"),
        ({"bury": {"price": {"max": 1}, "subtract": 100}}, "cdefghab"),
        ({"hide": {"age_days": {"max": 1}}, "pin": {"items": ["z"], "position": 1}}, "abcdefgh"),
        ({"pin": {"age_days": {"max": 1}, "position": 1}}, "zabcdefgh"),
    ],
)  # fmt: skip
def test_a_rule_makes_the_list(catalog: Catalog, rules: dict[str, Any], expected: str) -> None:
    assert order(catalog, policy(catalog, **rules)) == expected


def test_a_purchase_of_so_many_days_ago_does_not_return(catalog: Catalog) -> None:
    """Purchases are of today: the list is made some days later."""

    def later(made: Policy, days: int) -> str:
        wanted = request(bought=["a", "b"])._replace(time=NOW + days * DAY_MS)
        return ids(listed(catalog, pool(catalog, STRENGTHS), wanted, policy=made))

    never = policy(catalog, not_again={"days": 7}, pin={"items": ["a"], "position": 1})
    assert [later(never, days) for days in (0, 7, 8)] == ["cdefgh", "cdefgh", "abcdefgh"]
    lifted = policy(catalog, not_again={"days": 7}, rebuy={"items": ["b"]})
    assert later(lifted, 0) == "bcdefgh"
    some = policy(catalog, not_again={"days": 7, "brands": ["even"]})
    assert later(some, 0) == "bcdefgh"


@pytest.mark.parametrize(
    ("when", "asked", "holds"),
    [
        ({"countries": ["AT"]}, {"context": Context(country="AT")}, True),
        ({"countries": ["AT"]}, {"context": Context(country="DE")}, False),
        ({"countries": ["AT"]}, {}, False),
        ({"devices": ["tv"]}, {"context": Context(device="tv")}, True),
        ({"searches": True}, {"query": "x"}, True),
        ({"searches": True}, {}, False),
        ({"searches": False}, {}, True),
        ({"words": ["oat milk"]}, {"query": "Milk, of oat"}, True),
        ({"words": ["oat milk", "tea"]}, {"query": "milk"}, False),
        ({"words": ["手机"]}, {"query": "智能手机"}, True),
        ({"words": ["milk"]}, {}, False),
    ],
)
def test_a_rule_holds_for_the_lists_that_it_names(
    catalog: Catalog, when: dict[str, Any], asked: dict[str, Any], holds: bool
) -> None:
    for rules, expected in (
        ({"hide": {"items": ["a"], "when": when}}, "bcdefgh"),
        ({"pin": {"items": ["b"], "position": 1, "when": when}}, "bacdefgh"),
        ({"at_most": {"count": 1, "per": "brand", "when": when}}, "ab"),
    ):
        made = policy(catalog, **rules)
        assert order(catalog, made, **asked) == (expected if holds else "abcdefgh")


def test_what_is_placed_says_so(catalog: Catalog) -> None:
    made = policy(
        catalog,
        pin={"items": ["c"], "position": 1},
        sponsored={"items": ["z"], "positions": [2]},
    )
    first, second, third = listed(catalog, pool(catalog, STRENGTHS), policy=made, length=3)
    assert (first.item_id, first.placed, first.sources) == ("c", "pinned", ("rule", "repeat"))
    assert (second.item_id, second.placed, second.sources) == ("z", "sponsored", ("rule",))
    assert (third.item_id, third.placed, third.sources) == ("a", None, ("repeat",))
    assert third.score > first.score > second.score == 0
    assert [first.reason, second.reason] == ["picked by the shop", "sponsored"]


def test_what_is_out_of_stock_is_not_sponsored(catalog: Catalog) -> None:
    made = policy(catalog, sponsored={"items": ["z"], "positions": [1]})
    assert order(catalog, made, length=2) == "za"
    catalog.put(Item(item_id="z", tags=("promoted",), stock=0))
    assert order(catalog, made, length=2) == "ab"


def test_more_rules_than_a_word_has_bits(catalog: Catalog) -> None:
    boosts = [{"items": [name], "factor": 1.5} for name in "hgfedcba" * 20]
    made = Policy(catalog, msgspec.convert({"boost": boosts}, Rules))
    assert order(catalog, made) == "abcdefgh"
    made.use(msgspec.convert({"boost": [*boosts, {"items": ["h"], "factor": 1000}]}, Rules))
    assert order(catalog, made) == "habcdefg"


def test_a_varied_list_is_made_by_the_networks_vectors(catalog: Catalog) -> None:
    vectors = np.array([[0, 0], [0, 0], [1, 0], [1, 0.01], [0, 1], [1, 0.02]], np.float32)
    made = Policy(catalog, diversity=Diversity(0.5, vectors, 2))
    assert made.has_say
    found = pool(catalog, {name: STRENGTHS[name] for name in "abcd"})
    assert ids(listed(catalog, found, policy=made)) == "acbd"


def test_what_is_reserved_stands_at_the_end_unless_a_rule_is_against_it(catalog: Catalog) -> None:
    found = alone(pool(catalog, STRENGTHS))
    joined = JoinedPools(found.pool, found.owner, found.pool.repeat)
    allowed = np.ones(8, np.bool_)

    def composed(made: Policy, *reserved: int) -> str:
        places = np.array(reserved, np.int64)
        lists = made.compose(
            RequestTable([request()]), joined, 0, found.pool.repeat, allowed, length=4,
            reserved=places,
        )  # fmt: skip
        return "".join("abcdefgh"[place] for place in lists.chosen.places)

    capped = {"count": 1, "per": "category", "level": 2}
    assert composed(policy(catalog, boost={"items": ["z"], "factor": 2}), 6, 7) == "abgh"
    assert composed(policy(catalog, pin={"items": ["c"], "position": 4}), 6) == "abgc"
    assert composed(policy(catalog, hide={"items": ["g"], "when": {}}), 6) == "abcd"
    assert composed(policy(catalog, at_most=capped, pin={"items": ["e"], "position": 1}), 6) == "eb"
