"""``nextclick train`` with a task and queries, and ``evaluate`` of what it wrote."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from model.bundle import load_bundle
from model.events import Cart, Click, Event, Search, encode_event
from tests.command_line import typed

DAY_MS = 86_400_000
START = 1_700_006_400_000  # a midnight
OPTIONS = (
    "--epochs", "3", "--min-count", "1", "--validation-days", "4", "--test-days", "4",
    "--no-variants",
)  # fmt: skip


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Each day everybody searches for an item, clicks on it, and may put the next into the cart."""
    chance = random.Random(3)
    events: list[Event] = []
    for user in range(16):
        for day in range(30):
            item, time = chance.randrange(12), START + day * DAY_MS + user * 60_000
            name = f"{user}-{day}"
            common: dict[str, Any] = {"user_id": f"u{user}"}
            events += [
                Search(event_id=f"s{name}", ts=time, query=f"手机 no{item}", **common),
                Click(event_id=f"c{name}", ts=time + 5_000, item_id=f"item-{item}", **common),
            ]
            if chance.random() < 0.4:
                other = f"item-{(item + 1) % 12}"
                events.append(Cart(event_id=f"b{name}", ts=time + 9_000, item_id=other, **common))
    path = tmp_path_factory.mktemp("log") / "events.jsonl"
    path.write_bytes(b"\n".join(encode_event(event) for event in events))
    return path


def test_a_task_is_named_weighed_and_told(
    log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = tmp_path / "bundle"
    status, told, errors = typed(
        monkeypatch, capsys, "train", log, "--out", bundle, *OPTIONS,
        "--task", "cart", "--task-weight", "click=0.25", "--queries",
    )  # fmt: skip
    assert status == 0, errors
    manifest = load_bundle(bundle).manifest
    assert (manifest.task, manifest.tasks) == ("cart", {"click": 0.25, "cart": 1.0})
    assert manifest.network["queries"] == 1
    assert set(manifest.calibration) == {"click", "cart"}
    for task in manifest.calibration:
        assert f"a listed item's probability of {task}: 1 / (1 + exp(-(" in told

    status, judged, errors = typed(
        monkeypatch, capsys, "evaluate", log, "--bundle", bundle, "--protocol", "prequential",
        "--cases", "40", "--tune-seconds", "0", "--json",
    )  # fmt: skip
    assert status == 0, errors
    verdict = json.loads(judged)
    assert verdict["bundle"] == manifest.version
    assert set(verdict["tasks"]) == {"click", "cart"}
    for each in verdict["tasks"].values():
        assert 0 < each["predicted"] < 1
        assert each["listed"] > 100


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--task", "purchase"), "the log holds no purchase, only click, cart"),
        (("--task-weight", "click"), "'click' is no task and weight; write click=0.2"),
    ],
)
def test_what_cannot_be_asked_for_is_told(
    log: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: tuple[str, ...],
    sentence: str,
) -> None:
    status, _, errors = typed(
        monkeypatch, capsys, "train", log, "--out", tmp_path / "bundle", *OPTIONS, *options
    )
    assert status != 0
    assert sentence in " ".join(errors.replace("│", " ").split())
    assert not (tmp_path / "bundle").exists()
