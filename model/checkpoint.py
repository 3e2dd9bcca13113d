"""A training run's checkpoint on disk: tensors and numbers, never a pickled object."""

import os
from pathlib import Path
from typing import Any

import torch


class CheckpointError(RuntimeError):
    """A checkpoint that cannot be gone on from; the message says what to do."""


class Checkpoint:
    """One file, replaced in one step so that a crash leaves the older one whole.

    Args:
        path: the file.
        fingerprint: of the run: log, settings and seed. Another run's checkpoint is refused.
    """

    def __init__(self, path: Path, fingerprint: str) -> None:
        self._path = path
        self._fingerprint = fingerprint

    def load(self) -> dict[str, Any] | None:
        """The state last saved, or None where there is none.

        Raises:
            CheckpointError: it is damaged or of another run.
        """
        if not self._path.exists():
            return None
        try:
            # weights_only refuses anything but tensors and plain containers.
            state: dict[str, Any] = torch.load(self._path, weights_only=True)
            fingerprint = state.pop("fingerprint")
        except Exception as error:  # torch raises many kinds for a file that is cut short
            raise CheckpointError(
                f"the checkpoint {self._path} cannot be read ({type(error).__name__}); "
                "remove it to train from the start"
            ) from error
        if fingerprint != self._fingerprint:
            raise CheckpointError(
                f"the checkpoint {self._path} is of a run with another log, seed or settings; "
                "remove it to train from the start, or go on with the same ones"
            )
        return state

    def save(self, state: dict[str, Any]) -> None:
        """Replace the file."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        staging = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        torch.save({**state, "fingerprint": self._fingerprint}, staging)
        staging.replace(self._path)

    def remove(self) -> None:
        """The run is over."""
        self._path.unlink(missing_ok=True)
