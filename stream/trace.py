"""What is told of a micro-batch's way by whoever leads it: to nobody, unless traces are on."""

from collections.abc import Sequence
from typing import TypeAlias

from serving.recommendation import Recommendation

Headers: TypeAlias = list[tuple[str, bytes]]
"""Of a record."""


class Trace:
    """Of a micro-batch that nobody traces: nothing is done. ``stream.batch_trace`` makes spans."""

    def steps(self) -> dict[str, float] | None:
        """Where the seconds of the steps are to be told; None: nowhere else."""
        return None

    def tell(self, step: str, seconds: float) -> None:
        """A step has just ended, and took so long."""

    def fail(self, error: BaseException) -> None:
        """An attempt has failed; there may be others."""

    def headers_of(self, made: Sequence[Recommendation]) -> list[Headers]:
        """What the record of each list says of its trace."""
        return [[]] * len(made)

    def end(self) -> None:
        """The micro-batch is acknowledged."""


NO_TRACE = Trace()
