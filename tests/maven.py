"""Apache Kafka from Maven Central, kept in a folder; ``python -m tests.maven FOLDER`` fetches it.

The exit status of the command tells CI what happened: 0 it is there, 75 Maven Central could not be
reached (and the exact error is printed), 1 anything else.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

KAFKA_VERSION = "4.3.1"
"""The newest of which Maven Central has every part: kafka-tools-api 4.4.0 is missing there."""
LOG4J_VERSION = "2.25.4"  # the one Kafka asks for; its bridge from SLF4J is left to the user
PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
FETCH_SECONDS = 600.0  # 44 MB, and Maven's own parts at its first run: .5 to 1 minute
UNREACHABLE = 75  # EX_TEMPFAIL of sysexits.h
NETWORK_FAULTS = ("Could not transfer", "Unknown host", "Connection refused", "timed out")

POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>nextclick</groupId>
  <artifactId>kafka</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId>
      <artifactId>kafka_2.13</artifactId>
      <version>{KAFKA_VERSION}</version>
    </dependency>
    <dependency>
      <groupId>org.apache.logging.log4j</groupId>
      <artifactId>log4j-slf4j-impl</artifactId>
      <version>{LOG4J_VERSION}</version>
    </dependency>
  </dependencies>
</project>
"""


class KafkaMissing(RuntimeError):
    """Apache Kafka cannot be had: the text says why and what to do."""


class MavenUnreachable(KafkaMissing):
    """Maven Central does not answer; the text holds Maven's own error."""


def fetch_kafka(cache: Path, *, settings: Path | None = None) -> Path:
    """The folder with Kafka's jars, downloaded into `cache` unless they are there already.

    Args:
        settings: a settings.xml for Maven instead of the user's own.

    Raises:
        MavenUnreachable: Maven Central cannot be reached.
        KafkaMissing: there is no Maven, or it fails for another reason.
    """
    cache = cache.resolve()  # Maven would look for a relative folder beside its pom
    folder = cache / f"kafka-{KAFKA_VERSION}"
    if folder.is_dir():
        return folder
    maven = shutil.which("mvn")
    if maven is None:
        raise KafkaMissing("Maven is missing: install it (apt-get install maven).")
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        pom, jars = Path(scratch, "pom.xml"), Path(scratch, "jars")
        pom.write_text(POM)
        # -U: ask again for what an earlier run could not get
        command = [maven, "-B", "-U", "-f", str(pom), PLUGIN]
        command += [f"-DoutputDirectory={jars}", "-DincludeScope=runtime"]
        if settings is not None:
            command += ["-s", str(settings)]
        _run(command)
        jars.rename(folder)  # whole or not at all
    return folder


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=FETCH_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise MavenUnreachable(
            f"Maven was not done after {FETCH_SECONDS:.0f} s: {' '.join(command)}"
        ) from None
    if done.returncode == 0:
        return
    lines = [line for line in done.stdout.splitlines() if line.startswith("[ERROR]")]
    error = lines[0] if lines else done.stdout[-1000:] + done.stderr[-1000:]
    unreachable = any(fault in error for fault in NETWORK_FAULTS)
    # A download that arrives and is wrong is not a network that is down.
    if unreachable and "Checksum validation failed" not in error:
        raise MavenUnreachable(f"Maven Central cannot be reached:\n{error}")
    raise KafkaMissing(f"Maven failed ({' '.join(command)}):\n{error}")


def main() -> int:
    """Fetch into the folder that is named on the command line."""
    try:
        folder = fetch_kafka(Path(sys.argv[1]))
    except KafkaMissing as error:
        sys.stderr.write(f"{error}\n")
        return UNREACHABLE if isinstance(error, MavenUnreachable) else 1
    sys.stdout.write(f"{folder}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
