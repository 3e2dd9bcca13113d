"""The benchmark of explanations runs, small, and what it says of removals holds by definition."""

import json
from pathlib import Path

from benchmarks.explanations import agreement
from serving.recommendation import Contribution, Recommended
from serving.why import FitsLast, Popular, ViewedTogether
from tests.printed_figures import figures_of
from tests.tiny import tiny_bundle


def test_every_mode_is_measured(tmp_path: Path) -> None:
    ids = [f"i{at}" for at in range(40)]
    tiny_bundle(tmp_path / "bundle", ids)
    items, events = tmp_path / "items.jsonl", tmp_path / "events.jsonl"
    items.write_text("".join(json.dumps({"item_id": each}) + "\n" for each in ids))
    events.write_text(
        "".join(
            json.dumps(
                {
                    "type": "click", "event_id": f"e{user}-{at}", "user_id": f"u{user}",
                    "ts": 1_780_000_000_000 + 60_000 * at + user, "item_id": f"i{user + 2 * at}",
                }
            )
            + "\n"
            for at in range(7)
            for user in range(12)
        )
    )  # fmt: skip
    told = figures_of(
        "explanations", str(events), str(items), f"--bundle={tmp_path / 'bundle'}", "--users=8"
    )
    modes = ["off", "cheap", "leave_one_out"]
    assert list(told["us_per_list"]) == list(told["bytes_per_list"]) == modes
    assert told["contributions_per_item"]["off"] == 0
    assert told["contributions_per_item"]["cheap"] <= 3
    assert (told["users"], told["events"]) == (8, 84)
    # All of a user's items are among the newest eight here: what was tried is what is so.
    for kind in told["agreement"]["leave_one_out"].values():
        assert kind["falls"] == kind["the_first"] == 1.0
        assert kind["claimed_to_lost"] == 1.0


def test_agreement_is_counted_by_what_gave_the_reason() -> None:
    items = [
        Recommended("a", 1, 1, ("together",), "", "x", ViewedTogether("x"),
                    (Contribution("x", 0.5), Contribution("y", 0.2))),
        Recommended("b", 2, 1, ("together",), "", "x", ViewedTogether("x"),
                    (Contribution("x", 0.4),)),
        Recommended("c", 3, 1, ("nearest",), "", "y", FitsLast("y")),
        Recommended("d", 4, 1, ("popular",), "", None, Popular()),
    ]  # fmt: skip
    lost = [{"x": 1.0, "y": 0.1}, {"y": 0.3, "x": 0.1}, {"x": 0.2}, {"x": 1.0}]
    assert agreement(items, lost) == {
        "together": {
            "items": 2, "falls": 1.0, "among_the_three": 1.0, "the_first": 0.5,
            "claimed_to_lost": 2.25,
        },
        "fits_last": {
            "items": 1, "falls": 0.0, "among_the_three": 0.0, "the_first": 0.0,
            "claimed_to_lost": None,
        },
    }  # fmt: skip
