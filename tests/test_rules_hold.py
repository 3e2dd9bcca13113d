"""No list ever breaks a rule, whatever the model says, and whatever becomes of the catalogue."""

from collections import Counter
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.rule_cases import KINDS, random_case
from tests.rule_checks import violations


@pytest.mark.parametrize("kind", KINDS)
@given(seed=st.integers(0, 2**32))
@settings(max_examples=40, deadline=None)
def test_no_list_breaks_a_rule(kind: str, seed: int) -> None:
    assert not violations(random_case(Random(seed), [kind]))


@given(seed=st.integers(0, 2**32))
@settings(max_examples=200, deadline=None)
def test_no_list_breaks_any_of_all_rules_together(seed: int) -> None:
    assert not violations(random_case(Random(seed)))


@pytest.mark.parametrize("kind", [each for each in KINDS if each != "rebuy"])
def test_lists_that_do_not_know_a_rule_are_found_to_break_it(kind: str) -> None:
    found: Counter[str] = Counter()
    for seed in range(30):
        found += violations(random_case(Random(seed), [kind], ignored=True))
    assert found[kind] > 5
    assert set(found) == {kind}
