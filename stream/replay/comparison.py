"""What a comparison of two generations has shown, for a person and for machines."""

from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from stream.replay.first_difference import EventDifference


class ProfileDifference(NamedTuple):
    """A user whose profiles differ, with the first event in which they do."""

    user: str
    """Digest, as keys have it."""
    event: EventDifference


class CountDifference(NamedTuple):
    """A count that differs."""

    name: str
    """Of the set, as its key ends."""
    member: int
    first: float
    """In events of this moment; 0 for none."""
    second: float


@dataclass
class Comparison:
    """Totals, and a sample of the differences."""

    first: int
    second: int
    """Generations."""
    profiles_equal: int = 0
    profiles_only_first: int = 0
    profiles_only_second: int = 0
    profiles_different: int = 0
    counts_equal: int = 0
    counts_different: int = 0
    """Sets with a member that only one has, or has with another weight; sets that are missing
    altogether included."""
    counts_different_where_cut: int = 0
    """Of large sets, whose weakest members depend on the order in which partitions came."""
    profiles: list[ProfileDifference] = field(default_factory=list)
    counts: list[CountDifference] = field(default_factory=list)

    @property
    def is_equal(self) -> bool:
        """Whether nothing differs but what depends on order."""
        return not (
            self.profiles_only_first
            or self.profiles_only_second
            or self.profiles_different
            or self.counts_different
        )

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return asdict(self) | {
            "profiles": [{"user": each.user, **each.event._asdict()} for each in self.profiles],
            "counts": [each._asdict() for each in self.counts],
        }

    def __str__(self) -> str:
        lines = [
            f"generation {self.first} (live) and generation {self.second}",
            f"profiles: {self.profiles_equal:,} equal, {self.profiles_different:,} different, "
            f"{self.profiles_only_first:,} only in {self.first}, {self.profiles_only_second:,} "
            f"only in {self.second}",
            f"sets of counts: {self.counts_equal:,} equal, {self.counts_different:,} different, "
            f"{self.counts_different_where_cut:,} that were cut to their strongest and differ",
        ]
        for each in self.profiles:
            side = self.first if each.event.is_in_first else self.second
            lines.append(f"user {each.user}: first difference, only in {side}: {each.event}")
        for count in self.counts:
            weights = f"{count.first:.6g} and {count.second:.6g}"
            lines.append(f"count {count.name} of {count.member:012x}: {weights}")
        return "\n".join(lines)


class UserComparison(NamedTuple):
    """One user in two generations."""

    user: str
    """By id."""
    first: int
    second: int
    """Generations."""
    difference: EventDifference | None
    """The first event in which the profiles differ; None where they are equal."""

    @property
    def is_equal(self) -> bool:
        """Whether nothing differs."""
        return self.difference is None

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        found = self.difference
        return {"user": self.user, "difference": None if found is None else found._asdict()}

    def __str__(self) -> str:
        if self.difference is None:
            return f"{self.user}: equal"
        side = self.first if self.difference.is_in_first else self.second
        return f"{self.user}: only in generation {side}: {self.difference}"
