"""API keys: who may do what, and how often. Only their hashes are kept.

A key is 256 random bits, so that a plain SHA-256 of it cannot be turned back and no salt is needed;
looking one up by its hash tells a watcher of the time nothing about the key.
"""

import logging
import re
import secrets
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias, get_args

logger = logging.getLogger(__name__)

Scope: TypeAlias = Literal["read", "recommend", "write", "forget"]
SCOPES: tuple[Scope, ...] = get_args(Scope)

PREFIX = "nck_"
"""By which scanners of source code know a key of ours."""
_NAME = re.compile(r"^[A-Za-z0-9._-]{1,64}$")
_HASH = re.compile(r"^sha256:[0-9a-f]{64}$")


class KeysError(ValueError):
    """A file of keys, or what a key is to be, makes no sense; the message says what to do."""


class ApiKey(NamedTuple):
    """What is known of a key: not the key."""

    name: str
    scopes: frozenset[Scope]
    rate: float | None = None
    """Requests a second; None: that of the settings."""


def new_key(name: str, scopes: Iterable[str], rate: float | None = None) -> tuple[str, str]:
    """A new key, and the line to store: its name, scopes and hash.

    Raises:
        KeysError: no key can be called that, or no such scope is there.
    """
    key = PREFIX + secrets.token_urlsafe(32)
    asked = tuple(dict.fromkeys(scopes))
    line = f"{name} {','.join(asked)} {key_hash(key)}"
    if rate is not None:
        line += f" rate={rate:g}"
    read_line(line, "the key")
    return key, line


def key_hash(key: str) -> str:
    """What stands for a key in the file."""
    return f"sha256:{sha256(key.encode()).hexdigest()}"


def read_line(line: str, where: str) -> tuple[str, ApiKey]:
    """The hash and the key of one line: ``NAME SCOPE,SCOPE sha256:HASH [rate=NUMBER]``.

    Raises:
        KeysError: it is no such line.
    """
    words = line.split()
    if len(words) not in (3, 4) or not _NAME.match(words[0]) or not _HASH.match(words[2]):
        raise KeysError(
            f"{where}: expected NAME SCOPE,SCOPE sha256:HASH, as `nextclick api-key` prints it, "
            "with a name of letters, digits, `.`, `_` and `-`"
        )
    scopes = words[1].split(",")
    if unknown := [each for each in scopes if each not in SCOPES]:
        raise KeysError(
            f"{where}: {unknown[0]!r} is no scope; there are {', '.join(SCOPES)}, with commas "
            "between"
        )
    known = frozenset(each for each in SCOPES if each in scopes)
    return words[2], ApiKey(words[0], known, _rate(words[3], where) if words[3:] else None)


def _rate(word: str, where: str) -> float:
    try:
        rate = float(word.removeprefix("rate="))
    except ValueError:
        rate = -1.0
    if not word.startswith("rate=") or not 0 < rate < 1e9:
        raise KeysError(f"{where}: {word!r} is no rate; write rate=NUMBER, in requests a second")
    return rate


def read_keys(path: Path) -> dict[str, ApiKey]:
    """The keys of a file, by hash. Lines that are empty or begin with ``#`` say nothing.

    Raises:
        KeysError: the file cannot be read, or a line is at fault.
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise KeysError(
            f"the API keys {path} cannot be read ({error}); correct `api_keys`"
        ) from None
    keys: dict[str, ApiKey] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        hashed, key = read_line(line, f"{path}, line {number}")
        if hashed in keys:
            raise KeysError(f"{path}, line {number}: this hash stands there twice; remove one")
        if key.name in {each.name for each in keys.values()}:
            raise KeysError(f"{path}, line {number}: a second {key.name!r}; give it another name")
        keys[hashed] = key
    return keys


class KeyRing:
    """The keys of a file, as it is now.

    Args:
        path: of the file; None: there are no keys.

    Raises:
        KeysError: the file is at fault.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._stamp = self._stamped()
        self._keys: Mapping[str, ApiKey] = {} if path is None else read_keys(path)

    @property
    def is_closed(self) -> bool:
        """Whether callers need a key."""
        return self._path is not None

    def find(self, key: str) -> ApiKey | None:
        """What is known of a key; None where nobody has been given it."""
        return self._keys.get(key_hash(key))

    def reload(self) -> None:
        """Take in the file if it has changed; of one at fault nobody is let in."""
        stamp = self._stamped()
        if self._path is None or stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._keys = read_keys(self._path)
        except KeysError as error:
            # A key may have been taken away by the very change that cannot be read.
            self._keys = {}
            logger.error("no API key is valid until this is mended: %s", error)
        else:
            logger.info("%d API keys are valid from now on", len(self._keys))

    def _stamped(self) -> tuple[int, int, int] | None:
        try:
            found = None if self._path is None else self._path.stat()
        except OSError:
            return None
        return None if found is None else (found.st_ino, found.st_mtime_ns, found.st_size)
