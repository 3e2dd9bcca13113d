"""The file of rules: read at the start, and again whenever it has changed."""

import logging
from pathlib import Path
from typing import NamedTuple

from serving import metrics
from serving.policy import Policy
from serving.rules import Rules, RulesError, read_rules

logger = logging.getLogger(__name__)

LOOK_S = 2.0
"""How often a worker looks whether the file has changed."""


class _Stamp(NamedTuple):
    """Another one whenever the file has been written or exchanged, links followed."""

    inode: int
    changed_ns: int
    size: int


class RuleFile:
    """Keeps the rules in force those of a file.

    Args:
        path: of the file.

    Raises:
        serving.rules.RulesError: it cannot be used; a worker does not start without its rules.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        # Taken first: what is written while we read is read again.
        self._stamp = _stamp(path)
        self.rules = read_rules(path)
        _in_force(self.rules)

    def reload(self, policy: Policy) -> bool:
        """Have the rules of the file hold if it has changed; whether they hold now.

        Of a file that cannot be used the fault is told, once, and what held before holds on.
        """
        stamp = _stamp(self.path)
        if stamp == self._stamp:
            return False
        self._stamp = stamp
        try:
            self.rules = read_rules(self.path)
        except RulesError as error:
            metrics.RULES_AT_FAULT.set(1)
            logger.error("the rules stay as they were: %s", error)
            return False
        policy.use(self.rules)
        _in_force(self.rules)
        logger.info("%d rules of %s hold from now on", len(self.rules), self.path)
        return True


def _in_force(rules: Rules) -> None:
    metrics.RULES.set(len(rules))
    metrics.RULES_AT_FAULT.set(0)


def _stamp(path: Path) -> _Stamp | None:
    """None where there is no such file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return _Stamp(found.st_ino, found.st_mtime_ns, found.st_size)
