"""A broker that is away must not fill the disk with log lines."""

import logging

from stream.repetition import LOGGERS, QUIET_S, Repetition, tell_repetitions_once


def told(logger: logging.Logger) -> list[str]:
    lines: list[str] = []

    class Keeper(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    logger.addHandler(Keeper())
    return lines


def test_a_retry_is_told_once_and_counted() -> None:
    now = [0.0]
    logger = logging.Logger("test")
    logger.addFilter(Repetition(lambda: now[0]))
    lines = told(logger)
    for node in range(5):
        logger.error("Unable connect to node with id %s", node)
        logger.info("connecting to %s", node)
    logger.error("something else")
    assert [line for line in lines if "connecting" not in line] == [
        "Unable connect to node with id 0",
        "something else",
    ]
    assert len(lines) == 7, "what is no warning is always told"
    now[0] = QUIET_S
    logger.error("Unable connect to node with id %s", 9)
    assert lines[-1] == "Unable connect to node with id 9 (4 more like it before)"


def test_the_filter_stands_before_each_logger_once() -> None:
    before = {name: list(logging.getLogger(name).filters) for name in LOGGERS}
    try:
        tell_repetitions_once()
        tell_repetitions_once()
        for name in LOGGERS:
            kinds = [type(known) for known in logging.getLogger(name).filters]
            assert kinds.count(Repetition) == 1
    finally:
        for name, filters in before.items():
            logging.getLogger(name).filters[:] = filters
