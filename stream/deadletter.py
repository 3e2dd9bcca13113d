"""The dead-letter record: the original key and value, and what was wrong in the headers."""

from collections.abc import Iterable

from model.events import ContractError

REASON = "nextclick-reason"
DETAIL = "nextclick-detail"
TOPIC = "nextclick-topic"
PARTITION = "nextclick-partition"
OFFSET = "nextclick-offset"
DEAD_LETTER_HEADERS = {
    REASON: "Short code of the broken rule.",
    DETAIL: "A sentence that says where and what was wrong.",
    TOPIC: "Topic the record came from.",
    PARTITION: "Partition it came from, decimal.",
    OFFSET: "Offset it came from, decimal.",
}
"""Every header, all UTF-8 text, with what it tells."""
MAX_DETAIL_CHARACTERS = 1_000
"""At most 4 kB of the 64 KiB that the dead-letter topic takes more than the events topic."""


def dead_letter_headers(
    error: ContractError, topic: str, partition: int, offset: int
) -> list[tuple[str, bytes]]:
    """The headers of the dead letter for the record at (topic, partition, offset)."""
    # A detail may quote the record, lone surrogates included.
    detail = str(error)[:MAX_DETAIL_CHARACTERS].encode("utf-8", "replace")
    return [
        (REASON, error.reason.encode()),
        (DETAIL, detail),
        (TOPIC, topic.encode()),
        (PARTITION, str(partition).encode()),
        (OFFSET, str(offset).encode()),
    ]


def read_dead_letter(headers: Iterable[tuple[str, bytes]]) -> dict[str, str]:
    """The headers above as text; other headers are left out."""
    return {name: value.decode() for name, value in headers if name in DEAD_LETTER_HEADERS}
