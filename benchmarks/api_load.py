"""The load of the API benchmark: requests by a schedule, or by so many callers that each wait.

    python -m benchmarks.api_load HOST PORT USERS ITEMS

It speaks HTTP/1.1 over kept connections by itself: a client library would cost more than the server
it is to measure. A latency runs from the moment the schedule had the request sent.
"""

import argparse
import asyncio
import json
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.contender import answer
from benchmarks.made_up import long_tailed

NAMED = 50
"""Items to rank in every other question."""


class Connections:
    """Kept connections to one server; a request takes a free one, or opens another."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._free: deque[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = deque()
        self.opened = 0

    async def request(self, head: bytes, body: bytes = b"") -> tuple[int, bytes]:
        """Status and body of the answer."""
        if self._free:
            reader, writer = self._free.pop()
        else:
            reader, writer = await asyncio.open_connection(self._host, self._port)
            self.opened += 1
        writer.write(head + body)
        answered = await reader.readuntil(b"\r\n\r\n")
        status = int(answered[9:12])
        length = next(
            int(line.partition(b":")[2])
            for line in answered.split(b"\r\n")
            if line.lower().startswith(b"content-length:")
        )
        content = await reader.readexactly(length)
        self._free.append((reader, writer))
        return status, content

    def close(self) -> None:
        """Close what is free."""
        for _, writer in self._free:
            writer.close()


class Load:
    """Asks for users' lists.

    Args:
        host, port: of the server.
        users, items: how many there are.
    """

    def __init__(self, host: str, port: int, users: int, items: int) -> None:
        self._host, self._port, self._items = host, port, items
        self._users = users
        self._chance = np.random.default_rng(5)

    def task(self, kind: str, **more: Any) -> dict[str, Any]:
        """One task of the benchmark."""
        kinds: dict[str, Callable[..., Any]] = {"open": self._open, "closed": self._closed}
        found: dict[str, Any] = asyncio.run(kinds[kind](**more))
        return found

    async def _open(self, rate: float, seconds: float) -> dict[str, Any]:
        """Last lists at random moments, so many a second on average, whatever is answered."""
        connections = Connections(self._host, self._port)
        moments = np.cumsum(self._chance.exponential(1 / rate, int(rate * seconds))).tolist()
        users = self._chance.integers(0, self._users, len(moments)).tolist()
        latencies: list[float] = []
        late: list[float] = []
        errors = 0

        async def ask(user: int, due: float) -> None:
            nonlocal errors
            late.append(time.perf_counter() - due)
            head = f"GET /v1/users/user-{user}/recommendations HTTP/1.1\r\nHost: {self._host}\r\n"
            try:
                status, _ = await connections.request(head.encode() + b"\r\n")
            except (OSError, asyncio.IncompleteReadError):
                status = 0
            errors += status != 200
            latencies.append((time.perf_counter() - due) * 1000)

        start = time.perf_counter() + 0.05
        async with asyncio.TaskGroup() as group:
            for moment, user in zip(moments, users, strict=True):
                if (wait := start + moment - time.perf_counter()) > 0:
                    await asyncio.sleep(wait)
                group.create_task(ask(user, start + moment))
        connections.close()
        return {
            "latencies_ms": latencies,
            "errors": errors,
            "sent_late_ms": float(np.percentile(late, 99)) * 1000,
            "connections": connections.opened,
        }

    async def _closed(self, callers: int, seconds: float, named: bool) -> dict[str, Any]:
        """Lists on demand: each caller asks again when it has its answer."""
        connections = Connections(self._host, self._port)
        bodies = [self._question(named) for _ in range(512)]
        end = time.perf_counter() + seconds
        answered = errors = 0

        async def call(first: int) -> None:
            nonlocal answered, errors
            at = first
            while time.perf_counter() < end:
                status, _ = await connections.request(*bodies[at % len(bodies)])
                answered += status == 200
                errors += status != 200
                at += callers

        start = time.perf_counter()
        await asyncio.gather(*(call(number) for number in range(callers)))
        connections.close()
        spent = time.perf_counter() - start
        return {"answered": answered, "errors": errors, "seconds": spent}

    def _question(self, named: bool) -> tuple[bytes, bytes]:
        asked: dict[str, Any] = {"user_id": f"user-{int(self._chance.integers(self._users))}"}
        if named:
            asked["items"] = [
                f"item-{each}" for each in set(long_tailed(self._chance, self._items, NAMED))
            ]
        body = json.dumps(asked).encode()
        head = (
            f"POST /v1/recommendations HTTP/1.1\r\nHost: {self._host}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode(), body


def main() -> None:
    """Answer the benchmark until it ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("users", type=int)
    parser.add_argument("items", type=int)
    asked = parser.parse_args()
    answer(Load(asked.host, asked.port, asked.users, asked.items).task)


if __name__ == "__main__":
    main()
