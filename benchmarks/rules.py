"""Whether any list breaks a rule: random catalogues, rules, users and scores.

    python -m benchmarks.rules --json [--cases 10000] [--seed 1]

Each case is a catalogue that changes while its rules hold, and one to four lists of random
candidates with scores up to the greatest float32. What breaks a rule is found out item by item,
apart from the code that makes lists: ``tests/rule_checks.py``. "shop" is what may be in no list.
"""

import argparse
from collections import Counter
from random import Random
from typing import Any

from benchmarks.machine import machine
from benchmarks.printed import print_figures
from tests.rule_cases import KINDS, random_case
from tests.rule_checks import violations


def measure(cases: int, seed: int) -> dict[str, Any]:
    """Make so many cases and look at each of their lists."""
    broken: Counter[str] = Counter()
    declared: Counter[str] = Counter()
    seen: Counter[str] = Counter()
    for number in range(cases):
        case = random_case(Random(f"{seed} {number}"))
        broken += violations(case)
        declared += Counter({kind: len(getattr(case.rules, kind)) for kind in KINDS})
        shown = [item for each in case.lists for item in each]
        seen += Counter(lists=len(case.lists), items=len(shown))
        seen += Counter(each.placed for each in shown if each.placed)
    return {
        "violations": {kind: broken[kind] for kind in (*KINDS, "shop")},
        "violations_in_all": broken.total(),
        "rules": dict(declared),
        "cases": cases,
        **seen,
        "seed": seed,
        "machine": machine(),
    }


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="the only output there is")
    asked = parser.parse_args()
    print_figures("rules", measure(asked.cases, asked.seed), None)


if __name__ == "__main__":
    main()
