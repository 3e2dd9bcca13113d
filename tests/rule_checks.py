"""Whether lists keep their rules, found out item by item as a person would."""

from collections import Counter
from collections.abc import Iterator

import numpy as np

from model.features import DAY_MS
from model.items import Item
from model.words import tokens
from serving.list_request import ListRequest
from serving.recommendation import Recommended
from serving.rules import AtMost, Lists, Pin, Range, Rule, Selector, Sponsored
from tests.rule_cases import GREATEST, Case

RESERVE = 16
"""Items that a placing rule brings, where it names none."""


def selects(selector: Selector, item: Item, now: int | None) -> bool:
    """Whether a selector means an item; without a time, whatever the item's age."""

    def within(bounds: Range | None, value: float | None) -> bool:
        if bounds is None:
            return True
        return value is not None and (
            (bounds.min is None or value >= bounds.min)
            and (bounds.max is None or value <= bounds.max)
        )

    paths = [(each,) if isinstance(each, str) else each for each in selector.categories]
    created = item.created_ms
    return (
        (not selector.items or item.item_id in selector.items)
        and (not selector.brands or item.brand in selector.brands)
        and (not paths or any(item.category[: len(path)] == path for path in paths))
        and (not selector.tags or bool(set(selector.tags) & set(item.tags)))
        and within(selector.price, item.price)
        and within(selector.stock, item.stock)
        and (
            now is None
            or within(selector.age_days, None if created is None else (now - created) / DAY_MS)
        )
    )


def is_for(when: Lists | None, request: ListRequest) -> bool:
    """Whether a rule holds for a list."""
    if when is None:
        return True
    country = request.context.country if request.context else None
    device = request.context.device if request.context else None
    words = set(tokens(request.query or ""))
    return (
        (not when.countries or country in when.countries)
        and (not when.devices or device in when.devices)
        and (when.searches is None or when.searches == (request.query is not None))
        and (not when.words or any(set(tokens(each)) <= words for each in when.words))
    )


def violations(case: Case) -> Counter[str]:
    """How often each rule is broken, by kind of rule; and "shop": what may be in no list at all."""
    found: Counter[str] = Counter()
    for number in range(len(case.requests)):
        found.update(OneList(case, number).violations())
    return found


class OneList:
    """One list, and the rules that hold for it."""

    def __init__(self, case: Case, number: int) -> None:
        self.case, self.request = case, case.requests[number]
        self.shown = case.lists[number]
        self.scores, self.match = case.scores[number], case.match[number]
        self.bought = case.bought[number]
        items = (case.catalog.get(f"i{at}") for at in range(99))
        self.items = {each.item_id: each for each in items if each is not None}

    def about(self, item_id: str, rules: "tuple[Rule, ...]") -> bool:
        """Whether any of these rules holds for the list and means the item."""
        return any(self.means(rule, item_id) for rule in rules)

    def means(self, rule: Rule, item_id: str) -> bool:
        return is_for(rule.when, self.request) and selects(
            rule, self.items[item_id], self.request.time
        )

    def is_hidden(self, item_id: str) -> bool:
        return self.about(item_id, self.case.rules.hide)

    def is_not_again(self, item_id: str) -> bool:
        if self.about(item_id, self.case.rules.rebuy):
            return False
        today = self.request.time // DAY_MS
        days = [today - at // DAY_MS for item, at in self.bought if item == item_id]
        return any(
            self.means(rule, item_id) and min(days, default=rule.days + 1) <= rule.days
            for rule in self.case.rules.not_again
        )

    def is_sold(self, item_id: str) -> bool:
        """Whether the shop would recommend it to this user without any rule."""
        if item_id not in self.items or not self.items[item_id].available:
            return False
        had = {item for item, _ in self.bought}
        is_barred = not self.case.repeats_allowed and item_id in had
        return item_id != self.request.current_item and not is_barred

    def may_stand(self, item_id: str) -> bool:
        return (
            self.is_sold(item_id) and not self.is_hidden(item_id) and not self.is_not_again(item_id)
        )

    def group(self, rule: AtMost, item_id: str) -> object:
        """What an item counts as; None for nothing."""
        if not self.means(rule, item_id):
            return None
        item = self.items[item_id]
        return item.brand if rule.per == "brand" else item.category[: rule.level] or None

    def over(self, rule: AtMost, listed: list[str]) -> bool:
        groups = Counter(self.group(rule, each) for each in listed)
        return any(count > rule.count for group, count in groups.items() if group is not None)

    def has_room(self, item_id: str, listed: list[str]) -> bool:
        return item_id not in listed and not any(
            self.over(rule, [*listed, item_id]) for rule in self.case.rules.at_most
        )

    def score(self, item_id: str) -> float:
        """Of a candidate, as boosts and buryings leave it."""
        score = self.scores[item_id]
        for boost in self.case.rules.boost:
            if self.means(boost, item_id):
                score += (boost.factor - 1) * abs(score) + boost.add
        for bury in self.case.rules.bury:
            if self.means(bury, item_id):
                score -= (1 - bury.factor) * abs(score) + bury.subtract
        return min(max(score, -GREATEST), GREATEST)

    def pool(self) -> set[str]:
        """Candidates, and what placing rules bring into the list."""
        return {
            *self.scores,
            *(each for _, rule in self._placing() for each in self._brought(rule)),
        }

    def _brought(self, rule: Rule) -> list[str]:
        """What a rule brings, of the items that the shop recommends to anybody."""
        rules = [each for each in self.case.rules.hide if not each.when and not each.age_days]
        open_to_all = sorted(
            (
                each
                for each, item in self.items.items()
                if item.available and not any(selects(each, item, None) for each in rules)
            ),
            key=self.case.catalog.row_of,
        )
        if rule.items:
            return [each for each in open_to_all if each in rule.items]
        meant = [each for each in open_to_all if selects(rule, self.items[each], None)]
        if rule.age_days:
            meant.sort(key=lambda each: -(self.items[each].created_ms or -1))
        return meant[:RESERVE]

    def violations(self) -> Iterator[str]:
        """The kind of each rule that is broken."""
        rules, shown = self.case.rules, [each.item_id for each in self.shown]
        for item_id in shown:
            if not self.is_sold(item_id):
                yield "shop"
            if self.is_hidden(item_id):
                yield "hide"
            if self.is_not_again(item_id):
                yield "not_again"
        for rule in rules.at_most:
            if self.over(rule, shown):
                yield "at_most"
        if len(set(shown)) < len(shown) or len(shown) > self.case.length:
            yield "shop"
        yield from self._in_order()
        yield from self._placed()

    def _in_order(self) -> Iterator[str]:
        """Scores are as boosted and buried, and without diversity they decide."""
        free = [each for each in self.shown if each.placed is None]
        for each in free:
            expected = self.score(each.item_id)
            if abs(each.score - expected) > 1e-4 + 1e-6 * abs(expected):
                yield "boost" if self.about(each.item_id, self.case.rules.boost) else "bury"
        if self.case.diversity is None:
            steps = [np.ceil(np.float32(self.match[each.item_id]) * 10) for each in free]
            keys = [(-step, -each.score) for step, each in zip(steps, free, strict=True)]
            if keys != sorted(keys):
                yield "boost"

    def _placed(self) -> Iterator[str]:
        """Placing rules take their places in their order, whenever one of their items may."""
        taken: dict[int, tuple[str, str]] = {}
        marked = {each.item_id: each for each in self.shown if each.placed is not None}
        for kind, rule in self._placing():
            for position in (rule.position,) if isinstance(rule, Pin) else rule.positions:
                if position > self.case.length or position in taken:
                    continue
                listed = [item_id for item_id, _ in taken.values()]
                options = [each for each in self._fitting(rule) if self.has_room(each, listed)]
                if not options:
                    continue
                first = options[0]
                if first not in marked or marked[first].placed != kind:
                    yield "pin" if kind == "pinned" else "sponsored"
                else:
                    taken[position] = (first, kind)
        yield from self._marks(taken, marked)

    def _placing(self) -> "Iterator[tuple[str, Pin | Sponsored]]":
        for pin in self.case.rules.pin:
            if is_for(pin.when, self.request):
                yield "pinned", pin
        for sponsored in self.case.rules.sponsored:
            if is_for(sponsored.when, self.request):
                yield "sponsored", sponsored

    def _fitting(self, rule: "Pin | Sponsored") -> list[str]:
        """What of a rule may stand in the list: as it names them, or the best ones first."""
        pool = self.pool()
        named = rule.items or sorted(pool, key=lambda each: self._rank(rule, each))
        return [
            each
            for each in named
            if each in pool and self.may_stand(each) and self.means(rule, each)
            and not (isinstance(rule, Sponsored) and self.items[each].stock == 0)
        ]  # fmt: skip

    def _rank(self, rule: Rule, item_id: str) -> tuple[float, float, int]:
        """Candidates by score, then the others, where age matters the newest first."""
        score = self.score(item_id) if item_id in self.scores else -np.inf
        created = self.items[item_id].created_ms or 0
        age = -created if rule.age_days else 0
        return -float(np.float32(score)), age, self.case.catalog.row_of(item_id)

    def _marks(
        self, taken: dict[int, tuple[str, str]], marked: dict[str, Recommended]
    ) -> Iterator[str]:
        """What is marked stands where its rule says, or further up where the list is short."""
        is_short = len(self.shown) < self.case.length
        for position, (item_id, kind) in taken.items():
            if marked[item_id].rank != position and not is_short:
                yield "pin" if kind == "pinned" else "sponsored"
        if {item_id for item_id, _ in taken.values()} != set(marked):
            yield "sponsored"
