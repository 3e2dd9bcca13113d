"""Records that nobody would send on purpose, from a seed: what the fuzzing run feeds the path.

About a third are events that keep the contract, so that profiles, counts and lists are reached;
the others start as one and are broken in one or several ways, or are no event at all.
"""

import json
import random
from collections.abc import Callable
from typing import Any

from tests.parts import DAY_MS, HOUR_MS, NOW, FakeRecord

ITEM_IDS = [f"item-{number}" for number in range(30)]
USERS = 400
BUSY_USERS = 8
"""A part of the events is theirs: they reach the bounds of their profiles."""
SHIFT = 20_000
"""After so many records other users come: by then most have asked to be forgotten, which would
keep their events out of all that follows."""
PARTITIONS = 4
KINDS = (
    ["click"] * 20 + ["search"] * 14 + ["cart", "purchase", "favorite", "rating"] * 6
    + ["impression", "user", "identify", "forget"]
)  # fmt: skip
FIELDS = (
    "type", "event_id", "user_id", "ts", "session_id", "context", "generated", "item_id",
    "dwell_ms", "position", "rec_id", "query", "item_ids", "quantity", "price", "value", "text",
    "attributes", "anonymous_id",
)  # fmt: skip

ODD_TEXTS = [
    "", " ", "\u0000", "\u0000" * 50, "\n", "\u202e", "\ufeff", "\uffff", "e\u0301", "é", "茶" * 86,
    "🧡", "🧡" * 64, "🧡" * 65, "x" * 255, "x" * 256, "x" * 257, "q" * 512, "q" * 513, "مستخدم",
    "\U0010ffff", "null", "NaN", "-1", "nc:{x}:profile", "{}", "%s%n", "*3\r\n$4\r\nKEYS", "'; --",
]  # fmt: skip
ODD_JSON = [
    "null", "true", "false", "NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1e308", "1e-400",
    "-0", "-0.0", "0", "-1", "0.5", "1.0", "1e3", "1E+2", "01", "1.", ".5", "+1", "0x10", "9" * 25,
    "9" * 400, "-" + "9" * 25, str(2**31), str(2**47 - 1), str(2**47), str(2**53 + 1),
    str(2**63 - 1), str(2**63), str(2**64 - 1), str(2**64), str(-(2**63)), "[]", "{}", "[[]]",
    '[""]', '["a",7]', '{"":{}}', '{"a":[1,"2"]}', '"\\ud800"', '"\\udfff\\ud800"', '"\\ud83e"',
    '"\\ud83e\\udde1"', '"\\u0000"', '"\\x41"', '"a', "'a'", '"2026-01-31T12:00:00Z"',
    '"2026-01-31T12:00:00"', '"2026-01-31"', '"0001-01-01T00:00:00+23:59"',
    '"9999-12-31T23:59:59.999999-23:59"', '"2026-02-30T00:00:00Z"', '"2016-12-31T23:59:60Z"',
    '"12:00"', '"' + "i" * 300 + '"', "[" * 40 + "]" * 40, '{"a":' * 40 + "1" + "}" * 40,
]  # fmt: skip
ODD_TIMES = [
    0, 1, NOW, NOW + 1, NOW + 600_000, NOW + 600_001, NOW - HOUR_MS, NOW - HOUR_MS - 1, -1,
    2**47 - 1, 2**47, 10**9, 10**12, 10**15,
]  # fmt: skip
WHOLE = [
    None, b"", b" ", b"\n", b"null", b"[]", b"{}", b"0", b'""', b"true", b"\xff\xfe{\x00}\x00",
    b"\xef\xbb\xbf{}", b"\x00", b"{" * 5_000, b"[" * 100_000, b'{"type":' * 20_000, b'{"a":1',
    b'{"type":"click"}' * 2, b" " * (256 * 1024 + 1), b'{"type":"click","type":"search"}',
    b'{"type":"click","event_id":"e","user_id":"u","ts":1,"item_id":"i","x":' + b"[" * 3_000,
]  # fmt: skip
HEADERS: list[list[Any]] = [
    [], [], [], [("nextclick-replay", b"1")], [("nextclick-replay", b"\xff")], [("", b"")],
    [("nextclick-replay", None)], [("nextclick-reason", b"forged"), ("nextclick-offset", b"x")],
    [("茶", b"\x00\xff")] * 3, [("h" * 1_000, b"v" * 1_000)], [("nextclick-null-value", b"1")],
    [("nextclick-redriven", b"events.dlq:0:0")],
]  # fmt: skip


class FuzzInputs:
    """An endless supply of records; the same seed gives the same ones."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self._offsets = [0] * PARTITIONS
        self._made = 0
        self._makers: list[tuple[Callable[[], bytes | None], int]] = [
            (self._valid, 34),
            (self._changed_fields, 22),
            (self._torn_structure, 10),
            (self._damaged_bytes, 16),
            (self._odd_values, 10),
            (lambda: self._chance.choice(WHOLE), 3),
            (lambda: self._chance.randbytes(self._chance.randrange(200)), 5),
        ]

    def batch(self, size: int) -> list[FakeRecord]:
        """The next records, in offset order within each partition."""
        makers, weights = zip(*self._makers, strict=True)
        return [self._record(make()) for make in self._chance.choices(makers, weights, k=size)]

    def _record(self, value: bytes | None) -> FakeRecord:
        chance = self._chance
        self._made += 1
        partition = chance.randrange(PARTITIONS)
        offset = self._offsets[partition]
        # Redelivery now and then; a gap now and then.
        self._offsets[partition] += chance.choice((1, 1, 1, 1, 1, 1, 0, 3))
        key = chance.choice((b"u1", None, b"", b"\xff\x00", chance.randbytes(4), b"k" * 5_000))
        headers = chance.choice(HEADERS)
        return FakeRecord(value, offset, key, "events", partition, headers)

    def _user(self) -> str:
        chance = self._chance
        count = BUSY_USERS if chance.random() < 0.3 else USERS
        return f"u{self._made // SHIFT * USERS + chance.randrange(count)}"

    def _time(self) -> Any:
        chance = self._chance
        draw = chance.random()
        if draw < 0.7:
            return NOW - chance.randrange(2 * HOUR_MS)
        if draw < 0.9:
            return NOW - chance.randrange(2_000 * DAY_MS)
        return chance.choice(ODD_TIMES)

    def _event(self) -> dict[str, Any]:
        chance = self._chance
        kind = chance.choice(KINDS)
        event: dict[str, Any] = {
            "type": kind,
            "event_id": f"e{chance.randrange(200_000)}",
            "user_id": self._user(),
            "ts": self._time(),
        }
        item = chance.choice(ITEM_IDS)
        match kind:
            case "search":
                event["query"] = chance.choice(("tea", "green tea", "item 7", "茶", "智能手机"))
            case "impression":
                event |= {"rec_id": "r", "item_ids": [item]}
            case "user":
                event["attributes"] = {"age": 7, "interests": ["tea"]}
            case "identify":
                event["anonymous_id"] = self._user()
            case "rating":
                event |= {"item_id": item, "value": chance.choice((0, 5, -1e308, 4.5))}
            case "cart" | "purchase" | "favorite":
                event |= {"item_id": item, "quantity": chance.choice((1, 0.5, 1e308))}
                event["price"] = chance.choice((0, 9.99, 1e-320, 1e308))
            case "click":
                event |= {"item_id": item, "dwell_ms": chance.choice((0, 1_500, 2**62))}
            case _:
                pass
        return event

    def _valid(self) -> bytes:
        return json.dumps(self._event(), ensure_ascii=self._chance.random() < 0.5).encode()

    def _odd_values(self) -> bytes:
        """Texts of every kind where a text belongs: mostly within the contract."""
        event = self._event()
        texts = [name for name, value in event.items() if isinstance(value, str) and name != "type"]
        for name in self._chance.sample(texts, self._chance.randint(1, len(texts))):
            event[name] = self._text()
        return json.dumps(event).encode()

    def _text(self) -> str:
        chance = self._chance
        if chance.random() < 0.6:
            return chance.choice(ODD_TEXTS)
        # Any code points, lone surrogates among them.
        return "".join(chr(chance.randrange(0x110000)) for _ in range(chance.randrange(12)))

    def _changed_fields(self) -> bytes:
        """Some fields get a value of any type and size."""
        event = {name: json.dumps(value) for name, value in self._event().items()}
        for _ in range(self._chance.choice((1, 1, 1, 2, 4))):
            name = self._chance.choice((*event, self._chance.choice(FIELDS)))
            event[name] = self._chance.choice(ODD_JSON)
        pairs = (f"{json.dumps(name)}:{value}" for name, value in event.items())
        return ("{" + ",".join(pairs) + "}").encode()

    def _torn_structure(self) -> bytes:
        """Fields missing, doubled, renamed, too many; an event inside of something."""
        chance = self._chance
        pairs = [(name, json.dumps(value)) for name, value in self._event().items()]
        match chance.randrange(6):
            case 0:
                pairs.pop(chance.randrange(len(pairs)))
            case 1:
                pairs.append((chance.choice(FIELDS), chance.choice(ODD_JSON)))
            case 2:
                pairs = [(chance.choice(FIELDS), value) for _, value in pairs]
            case 3:
                pairs += [(f"extra-{number}", '{"a":[{}]}') for number in range(200)]
            case 4:
                ids = ",".join(['"i"'] * chance.choice((0, 1, 1_000, 1_001)))
                pairs += [("item_ids", f"[{ids}]"), ("text", f'"{"t" * 10_001}"')]
            case _:
                chance.shuffle(pairs)
        body = "{" + " , ".join(f"{json.dumps(name)} : {value}" for name, value in pairs) + "}"
        return (f"[{body}]" if chance.random() < 0.1 else body).encode()

    def _damaged_bytes(self) -> bytes:
        """Cut, flipped, swapped and inserted bytes."""
        chance = self._chance
        data = bytearray(self._valid())
        for _ in range(chance.choice((1, 1, 2, 8))):
            at = chance.randrange(len(data) or 1)
            match chance.randrange(5):
                case 0:
                    del data[at:]
                case 1 if data:
                    data[at] = chance.randrange(256)
                case 2 if data:
                    data[at] ^= 1 << chance.randrange(8)
                case 3:
                    data[at:at] = chance.randbytes(chance.randrange(6))
                case _:
                    data[at : at + chance.randrange(9)] = b""
        return bytes(data)
