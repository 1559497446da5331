"""The operations that read, as steps; `Store` and `AsyncStore` have them as methods."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from . import errors
from .bundle import Command, found, is_text
from .call import Call, Engine, Steps
from .errors import CloakroomError
from .record import Record
from .results import Cursor, Expired, Export, Page
from .rules import check_id, check_range, check_required
from .session import Session
from .together import together


def get(engine: Engine, id: str) -> Steps[Session | None]:
    """Reads a live session. An id that was rotated away a moment ago leads to the session under its new id."""
    found = yield from look_up(Call(engine), id)
    return found and Session.of_record(*found)


def get_many(engine: Engine, ids: Iterable[str]) -> Steps[list[Session | CloakroomError | None]]:
    """Reads any number of sessions together: what `get` would return or raise for each, in order."""
    return (yield from together(get(engine, id) for id in ids))


def export(engine: Engine, id: str) -> Steps[Export | None]:
    """Reads a live session, to be imported into another store: with what it remembers of its last changes."""
    found = yield from look_up(Call(engine), id)
    return found and Export(Session.of_record(*found), found[1].op_ids)


def session_by_connection(engine: Engine, connection: str) -> Steps[Session | None]:
    """Reads the live session that has a connection."""
    check_required(connection=connection)
    call, passed = Call(engine), None
    # The pointer and the record must agree. But between the two the connection may have been taken over, and between
    # two looks it may have been there and back. So a pointer is stale only if it leads, read again, to the very version
    # of the session that did not have the connection before.
    while True:
        (raw,) = yield from call.read("connection", ["GET", engine.key("connection", connection=connection)])
        if raw is None:
            return None
        found = yield from look_up(call, id_of(raw, "connection"))
        if found and found[1].connection == connection:
            return Session.of_record(*found)
        led = (raw, found and (found[0], found[1].version))
        if led == passed:
            return None
        passed = led


def look_up(call: Call, id: str) -> Steps[tuple[str, Record] | None]:
    """The record of a live session, and the id that it has now."""
    check_id(id)
    for _ in range(2):
        time, raw = yield from call.read("record", ["TIME"], ["GET", call.engine.key("session", id=id)])
        if raw is None:
            return None
        record = call.engine.bundle.layout.decode(raw)
        if record is None:
            raise errors.Corrupt("record")
        record = record.unless_over(call.engine.now(time))
        if record and record.kind == "live":
            return id, record
        if record and record.kind == "departed":
            raise errors.Departed(record.place)
        if record is None or record.kind != "moved":
            return None
        id = record.new_id
    # An id that was rotated away twice leads nowhere.
    return None


def list_(
    engine: Engine, *, user: str = "", node: str = "", size: int = 100, after: Cursor | None = None
) -> Steps[Page]:
    """Reads a page, of at most 500, of the live sessions of a user or node, oldest first. One whose record is corrupt
    is left out."""
    owner = _owner(user, node)
    check_range("page size", size, 1, 500)
    call = Call(engine)
    key = engine.key(owner["kind"], **{owner["kind"]: owner["owner"]})
    entries, next = yield from read_index(call, key, "owner", size, after)
    if not entries:
        return Page([], None)
    reply = (yield from call.run("list", owner, [{"id": id} for id, _ in entries])).ok()
    return Page([Session.of_record(id, record) for id, record in reply.rest[0] if record], next)


def _owner(user: str, node: str) -> dict[str, str]:
    if bool(user) == bool(node):
        raise errors.Invalid("name either a user or a node")
    check_required(owner=user or node)
    return {"kind": "user" if user else "node", "owner": user or node}


def read_index(
    call: Call, key: str, what: str, size: int, after: Cursor | None
) -> Steps[tuple[list[tuple[str, int]], Cursor | None]]:
    """A page of an index: ids with their times of creation, and where the next page begins; a page that is not full is
    the last."""
    entries, _ = yield from read_page(call, key, what, size, after)
    return entries, cursor_behind(entries, size, after)


def cursor_behind(entries: list[tuple[str, int]], size: int, after: Cursor | None) -> Cursor | None:
    """Where the page behind these entries begins; a page that is not full is the last."""
    if len(entries) < size or not entries:
        return None
    last_id, last_at = entries[-1]
    ties = sum(at == last_at for _, at in entries)
    if after and after.created_at_ms == last_at:
        ties += after.ties
    return Cursor(last_at, last_id, ties)


def read_page(
    call: Call, key: str, what: str, size: int, after: Cursor | None
) -> Steps[tuple[list[tuple[str, int]], list[str]]]:
    """A page's entries: from the cursor's score on, inclusive, without those that came before; and what stood among
    them and is no session id, so that no cursor counts it."""
    passed: tuple[float, str] = (after.created_at_ms, after.id) if after else (-1, "")
    score, limit = (after.created_at_ms, size + after.ties) if after else (0, size)
    while True:
        read = yield from _entries_from(call, key, what, score, limit)
        ids = [(id, at) for id, at in read if is_id(id)]
        entries = [(id, at) for id, at in ids if (at, id) > passed]
        # More may sort before the cursor than it knows of: a rotation gives an entry another id under its old score.
        # And what is no id fills no page.
        if len(read) < limit or len(entries) >= size:
            return entries[:size], [id for id, _ in read if not is_id(id)]
        limit *= 2


def _entries_from(call: Call, key: str, what: str, score: int, limit: int) -> Steps[list[tuple[str, int]]]:
    return [(found(id), at) for id, at in (yield from scored(call, key, what, score, limit))]


def scored(call: Call, key: str, what: str, score: int, limit: int) -> Steps[list[tuple[bytes, int]]]:
    """Members of a sorted set with their scores, from a score on."""
    command: Command = ["ZRANGEBYSCORE", key, score, "+inf", "WITHSCORES", "LIMIT", 0, limit]
    (raw,) = yield from call.read(what, command)
    return _pairs(raw)


def _pairs(raw: list[Any]) -> list[tuple[bytes, int]]:
    # By the newer protocol they come in pairs.
    flat = [item for pair in raw for item in pair] if raw and isinstance(raw[0], list) else raw
    return [(member, int(float(score))) for member, score in zip(flat[::2], flat[1::2], strict=True)]


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


def count(engine: Engine, *, user: str = "", node: str = "") -> Steps[int]:
    """Counts the live sessions of a user or node: 1,000 at one instant."""
    values: dict[str, Any] = {**_owner(user, node), "start": 0}
    call = Call(engine)
    total: int = 0
    while True:
        reply = (yield from call.run("count", values)).ok()
        total += reply.fields["live"]
        suspects = [{"id": id} for (id,) in reply.rest[0]]
        if suspects:
            # Those that have no record are dropped.
            yield from call.run("count", {**values, "start": 0}, suspects)
        values["start"] = reply.fields["next"]
        if values["start"] == 0:
            return total


def expired(engine: Engine, *, before_ms: int | None = None, skip: int = 0, limit: int = 1000) -> Steps[list[Expired]]:
    """Reads which sessions expired before a time, by default now, and were not reaped, oldest first; passes over `skip`
    of them. At most 1,000."""
    check_range("limit", limit, 1, 1000)
    check_range("skip", skip, 0, 2**53)
    # What is no session id is left out, for the reaper to remove.
    page = yield from expired_page(engine, before_ms, skip, limit)
    return [Expired(id, expired_at) for id, expired_at in page if is_id(id)]


def expired_page(engine: Engine, before_ms: int | None, skip: int, limit: int) -> Steps[list[tuple[str, int]]]:
    """The same, ids that are no texts included."""
    values = {"before_ms": before_ms, "skip": skip, "limit": limit}
    reply = (yield from Call(engine).run("expired", values)).ok()
    return [(id, expired_at) for id, expired_at in reply.rest[0]]


def page_of_user(call: Call, user: str, until: int | None, limit: int) -> Steps[tuple[int, list[str]]]:
    """When a user's newest session was made, by whatever the server's clock said then; and the user's oldest entries,
    of those up to a time if one is given."""
    key, most = call.engine.key("user", user=user), "+inf" if until is None else until
    page: Command = ["ZRANGEBYSCORE", key, "-inf", most, "LIMIT", 0, limit]
    last, ids = yield from call.read("user", ["ZRANGE", key, -1, -1, "WITHSCORES"], page)
    newest = max((made for _, made in _pairs(last)), default=0)
    return newest, [found(id) for id in ids]
