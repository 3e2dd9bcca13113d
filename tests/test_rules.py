"""What a file of rules may say, and what is said of one that is at fault."""

import re
from pathlib import Path

import msgspec
import pytest

from serving.rules import NO_RULES, Rules, RulesError, decode_rules, read_rules

PAGE = Path(__file__).parent.parent / "docs" / "rules.md"
(EXAMPLE,) = re.findall(r"^```toml\n(.*?)^```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def test_the_example_of_the_page_has_each_kind_of_rule(tmp_path: Path) -> None:
    file = tmp_path / "rules.toml"
    file.write_text(EXAMPLE)
    rules = read_rules(file)
    assert all(getattr(rules, kind) for kind in Rules.__struct_fields__)
    assert len(rules) == 10
    assert rules.hide[0].items == ("981760", "1082185")
    assert rules.sponsored[0].positions == (3, 8)


def test_yaml_says_the_same() -> None:
    as_yaml = msgspec.yaml.encode(msgspec.toml.decode(EXAMPLE))
    assert decode_rules(as_yaml, "rules.yaml") == decode_rules(EXAMPLE.encode(), "rules.toml")


@pytest.mark.parametrize("name", ["rules.toml", "rules.yaml", "RULES.YML"])
def test_an_empty_file_has_no_rules(name: str) -> None:
    assert decode_rules(b"", name) == NO_RULES
    assert len(NO_RULES) == 0


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[[hide]]\nitmes = ["a"]', ["[[hide]] number 1", "unknown field `itmes`"]),
        ('[[hide]]\nitems=["a"]\n[[hide]]\nname="x"\nitems=[7]',
         ["[[hide]] number 2 (“x”)", "field `items[0]`", "Expected `str`"]),
        ("[[hide]]", ["selects no items; give `items`"]),
        ("[[pin]]\nposition = 1", ["selects no items"]),
        ('[[pin]]\nitems = ["a"]', ["missing required field `position`"]),
        ('[[pin]]\nitems = ["a"]\nposition = 0', ["field `position`", ">= 1"]),
        ('[[sponsored]]\nitems = ["a"]\npositions = []', ["field `positions`", "length >= 1"]),
        ("[[hide]]\nprice = {min = 3, max = 1}", ["field `price`", "greater than `max`"]),
        ("[[hide]]\nprice = {min = nan}", ["field `price`", "finite"]),
        ("[[hide]]\nstock = {}", ["field `stock`", "needs `min`"]),
        ('[[boost]]\ntags = ["a"]', ["changes no score", "above 1"]),
        ('[[boost]]\ntags = ["a"]\nfactor = nan', ["field `factor`"]),
        ('[[bury]]\ntags = ["a"]\nfactor = 2', ["field `factor`", "<= 1"]),
        ('[[bury]]\ntags = ["a"]', ["changes no score", "below 1"]),
        ('[[at_most]]\ncount = 1\nper = "colour"', ["field `per`", "colour"]),
        ('[[at_most]]\ncount = 1\nper = "brand"\nlevel = 1', ["per = 'category'"]),
        ("[[not_again]]\ndays = 0", ["field `days`"]),
        ('[[hide]]\nitems = ["a"]\nwhen = {country = ["AT"]}', ["field `when`", "`country`"]),
        ("[[hides]]", ["unknown field `hides`", "called hide, boost"]),
        ("hide = 3", ["rule [[hide]]", "Expected `array`"]),
        ("hide", ["not valid TOML"]),
    ],
)  # fmt: skip
def test_a_fault_is_told_with_file_rule_and_field(text: str, told: list[str]) -> None:
    with pytest.raises(RulesError) as caught:
        decode_rules(text.encode(), "shop.toml")
    assert str(caught.value).startswith("shop.toml")
    for part in told:
        assert part in str(caught.value)


@pytest.mark.parametrize("data", [b"- 1", b"hide: [", b"\xff"])
def test_a_faulty_yaml_is_told(data: bytes) -> None:
    with pytest.raises(RulesError, match=r"shop\.yaml"):
        decode_rules(data, "shop.yaml")


def test_another_ending_and_no_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RulesError, match=r"\.toml nor \.yaml"):
        decode_rules(b"", "rules.json")
    with pytest.raises(RulesError, match="correct NEXTCLICK_RULES"):
        read_rules(tmp_path / "rules.toml")
