"""Coverage-guided fuzzing of ``decode_event`` with atheris, which must be installed.

    python -m benchmarks.fuzz_decoder -atheris_runs=500000 -seed=7 FOLDER

Arguments are libFuzzer's; the corpus grows in FOLDER, an existing one. What is accepted must
survive encoding and decoding, and be packed into the records of a profile; what is refused must
have a reason of the closed list.
"""

import sys
from importlib import import_module
from pathlib import Path
from typing import Any, get_args

# Untyped, and no dependency of this project.
atheris: Any = import_module("atheris")

with atheris.instrument_imports(include=["model.events", "serving.profile"]):
    from model.events import (
        Cart,
        Click,
        ContractError,
        Favorite,
        Purchase,
        Rating,
        Reason,
        Search,
        decode_event,
        encode_event,
    )
    from serving.profile import pack_interaction, pack_query

NOW = 1_780_000_000_000
REASONS = frozenset(get_args(Reason))
WORDS = (
    b'{"type":"', b'"click"', b'"search"', b'"cart"', b'"purchase"', b'"favorite"', b'"rating"',
    b'"impression"', b'"user"', b'"identify"', b'"forget"', b'"event_id":', b'"user_id":',
    b'"ts":', b'"item_id":', b'"query":', b'"item_ids":', b'"quantity":', b'"price":', b'"value":',
    b'"attributes":', b'"anonymous_id":', b'"context":', b'"dwell_ms":', b"1780000000000",
    b'"2026-01-31T12:00:00Z"', b'"\\ud800"', b"1e999", b"NaN",
)  # fmt: skip
START = (
    b'{"type":"click","event_id":"e","user_id":"u","ts":1,"item_id":"i","dwell_ms":7}',
    b'{"type":"search","event_id":"e","user_id":"u","ts":1,"query":"q","item_ids":["i"]}',
    b'{"type":"purchase","event_id":"e","user_id":"u","ts":1,"item_id":"i","price":1.5}',
    b'{"type":"rating","event_id":"e","user_id":"u","ts":1,"item_id":"i","value":4}',
    b'{"type":"identify","event_id":"e","user_id":"u","ts":1,"anonymous_id":"a"}',
    b'{"type":"user","event_id":"e","user_id":"u","ts":1,"attributes":{"a":[]}}',
)
"""libFuzzer sees no branch inside of msgspec, so it gets whole events and words to mutate."""


def judge(data: bytes) -> None:
    """Decode, and where that works encode, decode and pack; an exception is a finding."""
    try:
        event = decode_event(data, NOW)
    except ContractError as error:
        if error.reason not in REASONS or not str(error):
            raise AssertionError(f"refused without a reason: {error.reason!r}, {error}") from error
        return
    if decode_event(encode_event(event), NOW) != event:
        raise AssertionError("decoding what was encoded gives another event")
    event.user_id.encode()
    if isinstance(event, Search):
        pack_query(event)
    elif isinstance(event, Click | Cart | Favorite | Rating | Purchase):
        pack_interaction(event)


def main() -> None:
    """Fuzz until libFuzzer ends the process."""
    folder = Path(sys.argv[-1])
    for number, event in enumerate(START):
        (folder / f"event-{number}").write_bytes(event)
    words = folder.parent / f"{folder.name}.words"
    quoted = ("".join(f"\\x{byte:02x}" for byte in word) for word in WORDS)
    words.write_text("".join(f'"{word}"\n' for word in quoted))
    atheris.Setup([*sys.argv[:-1], f"-dict={words}", str(folder)], judge)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
