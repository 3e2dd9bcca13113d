"""``train`` and ``evaluate`` on the files of another system, by a ready mapping."""

import random
from pathlib import Path

import pytest

from model.bundle import load_bundle
from tests.command_line import typed_for_json

START = 1_700_006_400_000  # a midnight
DAYS, USERS, SHELVES, WIDTH = 40, 24, 4, 8


@pytest.fixture
def gorse(tmp_path: Path) -> tuple[Path, Path]:
    """Its feedback, in which everybody buys of one shelf, and its items."""
    chance = random.Random(5)
    feedback = ["FeedbackType,UserId,ItemId,Timestamp"]
    for user in range(USERS):
        for day in range(user % 2, DAYS, 2):
            ts = START + day * 86_400_000 + user * 60_000
            for item in chance.sample(range(WIDTH), 2):
                feedback.append(f"buy,客{user},s{user % SHELVES}-{item},{ts}")
    items = ["ItemId,IsHidden,Categories,Timestamp,Comment"]
    for shelf in range(SHELVES):
        items += [f"s{shelf}-{n},false,s{shelf},{START},shelf {shelf}" for n in range(WIDTH)]
    files = tmp_path / "feedback.csv", tmp_path / "items.csv"
    for file, lines in zip(files, (feedback, items), strict=True):
        file.write_text("\n".join(lines), encoding="utf-8")
    return files


def test_a_log_of_gorse_is_learned_and_judged_as_it_is(
    gorse: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    feedback, items = gorse
    bundle, read = tmp_path / "bundle", ("--catalog", items, "--mapping", "gorse", "--json")
    status, told, errors = typed_for_json(
        monkeypatch, capsys, "train", feedback, "--out", bundle, *read, "--no-variants",
        "--epochs", 2, "--min-count", 1, "--validation-days", 5, "--test-days", 5,
    )  # fmt: skip
    assert status == 0, errors
    loaded = load_bundle(bundle)
    assert set(loaded.vocabulary.ids) == {f"s{s}-{n}" for s in range(SHELVES) for n in range(WIDTH)}
    assert loaded.tower_path is not None, "learned what the items say"
    # A user's shelf holds a fourth of the items: whoever has learned anything finds it.
    assert told["metrics"]["test/blend"]["hit@10"] > 0.9

    arguments = "evaluate", feedback, "--bundle", bundle, "--tune-seconds", 0
    status, judged, errors = typed_for_json(monkeypatch, capsys, *arguments, *read)
    assert status == 0, errors
    assert judged["diversity_by"] == "category"
    assert judged["metrics"]["blend (what is served)"]["ndcg@10"] == pytest.approx(
        told["metrics"]["test/blend"]["ndcg@10"], abs=1e-9
    )

    status, _, errors = typed_for_json(monkeypatch, capsys, *arguments, "--mapping", "gorze")
    assert status == 2
    assert "gorze" in errors

    status, _, errors = typed_for_json(monkeypatch, capsys, *arguments, "--mapping", "rees46")
    assert status == 2
    [sentence] = errors.splitlines()
    assert f"{feedback} has no column `event_type` for `type`, " in sentence
    assert "it has `FeedbackType`, `UserId`, `ItemId`, `Timestamp`: correct rees46" in sentence
