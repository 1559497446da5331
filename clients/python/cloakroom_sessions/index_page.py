"""A page of an index as a server has it, and how a reading goes on behind it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from . import errors
from .arguments import check_id
from .bundle import Command, found, is_text, stored
from .call import Call, Steps
from .results import Cursor


@dataclass(frozen=True)
class IndexPage:
    """A page of an index."""

    #: All that stands there, one behind the other: what is found as an id, with its time of creation.
    entries: list[tuple[str, int]]
    #: The score from which on it was read.
    from_ms: int
    #: How many entries from there on come before it.
    skip: int
    #: Whether others may follow.
    is_full: bool

    @property
    def ids(self) -> list[str]:
        """What is found as ids."""
        return [id for id, _ in self.entries]

    def size(self, asked: int) -> int:
        """How many entries a page that is read again has at most, of one that was asked for so many."""
        return len(self.entries) if self.is_full else asked

    def again(self, key: str, asked: int) -> Command:
        """What reads its ids again."""
        return ["ZRANGEBYSCORE", key, self.from_ms, "+inf", "LIMIT", self.skip, self.size(asked)]

    def has(self, raw: list[bytes]) -> bool:
        """Whether these are its ids."""
        return [found(id) for id in raw] == self.ids

    def behind(self, count: int, before: Cursor | None) -> Cursor | None:
        """Where the page behind the first so many entries begins, if there is one that a cursor can name."""
        named = [(id, at) for id, at in self.entries[:count] if is_id(id)]
        if not named:
            return None
        last_id, last_at = named[-1]
        ties = sum(at == last_at for _, at in named)
        if before and before.created_at_ms == last_at:
            ties += before.ties
        return Cursor(last_at, last_id, ties)

    def next(self, before: Cursor | None) -> Cursor | None:
        """The same behind all of it, if others may follow."""
        return self.behind(len(self.entries), before) if self.is_full else None


def read_page(call: Call, key: str, what: str, size: int, after: Cursor | None) -> Steps[IndexPage]:
    """Reads a page: from the cursor's score on, inclusive, without those that came before. What is not as it should be
    is the index, `what`."""
    passed = (after.created_at_ms, stored(after.id)) if after else (-1, b"")
    from_ms, ties = (after.created_at_ms, after.ties) if after else (0, 0)
    while True:
        read = yield from entries_from(call, key, what, from_ms, size + ties)
        entries = [(id, at) for id, at in read if (at, stored(id)) > passed]
        skip = len(read) - len(entries)
        # More may sort before the cursor than it knows of: a rotation gives an entry another id under its old score.
        if len(read) < size + ties or len(entries) >= size:
            is_full = len(entries) >= size
            return IndexPage(_up_to_an_id(entries[:size]) if is_full else entries, from_ms, skip, is_full)
        ties = skip


def _up_to_an_id(entries: list[tuple[str, int]]) -> list[tuple[str, int]]:
    """Where others follow, a cursor names the last entry; a page of nothing that can be named stays as it is."""
    named = [place for place, (id, _) in enumerate(entries) if is_id(id)]
    return entries[: named[-1] + 1] if named else entries


def entries_from(call: Call, key: str, what: str, score: int, limit: int) -> Steps[list[tuple[str, int]]]:
    """What is found in a sorted set with its scores, from a score on."""
    command: Command = ["ZRANGEBYSCORE", key, score, "+inf", "WITHSCORES", "LIMIT", 0, limit]
    (raw,) = yield from call.read(what, command)
    return entries_of(raw)


def entries_of(raw: list[Any]) -> list[tuple[str, int]]:
    """Members with their scores, of a reply."""
    # By the newer protocol they come in pairs.
    flat = [item for pair in raw for item in pair] if raw and isinstance(raw[0], list) else raw
    return [(found(member), int(float(score))) for member, score in zip(flat[::2], flat[1::2], strict=True)]


def is_id(id: str) -> bool:
    """Whether what was found is a session id."""
    return is_text(id) and 1 <= len(id.encode()) <= 128


def id_of(raw: bytes, where: str) -> str:
    """A session id that is stored under the key `where`."""
    try:
        id = raw.decode()
        check_id(id)
    except ValueError:
        raise errors.Corrupt(where) from None
    return id
