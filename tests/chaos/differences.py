"""What a check has found."""

from dataclasses import dataclass, field

SAMPLES = 3


@dataclass
class Differences:
    """What one check has found wrong."""

    check: str
    compared: int = 0
    count: int = 0
    samples: list[str] = field(default_factory=list)

    def found(self, what: str) -> None:
        """One difference more."""
        self.count += 1
        if len(self.samples) < SAMPLES:
            self.samples.append(what)

    def compare(self, name: str, expected: object, actual: object) -> None:
        """Note a difference where they are not equal."""
        self.compared += 1
        if expected != actual:
            self.found(f"{name}: expected {expected}, found {actual}")
