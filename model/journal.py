"""Trials of a search written down as they end, so that the same search goes on after a break.

One JSON object a line: which search it belongs to, the settings tried, what they were worth and
how many seconds that took. A line that was being written when the process ended is dropped.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

BEGINNING = '{"search": '
"""Of every line, one that was cut off included."""

Settings = tuple[tuple[str, float], ...]
"""Name and value, in the order of the names."""


@dataclass(frozen=True)
class Trial:
    """One line."""

    worth: float
    seconds: float


class Journal:
    """The trials of one search in a file that may hold other searches too.

    The search must be the same one: of other data or another method, it would answer with the
    figures of the first. Delete the file when the code of a method has changed.

    Args:
        path: of the file; it need not exist yet.
        search: names the search: data, method, row, seed.

    Raises:
        ValueError: when a line that is complete is not a trial.
    """

    def __init__(self, path: Path, search: str) -> None:
        self._path = path
        self._search = search
        self._trials: dict[Settings, Trial] = {}
        self.others: set[str] = set()
        """The other searches that the file holds trials of."""
        if path.exists():
            # What is no text is no trial either, and is told as such.
            self._read(path.read_text(encoding="utf-8", errors="replace"))

    def __len__(self) -> int:
        return len(self._trials)

    def known(self, settings: Mapping[str, float]) -> Trial | None:
        """What these settings were worth, if they were tried before."""
        return self._trials.get(ordered(settings))

    def note(self, settings: Mapping[str, float], trial: Trial) -> None:
        """Write a trial down; it is on its way to the disk when this returns."""
        line = {
            "search": self._search,
            "settings": dict(settings),
            "worth": trial.worth,
            "seconds": round(trial.seconds, 3),
        }
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        self._trials[ordered(settings)] = trial

    def _read(self, text: str) -> None:
        whole, newline, rest = text.rpartition("\n")
        for number, line in enumerate(whole.splitlines(), 1):
            try:
                said = json.loads(line)
                trial = Trial(float(said["worth"]), float(said["seconds"]))
                if said["search"] == self._search:
                    self._trials[ordered(said["settings"])] = trial
                else:
                    self.others.add(str(said["search"]))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise self._refusal(number, str(error)) from error
        if not BEGINNING.startswith(rest[: len(BEGINNING)]):
            raise self._refusal(whole.count("\n") + 1 + bool(newline), "it begins otherwise")
        # Last: a file that is no journal stays as it is.
        if rest:
            self._path.write_text(whole + newline, encoding="utf-8")

    def _refusal(self, number: int, reason: str) -> ValueError:
        return ValueError(
            f"{self._path}, line {number}: not a trial ({reason}); "
            "give another --journal or delete this one"
        )


def ordered(settings: Mapping[str, float]) -> Settings:
    """A key for settings, whatever their order."""
    return tuple(sorted(settings.items()))
