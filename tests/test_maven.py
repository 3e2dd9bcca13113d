"""Fetching Kafka: what is there is not fetched again, and a dead network is told from a fault."""

from pathlib import Path

import pytest

from tests import maven
from tests.apache_kafka import ApacheKafka
from tests.maven import KAFKA_VERSION, UNREACHABLE, KafkaMissing, MavenUnreachable, fetch_kafka

NO_NAME = (
    "[ERROR] Plugin org.apache.maven.plugins:maven-dependency-plugin:3.8.1 could not be resolved:"
    " Could not transfer artifact org.apache.maven.plugins:maven-dependency-plugin:pom:3.8.1"
    " from/to central (https://repo.maven.apache.org/maven2): Unknown host repo.maven.apache.org"
)
NO_ARTIFACT = (
    "[ERROR] Failed to execute goal on project kafka: Could not find artifact"
    " org.apache.kafka:kafka_2.13:jar:4.99.0 in central"
)
DAMAGED = (
    "[ERROR] Could not transfer artifact org.apache.kafka:kafka_2.13:jar:4.3.1 from/to central:"
    " Checksum validation failed"
)


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder on PATH."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def install(program: Path, output: str, status: int) -> None:
    program.write_text(f"#!/bin/sh\necho '{output}'\necho '{output}' >&2\nexit {status}\n")
    program.chmod(0o755)


def test_a_network_that_is_down_is_unreachable(programs: Path, tmp_path: Path) -> None:
    install(programs / "mvn", NO_NAME, 1)
    with pytest.raises(MavenUnreachable) as caught:
        fetch_kafka(tmp_path / "cache")
    assert NO_NAME in str(caught.value), "the exact error"
    assert list((tmp_path / "cache").iterdir()) == [], "nothing half done"


@pytest.mark.parametrize("output", [NO_ARTIFACT, DAMAGED, "[ERROR] anything else"])
def test_every_other_failure_is_a_failure(programs: Path, tmp_path: Path, output: str) -> None:
    install(programs / "mvn", output, 1)
    with pytest.raises(KafkaMissing) as caught:
        fetch_kafka(tmp_path / "cache")
    assert not isinstance(caught.value, MavenUnreachable)
    assert output in str(caught.value)


def test_the_exit_status_tells_them_apart(
    programs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.argv", ["maven", str(tmp_path / "cache")])
    install(programs / "mvn", NO_NAME, 1)
    assert maven.main() == UNREACHABLE
    assert NO_NAME in capsys.readouterr().err
    install(programs / "mvn", NO_ARTIFACT, 1)
    assert maven.main() == 1


def test_what_is_there_is_not_fetched_again(programs: Path, tmp_path: Path) -> None:
    folder = tmp_path / f"kafka-{KAFKA_VERSION}"
    folder.mkdir()
    assert fetch_kafka(tmp_path) == folder


def test_missing_programs_are_told(programs: Path, tmp_path: Path) -> None:
    with pytest.raises(KafkaMissing, match="Maven is missing: install it"):
        fetch_kafka(tmp_path / "cache")
    with pytest.raises(KafkaMissing, match="Java 17 or later is missing"):
        ApacheKafka(tmp_path, tmp_path)
    install(programs / "java", 'openjdk version "11.0.2" 2019-01-15', 0)
    with pytest.raises(KafkaMissing, match=r"needs Java 17 or later; .*11\.0\.2"):
        ApacheKafka(tmp_path, tmp_path)
