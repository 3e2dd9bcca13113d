"""Paths into nested rows: `shop.country`, `items[].id`, `fields[name=title].value`."""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

_STEP = re.compile(r"([^.\[\]]+)(?:\[(?:([^=\[\]]+)=([^\[\]]*))?(\]))?(?:\.|$)")


class Step(NamedTuple):
    """One name on the way, and what of the list there."""

    name: str
    picks_all: bool = False
    """Of every entry of the list."""
    where: tuple[str, str] | None = None
    """Of the first entry in which this has that value."""


def steps_of(path: str) -> list[Step]:
    """The steps of a path; one that is written otherwise is the name of a column as it stands."""
    found: list[Step] = []
    at = 0
    while at < len(path):
        step = _STEP.match(path, at)
        if step is None:
            return [Step(path)]
        name, key, value, is_list = step.groups()
        found.append(Step(name, bool(is_list) and key is None, (key, value) if key else None))
        at = step.end()
    return [Step(path)] if path.endswith(".") or not found else found


def follow(found: Any, steps: Sequence[Step]) -> Any:
    """What stands at the end of a path; None where it leads nowhere.

    A list of what each entry has, where a step takes all of a list.
    """
    for at, step in enumerate(steps, 1):
        if not isinstance(found, dict):
            return None
        found = found.get(step.name)
        if not step.picks_all and step.where is None:
            continue
        if not isinstance(found, list | tuple):
            return None
        if step.picks_all:
            return [follow(each, steps[at:]) for each in found]
        found = next((each for each in found if _fits(each, step.where)), None)
    return found


def _fits(entry: Any, where: tuple[str, str] | None) -> bool:
    assert where is not None
    return isinstance(entry, dict) and entry.get(where[0]) == where[1]
