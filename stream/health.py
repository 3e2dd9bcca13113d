"""What a process tells of its health, whoever asks: the bodies of probes, for API and worker."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta


class Alive(msgspec.Struct, frozen=True, omit_defaults=True):
    """Whether this process can go on."""

    status: Literal["alive", "broken"]
    causes: Annotated[
        tuple[str, ...], Meta(description="What does not go on by itself; its log says more.")
    ] = ()


class Ready(msgspec.Struct, frozen=True, omit_defaults=True):
    """Whether this process serves everything."""

    status: Literal["ready", "waiting"]
    causes: Annotated[
        tuple[str, ...], Meta(description="What it waits for; it goes on by itself.")
    ] = ()
