"""A page of an index, where it stands there, and how a reading goes on behind it."""

from __future__ import annotations

from dataclasses import dataclass

from . import errors
from .bundle import Command
from .call import Call, Steps
from .results import Cursor
from .rules import check_id


@dataclass(frozen=True)
class IndexPage:
    """A page of an index."""

    #: Ids with their times of creation.
    entries: list[tuple[str, int]]
    #: The score from which on it was read.
    from_ms: int
    #: How many entries from there on come before it.
    skip: int


def read_page(call: Call, key: str, what: str, size: int, after: Cursor | None) -> Steps[IndexPage]:
    """Reads a page: from the cursor's score on, inclusive, without those that came before. What is not as it should be
    is the index, `what`."""
    if after is None:
        return IndexPage((yield from _entries_from(call, key, what, 0, size)), 0, 0)
    passed, ties = (after.created_at_ms, after.id), after.ties
    while True:
        read = yield from _entries_from(call, key, what, after.created_at_ms, size + ties)
        entries = [(id, at) for id, at in read if (at, id) > passed]
        skip = len(read) - len(entries)
        # More may sort before the cursor than it knows of: a rotation gives an entry another id under its old score.
        if len(read) < size + ties or len(entries) >= size:
            return IndexPage(entries[:size], after.created_at_ms, skip)
        ties = skip


def cursor_behind(entries: list[tuple[str, int]], size: int, after: Cursor | None) -> Cursor | None:
    """Where the page behind one of this size begins, which ended with these entries; a page that is not full is the
    last."""
    if len(entries) < size:
        return None
    last_id, last_at = entries[-1]
    ties = sum(at == last_at for _, at in entries)
    if after and after.created_at_ms == last_at:
        ties += after.ties
    return Cursor(last_at, last_id, ties)


def _entries_from(call: Call, key: str, what: str, score: int, limit: int) -> Steps[list[tuple[str, int]]]:
    command: Command = ["ZRANGEBYSCORE", key, score, "+inf", "WITHSCORES", "LIMIT", 0, limit]
    (raw,) = yield from call.read(what, command)
    # By the newer protocol they come in pairs.
    flat = [item for pair in raw for item in pair] if raw and isinstance(raw[0], list) else raw
    return [(id_of(id, what), int(float(at))) for id, at in zip(flat[::2], flat[1::2], strict=True)]


def id_of(raw: bytes, where: str) -> str:
    """A session id that is stored under the key `where`."""
    try:
        id = raw.decode()
        check_id(id)
    except ValueError:
        raise errors.Corrupt(where) from None
    return id
