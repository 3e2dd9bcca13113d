"""Random catalogues, rules and candidates, whatever the model may say of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from model.blend import BlendWeights
from model.diversity import Diversity
from model.events import Context
from model.features import DAY_MS, Vocabulary
from model.ids import item_hashes
from model.items import Item
from model.signals import NO_ROWS, Pool
from serving.candidates import CandidateTable, Ties
from serving.catalog import Catalog
from serving.list_request import ListRequest, RequestTable
from serving.policy import Policy
from serving.profile import Profile, pack_interaction, pack_purchase
from serving.recommendation import SOURCE_BIT, AsOf, Recommended
from serving.rerank import rerank
from serving.rules import NO_RULES, Rules
from tests.parts import NOW, purchase

KINDS = Rules.__struct_fields__
BRANDS = ("alpro", "lavazza", "赛百味", "oatly")
CATEGORIES = (("food",), ("food", "milk"), ("food", "eggs"), ("drinks", "milk"), ("drinks",))
TAGS = ("new", "sale", "gift")
QUERIES = ("milk", "oat milk", "fresh eggs", "智能手机")
GREATEST = float(np.finfo(np.float32).max)
NETWORK_ALONE = BlendWeights(network=1, repeat=0)


@dataclass
class Case:
    """One micro-batch of lists under some rules, and what came out."""

    catalog: Catalog
    rules: Rules
    requests: list[ListRequest]
    bought: list[list[tuple[str, int]]]
    """Of each user: item, and epoch milliseconds."""
    length: int
    repeats_allowed: bool
    diversity: Diversity | None
    scores: list[dict[str, float]] = field(default_factory=list)
    """What the network says of the candidates of each list."""
    match: list[dict[str, float]] = field(default_factory=list)
    lists: list[tuple[Recommended, ...]] = field(default_factory=list)


def random_case(chance: Random, kinds: Sequence[str] = KINDS, *, ignored: bool = False) -> Case:
    """A case with rules of these kinds, with diversity or without; or with lists that do not know
    the rules."""
    known = [f"i{number}" for number in range(chance.randint(2, 40))]
    catalog = Catalog(Vocabulary([each for each in known if chance.random() < 0.7]))
    for each in known[: chance.randint(1, len(known))]:
        catalog.put(random_item(chance, each))
    rules = random_rules(chance, kinds, known)
    vectors = np.random.default_rng(chance.randrange(99)).normal(size=(len(known) + 2, 4))
    strength = chance.choice([None, 0.3, 1.0])
    diversity = None if strength is None else Diversity(strength, vectors.astype(np.float32), 4)
    policy = Policy(catalog, NO_RULES if ignored else rules, diversity)
    # The catalogue changes while the rules hold: in place, with new texts, and by removal.
    for each in known:
        if chance.random() < 0.5:
            catalog.put(random_item(chance, each))
        elif chance.random() < 0.1:
            catalog.remove(each)
    users = range(chance.randint(1, 4))
    bought = [_purchases(chance, known) for _ in users]
    case = Case(
        catalog, rules, [_request(chance, known, had) for had in bought], bought,
        chance.randint(1, 12), chance.random() < 0.8, diversity,
    )  # fmt: skip
    _run(case, chance, known, policy)
    return case


def random_item(chance: Random, item_id: str) -> Item:
    return Item(
        item_id=item_id,
        title=chance.choice(["", "a title"]),
        category=chance.choice([(), *CATEGORIES]),
        brand=chance.choice([None, *BRANDS]),
        price=chance.choice([None, 0.0, 1.5, 10.0, chance.uniform(0, 20)]),
        available=chance.random() < 0.9,
        tags=tuple(chance.sample(TAGS, chance.randint(0, 2))),
        stock=chance.choice([None, 0.0, 1.0, 40.0]),
        created=chance.choice([None, NOW, NOW - chance.randrange(100 * DAY_MS)]),
    )


def random_rules(chance: Random, kinds: Sequence[str], known: Sequence[str]) -> Rules:
    """One to three rules of each of some kinds, as a file would declare them."""
    chosen = chance.sample(kinds, chance.randint(1, len(kinds)))
    made = {
        kind: [random_rule(chance, kind, known) for _ in range(chance.randint(1, 3))]
        for kind in chosen
    }
    return msgspec.convert(made, Rules)


def random_rule(chance: Random, kind: str, known: Sequence[str]) -> dict[str, Any]:
    optional = kind in ("at_most", "not_again")
    rule = {} if optional and chance.random() < 0.5 else _selector(chance, known)
    if chance.random() < 0.3:
        rule["when"] = _when(chance)
    match kind:
        case "boost":
            rule |= chance.choice([{"factor": 2.5}, {"add": 0.5}, {"factor": 1000, "add": 1000}])
        case "bury":
            rule |= chance.choice([{"factor": 0.5}, {"subtract": 0.5}, {"factor": 0}])
        case "pin":
            rule |= {"position": chance.randint(1, 12)}
        case "sponsored":
            rule |= {"positions": [chance.randint(1, 12) for _ in range(chance.randint(1, 3))]}
        case "at_most":
            rule |= {"count": chance.randint(1, 3), "per": chance.choice(["brand", "category"])}
            if rule["per"] == "category" and chance.random() < 0.5:
                rule["level"] = chance.randint(1, 2)
        case "not_again":
            rule |= {"days": chance.randint(1, 60)}
    return rule


def _selector(chance: Random, known: Sequence[str]) -> dict[str, Any]:
    def bounds(most: float) -> dict[str, float]:
        low, high = sorted(chance.uniform(0, most) for _ in range(2))
        return chance.choice([{"min": low}, {"max": high}, {"min": low, "max": high}])

    fields: dict[str, Callable[[], Any]] = {
        "items": lambda: chance.sample([*known, "gone"], chance.randint(1, min(4, len(known)))),
        "brands": lambda: chance.sample(BRANDS, chance.randint(1, 2)),
        "categories": lambda: chance.sample(["food", ["food", "milk"], ["drinks"], ["toys"]], 2),
        "tags": lambda: chance.sample(TAGS, chance.randint(1, 2)),
        "price": lambda: bounds(20),
        "stock": lambda: chance.choice([{"max": 0}, {"min": 1}, {"min": 2, "max": 50}]),
        "age_days": lambda: bounds(100),
    }
    names = chance.sample(list(fields), chance.choice([1, 1, 1, 2]))
    return {name: fields[name]() for name in names}


def _when(chance: Random) -> dict[str, Any]:
    return chance.choice(
        [
            {"countries": ["AT", "CN"]},
            {"devices": ["phone"]},
            {"searches": chance.random() < 0.5},
            {"words": ["MILK", "手机"]},
            {"countries": ["AT"], "searches": True},
        ]
    )


def _purchases(chance: Random, known: Sequence[str]) -> list[tuple[str, int]]:
    count = chance.randint(0, 6)
    return [(chance.choice(known), NOW - chance.randrange(80 * DAY_MS)) for _ in range(count)]


def _request(
    chance: Random, known: Sequence[str], bought: Sequence[tuple[str, int]]
) -> ListRequest:
    packed = {pack_purchase(pack_interaction(purchase("u", item, at))) for item, at in bought}
    context = Context(chance.choice([None, "AT", "DE"]), chance.choice([None, "phone", "tablet"]))
    query = chance.choice([None, None, *QUERIES])
    return ListRequest(
        "u", "e", NOW, AsOf("events", 0, 0),
        Profile(b"", b"", b"".join(sorted(packed, reverse=True))), query,
        chance.choice([None, None, *known]), context=chance.choice([None, context]),
    )  # fmt: skip


def _run(case: Case, chance: Random, known: Sequence[str], policy: Policy) -> None:
    """Have the lists made of random candidates, of whose scores some are extreme."""
    catalog, count = case.catalog, len(case.requests)
    held = [each for each in known if catalog.row_of(each) >= 0]
    rows: list[int] = []
    owner: list[int] = []
    for number, request in enumerate(case.requests):
        some = chance.sample(held, chance.randint(0, len(held)))
        case.scores.append({each: float(np.float32(_score(chance))) for each in some})
        case.match.append(
            {each: chance.choice([0, 0.3, 0.55, 1]) if request.query else 0 for each in some}
        )
        some.sort(key=catalog.row_of)
        rows += map(catalog.row_of, some)
        owner += [number] * len(some)
    names = [catalog.items[row].item_id for row in rows]
    size = len(rows)
    pool: dict[str, Any] = {
        name: np.zeros(size, np.float32) for name in Pool.__dataclass_fields__
    } | {
        "rows": np.array(rows, np.int64),
        "sources": np.full(size, SOURCE_BIT["repeat"], np.uint8),
        "match": _column(case.match, owner, names),
    }
    table = CandidateTable(
        pool=Pool(**pool),
        owner=np.array(owner, np.int64),
        starts=np.searchsorted(owner, np.arange(count + 1)),
        ties=Ties(item_hashes([]), NO_ROWS, np.empty(0)),
        tie_places=NO_ROWS,
        units=np.ones(count),
    )
    case.lists = rerank(
        RequestTable(case.requests),
        table,
        _column(case.scores, owner, names),
        np.full((count, 1), -1, np.int64),
        np.zeros((count, 1), np.float32),
        np.zeros((count, 1), np.float32),
        catalog=catalog,
        weights=NETWORK_ALONE,
        repeats_allowed=case.repeats_allowed,
        length=case.length,
        policy=policy,
    )


def _score(chance: Random) -> float:
    return chance.choice(
        [0.0, 1.0, -1.0, GREATEST, -GREATEST, 1e-40, chance.gauss(0, 3), chance.gauss(0, 1e6)]
    )


def _column(
    values: Sequence[Mapping[str, float]], owner: Sequence[int], names: Sequence[str]
) -> NDArray[np.float32]:
    return np.array([values[at][name] for at, name in zip(owner, names, strict=True)], np.float32)
