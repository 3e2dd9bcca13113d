"""Who watches: the open pages, each with the messages that it is still to be sent."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec

MOST_VIEWERS = 64
MOST_WAITING = 256
"""Messages; of a page that reads too slowly the oldest are dropped, which newer ones outdate."""
BEAT_S = 15.0
BEAT = b": still here\n\n"
"""A comment: proxies and browsers close what is silent for long."""

_encoder = msgspec.json.Encoder()


def message(kind: str, content: Any) -> bytes:
    """A server-sent event whose data is JSON, which has no line breaks."""
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), _encoder.encode(content))


class Viewer:
    """An open page.

    Args:
        user_id: whose lists it wants.
    """

    def __init__(self, user_id: str) -> None:
        self.user_id = user_id
        self._waiting: asyncio.Queue[bytes | None] = asyncio.Queue(MOST_WAITING)

    def tell(self, sent: bytes | None) -> None:
        """Have it sent that message; None is its end."""
        if self._waiting.full():
            self._waiting.get_nowait()
        self._waiting.put_nowait(sent)

    async def messages(self) -> AsyncIterator[bytes]:
        """What it is sent, until the end."""
        while True:
            try:
                async with asyncio.timeout(BEAT_S):
                    sent = await self._waiting.get()
            except TimeoutError:
                sent = BEAT
            if sent is None:
                return
            yield sent


class Audience:
    """All open pages."""

    def __init__(self) -> None:
        self._viewers: set[Viewer] = set()
        self._of_user: dict[bytes, set[Viewer]] = {}
        self.present = asyncio.Event()
        """Set while there is anybody."""

    @property
    def is_full(self) -> bool:
        """Whether no more may come."""
        return len(self._viewers) >= MOST_VIEWERS

    def enter(self, viewer: Viewer) -> None:
        """It is told everything from now on."""
        self._viewers.add(viewer)
        self._of_user.setdefault(viewer.user_id.encode(), set()).add(viewer)
        self.present.set()

    def leave(self, viewer: Viewer) -> None:
        """It is told nothing more."""
        self._viewers.discard(viewer)
        key = viewer.user_id.encode()
        of_user = self._of_user.get(key, set())
        of_user.discard(viewer)
        if not of_user:
            self._of_user.pop(key, None)
        if not self._viewers:
            self.present.clear()

    def wants(self, user: bytes | None) -> bool:
        """Whether somebody wants that user's lists."""
        return user in self._of_user

    def tell_user(self, user: bytes, sent: bytes) -> None:
        """Tell those who want that user's lists."""
        for viewer in self._of_user.get(user, ()):
            viewer.tell(sent)

    def tell_all(self, sent: bytes) -> None:
        """Tell everybody."""
        for viewer in self._viewers:
            viewer.tell(sent)

    def dismiss(self) -> None:
        """End all pages' answers."""
        for viewer in self._viewers:
            viewer.tell(None)
