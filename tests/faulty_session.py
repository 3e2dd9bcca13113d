"""An ONNX Runtime session that a test can hold up or bring down."""

from collections.abc import Callable
from typing import Any, cast

from serving.ranker import Ranker
from serving.ranking_session import RankingSession

Fault = Callable[[dict[str, Any]], None]
"""Called with a run's inputs; it may change them, wait, or raise."""


class FaultySession:
    """A fake of a session in trouble, before the true one."""

    def __init__(self, session: RankingSession, fault: Fault) -> None:
        self._session = session
        self._fault = fault

    def run(self, inputs: dict[str, Any], bias_edition: int | None) -> Any:
        self._fault(inputs)
        return self._session.run(inputs, bias_edition)


def spoil(ranker: Ranker, fault: Fault) -> Callable[[], None]:
    """Put a fault before the ranker's session; returns what takes it away."""
    session = ranker._session
    ranker._session = cast(RankingSession, FaultySession(session, fault))

    def mend() -> None:
        ranker._session = session

    return mend
