"""The keys of a scenario's server, and the commands that read them, as Redis answers them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .wire import Failure, Pairs, Status

WRONG_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value"
#: What a key holds: a string, a sorted set, or a list, which is a foreign type under every key of ours.
Value = bytes | dict[bytes, float] | list[bytes]


class Held:
    """Keys and what they hold."""

    def __init__(self) -> None:
        self._values: dict[bytes, Value] = {}
        #: By their names.
        self.commands: dict[str, Callable[..., Any]] = {
            "GET": self._get,
            "GETRANGE": self._getrange,
            "MGET": self._mget,
            "STRLEN": self._strlen,
            "SET": self._set,
            "ZCARD": self._zcard,
            "ZCOUNT": self._zcount,
            "ZSCORE": self._zscore,
            "ZMSCORE": self._zmscore,
            "ZRANGE": self._zrange,
            "ZRANGEBYSCORE": self._zrangebyscore,
            "EXISTS": self._exists,
            "TYPE": self._type,
            "PEXPIRE": self._pexpire,
            "PTTL": self._pttl,
        }

    def put(self, key: bytes, value: Value | None) -> None:
        """What a key holds from now on; `None`: there is none."""
        if value is None:
            self._values.pop(key, None)
        else:
            self._values[key] = value

    def _string(self, key: bytes) -> bytes | None:
        value = self._values.get(key)
        if value is not None and not isinstance(value, bytes):
            raise Failure(WRONG_TYPE)
        return value

    def _sorted(self, key: bytes) -> list[tuple[bytes, float]]:
        value = self._values.get(key, {})
        if not isinstance(value, dict):
            raise Failure(WRONG_TYPE)
        return sorted(value.items(), key=lambda item: (item[1], item[0]))

    def _get(self, key: bytes) -> bytes | None:
        return self._string(key)

    def _getrange(self, key: bytes, first: bytes, last: bytes) -> bytes:
        value, end = self._string(key) or b"", int(last)
        return value[int(first) : end + 1 if end >= 0 else len(value) + end + 1]

    def _mget(self, *keys: bytes) -> list[bytes | None]:
        values = (self._values.get(key) for key in keys)
        return [value if isinstance(value, bytes) else None for value in values]

    def _strlen(self, key: bytes) -> int:
        return len(self._string(key) or b"")

    def _exists(self, *keys: bytes) -> int:
        return sum(key in self._values for key in keys)

    def _type(self, key: bytes) -> Status:
        value = self._values.get(key)
        if value is None:
            return Status("none")
        return Status("string" if isinstance(value, bytes) else "zset" if isinstance(value, dict) else "list")

    def _zcard(self, key: bytes) -> int:
        return len(self._sorted(key))

    def _zcount(self, key: bytes, least: bytes, most: bytes) -> int:
        return len(self._between(key, least, most))

    def _zscore(self, key: bytes, member: bytes) -> float | None:
        return dict(self._sorted(key)).get(member)

    def _zmscore(self, key: bytes, *members: bytes) -> list[float | None]:
        scores = dict(self._sorted(key))
        return [scores.get(member) for member in members]

    def _zrange(self, key: bytes, first: bytes, last: bytes, *options: bytes) -> list[Any]:
        found, end = self._sorted(key), int(last)
        start = int(first) if int(first) >= 0 else max(0, len(found) + int(first))
        return _told(found[start : end + 1 if end >= 0 else len(found) + end + 1], options)

    def _zrangebyscore(self, key: bytes, least: bytes, most: bytes, *options: bytes) -> list[Any]:
        found = self._between(key, least, most)
        words = [option.upper() for option in options]
        if b"LIMIT" in words:
            at = words.index(b"LIMIT")
            skip, count = int(options[at + 1]), int(options[at + 2])
            found = found[skip : skip + count if count >= 0 else None]
        return _told(found, options)

    def _between(self, key: bytes, least: bytes, most: bytes) -> list[tuple[bytes, float]]:
        def is_above(score: float, end: bytes) -> bool:
            return score > float(end[1:]) if end[:1] == b"(" else score >= float(end)

        def is_below(score: float, end: bytes) -> bool:
            return score < float(end[1:]) if end[:1] == b"(" else score <= float(end)

        return [item for item in self._sorted(key) if is_above(item[1], least) and is_below(item[1], most)]

    def _set(self, key: bytes, value: bytes, *options: bytes) -> Status | None:
        if b"NX" in [option.upper() for option in options] and key in self._values:
            return None
        self._values[key] = value
        return Status("OK")

    def _pexpire(self, key: bytes, _length: bytes) -> int:
        return int(key in self._values)

    def _pttl(self, key: bytes) -> int:
        return 3_600_000 if key in self._values else -2


def _told(found: list[tuple[bytes, float]], options: tuple[bytes, ...]) -> list[Any]:
    if b"WITHSCORES" in [option.upper() for option in options]:
        return Pairs([member, score] for member, score in found)
    return [member for member, _ in found]
