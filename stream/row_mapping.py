"""What readers of files ask of a mapping."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol


class Form(Protocol):
    """How the files of a mapping are laid out, JSONL and Parquet apart."""

    @property
    def separator(self) -> str: ...
    @property
    def columns(self) -> Sequence[str] | None: ...
    @property
    def quoted(self) -> bool: ...
    @property
    def encoding(self) -> str: ...


class RowMapping(Protocol):
    """What makes events of the contract of foreign rows (``model.mapping.Mapping``)."""

    @property
    def form(self) -> Form: ...
    @property
    def plain(self) -> Mapping[str, str] | None:
        """Field -> column, where that is all it does."""

    def events(self, fields: dict[str, Any]) -> list[bytes]: ...
    def events_of_record(self, value: bytes) -> list[bytes]: ...
    @property
    def digest(self) -> str:
        """Tells mappings apart that make different events."""
