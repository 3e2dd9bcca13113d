"""Known vulnerabilities of every pinned package, by pip-audit: ``python -m tests.audit``.

pip-audit passes a package that the advisory service does not know, so that without that service
all pass. Here the exit status tells them apart: 0 all were looked up and none has a known
vulnerability, 1 some have, 75 some or all could not be looked up.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

CONSTRAINTS = Path(__file__).parent.parent / "constraints.txt"
UNAUDITED = 75  # EX_TEMPFAIL of sysexits.h
AUDIT_SECONDS = 600.0
NETWORK_FAULTS = ("ConnectionError", "Could not connect", "timed out", "Max retries exceeded")


class Verdict(NamedTuple):
    """What came of an audit."""

    status: int
    text: str


def judge(done: subprocess.CompletedProcess[str]) -> Verdict:
    """What pip-audit's answer says.

    Args:
        done: a run with ``--format json``.
    """
    try:
        found: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except ValueError:
        unreachable = any(fault in done.stderr for fault in NETWORK_FAULTS)
        return Verdict(UNAUDITED if unreachable else 1, f"pip-audit failed:\n{done.stderr}")
    vulnerable = [
        f"{each['name']} {each['version']}: {flaw['id']}, mended in "
        f"{', '.join(flaw['fix_versions']) or 'no version yet'}"
        for each in found
        for flaw in each.get("vulns", [])
    ]
    unknown = [each for each in found if "skip_reason" in each]
    told = [f"{len(found) - len(unknown)} of {len(found)} packages were looked up"]
    told += [f"the first that was not: {unknown[0]['skip_reason']}"] if unknown else []
    told += [*vulnerable, f"{len(vulnerable)} known vulnerabilities"]
    return Verdict(1 if vulnerable else UNAUDITED if unknown or not found else 0, "\n".join(told))


def audit(requirements: Path) -> Verdict:
    """Look up every pin of a file; nothing is installed."""
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(requirements)]
    command += ["--no-deps", "--disable-pip", "--format", "json", "--progress-spinner", "off"]
    return judge(
        subprocess.run(command, capture_output=True, text=True, timeout=AUDIT_SECONDS, check=False)
    )


def main() -> int:
    """Audit constraints.txt and say what came of it."""
    verdict = audit(CONSTRAINTS)
    sys.stdout.write(f"{verdict.text}\n")
    return verdict.status


if __name__ == "__main__":
    sys.exit(main())
