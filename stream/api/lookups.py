"""Last lists looked up together: what is asked for while a trip to Redis is under way is the next.

One connection serves however many callers there are.
"""

import asyncio
from collections import deque

from serving.store import Store

AT_ONCE = 256


class Lookups:
    """Looks up last lists.

    Args:
        store: where they are.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: deque[tuple[str, asyncio.Future[bytes | None]]] = deque()
        self._looking: asyncio.Task[None] | None = None

    async def last_list(self, user_id: str) -> bytes | None:
        """The JSON bytes of the user's last list. Raises as ``Store.last_lists_json`` does."""
        found: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
        self._waiting.append((user_id, found))
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        return await found

    async def _look(self) -> None:
        while self._waiting:
            many = min(AT_ONCE, len(self._waiting))
            batch = [self._waiting.popleft() for _ in range(many)]
            try:
                lists = await self._store.last_lists_json([user for user, _ in batch])
            except Exception as error:
                for _, found in batch:
                    if not found.done():
                        found.set_exception(error)
            else:
                for (_, found), data in zip(batch, lists, strict=True):
                    if not found.done():
                        found.set_result(data)
