"""The arithmetic of docs/scaling.md, done again from what the page says it assumes."""

import json
import math
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
PERFORMANCE = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
DAY_S = 86_400
KAFKA_DAYS = 7


def number(text: str) -> float:
    """The first number of a cell, without the commas of thousands."""
    found = re.search(r"\d[\d,]*(\.\d+)?", text)
    assert found is not None, text
    return float(found[0].replace(",", ""))


def rows(heading: str) -> list[list[str]]:
    """The cells of the table below a heading, without its head."""
    section = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


ASSUMED = {cells[0]: number(cells[1]) for cells in rows("What is assumed")}
SIZES = {cells[0]: [number(cell) for cell in cells[1:]] for cells in rows("What that makes")}


@pytest.mark.parametrize("users", SIZES, ids=list(SIZES))
def test_every_row_follows_from_the_assumptions(users: str) -> None:
    items, day, peak, workers, redis_gb, primaries, kafka_gb = SIZES[users]
    a = ASSUMED
    known = number(users)
    coming = known * a["users who come on a day, of 100"] / 100
    events = coming * a["events of one on a day"]
    assert day == events
    in_peak = events / DAY_S * a["peak, times the mean"]
    assert peak == pytest.approx(in_peak, abs=0.5)
    half = a["lists a second of one worker on one core"] / 2
    assert workers == max(2, math.ceil(in_peak / half) + 1)
    held = known * a["bytes of a profile, at most"]
    held += 3 * coming * a["bytes of a last list, with those remembered"]
    held += items * a["bytes of an item's counts, at most"]
    assert redis_gb == pytest.approx(held / 1e9, rel=0.05, abs=0.05)
    assert primaries == math.ceil(held / 1e9 / a["GB used of a Redis of 32 GB"])
    kept = events * a["bytes of an event"] * KAFKA_DAYS + events * a["bytes of a list"] * 3
    assert kafka_gb == pytest.approx(3 * kept / 1e9, rel=0.05, abs=0.05)


def test_the_largest_is_a_hundred_million_and_its_redis_is_not_busy() -> None:
    [*_, largest] = SIZES
    assert number(largest) == 100_000_000
    peak, primaries = SIZES[largest][2], SIZES[largest][5]
    busy = peak / primaries * ASSUMED["µs of a Redis' processor for an event"] / 1e6
    assert f"{busy:.1%} of its core" in PAGE


def test_the_assumptions_are_no_rosier_than_what_was_measured() -> None:
    def measured(name: str) -> dict[str, dict[str, float]]:
        path = ROOT / "docs" / "performance" / f"{name}.json"
        found: dict[str, dict[str, float]] = json.loads(path.read_text(encoding="utf-8"))
        return found

    server = measured("path_profile")["total"]["server_us"]
    assert ASSUMED["µs of a Redis' processor for an event"] > 0.85 * server
    [alone] = re.findall(r"a core for each: 1: ([\d,]+)", PERFORMANCE)
    rate = ASSUMED["lists a second of one worker on one core"]
    assert rate < 1.15 * number(alone)
    assert f"| {ASSUMED['bytes of a profile, at most']:,.0f} bytes;" in README
