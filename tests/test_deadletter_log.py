"""What the log says of dead letters: at once, then in figures, and nothing that a record holds."""

import logging
from collections.abc import Callable

import pytest

from model.events import ContractError, Reason
from serving.intake import DeadLetter
from stream.deadletter_log import EVERY_S, DeadLetterLog
from tests.parts import FakeRecord
from tests.stage import lines


class Timer:
    """Rings when it is told to."""

    def __init__(self) -> None:
        self._waiting: list[Callable[[], None]] = []

    def __call__(self, seconds: float, wake: Callable[[], None]) -> None:
        assert seconds == EVERY_S
        self._waiting.append(wake)

    def ring(self) -> None:
        waiting, self._waiting = self._waiting, []
        for wake in waiting:
            wake()


@pytest.fixture(autouse=True)
def heard(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "stream.deadletter_log")


def letters(many: int, reason: Reason = "invalid", topic: str = "clicks") -> list[DeadLetter]:
    error = ContractError(reason, "`user` is 'ana@example.com'")
    return [DeadLetter(FakeRecord(b"ana", 7 + n, b"ana", topic, 3, []), error) for n in range(many)]


def test_the_first_are_told_at_once_and_the_others_in_figures(
    caplog: pytest.LogCaptureFixture,
) -> None:
    timer = Timer()
    log = DeadLetterLog(timer)
    log.take([])
    assert caplog.messages == []
    log.take(letters(2))
    assert caplog.messages == [
        "records that became dead letters: clicks 2 invalid; the last is clicks:3:8; "
        "`nextclick dlq list` shows them"
    ]
    for _ in range(1_000):
        log.take(letters(2))
    log.take(letters(3, "malformed_json", "events"))
    assert len(caplog.messages) == 1, "not a line for each micro-batch"
    timer.ring()
    assert "clicks 2,000 invalid, events 3 malformed_json; the last is events:3:9" in caplog.text
    assert "ana" not in caplog.text, "details quote records"


def test_after_a_quiet_while_the_next_is_told_at_once_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    timer = Timer()
    log = DeadLetterLog(timer)
    log.take(letters(1))
    timer.ring()
    timer.ring()
    assert len(lines(caplog, "dead letters")) == 1
    log.take(letters(1))
    log.take(letters(5))
    assert len(lines(caplog, "dead letters")) == 2
    log.close()
    log.close()
    assert lines(caplog, "dead letters")[2:] == [
        "records that became dead letters: clicks 5 invalid; the last is clicks:3:11; "
        "`nextclick dlq list` shows them"
    ]
