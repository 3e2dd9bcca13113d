"""docs/performance.md is what the stored figures say, and nothing that was written by hand."""

from pathlib import Path
from typing import Any

import pytest

from benchmarks.performance_page import FOLDER, PARTS, main, page, read
from benchmarks.performance_plots import write_plot
from benchmarks.performance_tables import TARGETS, Target, path_section, table

ROOT = Path(__file__).parent.parent


def test_the_page_is_up_to_date() -> None:
    written = (ROOT / "docs/performance.md").read_text("utf-8")
    assert written == page(read(ROOT / FOLDER), FOLDER.name), (
        "run python -m benchmarks.performance_page"
    )


def test_the_plots_are_there() -> None:
    for name in read(ROOT / FOLDER):
        assert (ROOT / FOLDER / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_what_was_not_measured_is_said() -> None:
    text = page({}, "x")
    for part in PARTS.values():
        assert f"Not measured yet: `{part.command} --json`." in text
    assert text.count("| – | – | – |") == len(TARGETS)


def test_the_profile_names_the_next_bottleneck(tmp_path: Path) -> None:
    spent = {"client_us": 5.0, "wall_us": 9.0, "share_of_client": 0.1, "server_us": 3.0}
    found = {
        "batch": 256,
        "client_us_beside_rank_per_list": 120.0,
        "steps": {
            "rank": spent | {"client_us": 99.0},
            "decode": spent,
            "learn": spent | {"client_us": 6},
        },
        "trips": {"merge": spent},
    }
    assert "The next bottleneck beside the model is `learn`." in path_section(found)
    assert write_plot("path_profile", found, tmp_path).read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(("load", "is_told"), [(1.0, False), (9.0, True)])
def test_a_busy_machine_is_told(load: float, is_told: bool) -> None:
    found = read(ROOT / FOLDER)["pipeline"]
    found["machine"] |= {"load_average": load, "cores": 2}
    assert ("Other work kept this machine busy" in page({"pipeline": found}, "x")) == is_told


def test_every_command_stands_with_the_arguments_it_had() -> None:
    found = read(ROOT / FOLDER)
    text = page(found, "x")
    assert found
    for name, each in found.items():
        benchmark = PARTS[name].benchmark
        assert f"`python -m benchmarks.{benchmark} {each['arguments']}`, " in text
    del found["pipeline"]["arguments"]
    with pytest.raises(KeyError, match="arguments"):
        page(found, "x")


@pytest.mark.parametrize(("value", "met"), [(1.5, "yes"), (1.4, "no"), (None, "–")])
def test_a_target_is_reached_or_not(value: float | None, met: str) -> None:
    target = Target("transport", "pipeline", ("a", "b"), 1.5)
    found: dict[str, Any] = {"pipeline": {"a": {} if value is None else {"b": value}}}
    assert target.row(found)[4] == met
    assert target.row({})[4] == "–"


def test_an_unknown_benchmark_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([str(tmp_path), "--measure=speed"])
    assert "there is no speed; there are pipeline" in capsys.readouterr().err


def test_a_table_is_markdown() -> None:
    assert table(["a", "b"], [[1, 2.5]]) == "| a | b |\n| --- | --- |\n| 1 | 2.5 |\n"
