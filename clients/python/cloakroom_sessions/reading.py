"""The operations that read, as steps; `Store` and `AsyncStore` have them as methods."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum, auto
from typing import Any

from . import errors
from .arguments import check_id, check_instant, check_integer, check_names, check_required, each_of
from .bundle import Command, Reply, found, is_text, stored
from .call import KEPT_CHANGING, Call, Engine, Steps
from .errors import CloakroomError
from .index_page import IndexPage, entries_of, id_of, is_id, read_page
from .record import Record
from .results import Cursor, Expired, Explanation, Export, Page, check_cursor
from .session import Session
from .together import all_of, together
from .token import Id

#: How often a page is read again that changed before its records were read, until its beginning will do.
_WHOLE_PAGE_ROUNDS = 16
#: How often in all.
_PAGE_ROUNDS = 128
#: How many expired sessions one script tells.
_EXPIRED = 1000
#: How many bytes of records a page has at most, but for one record.
_PAGE_BYTES = 2 * 1024 * 1024


class _Unread(Enum):
    """Why a page was not read without the script."""

    #: It is another by now.
    CHANGED = auto()
    #: Something in it is cut off, leads nowhere, or is corrupt: the script sees to it.
    FOR_THE_SCRIPT = auto()


def get(engine: Engine, id: Id) -> Steps[Session | None]:
    """Reads a live session. An id that was rotated a moment ago leads to the session under its new id. Raises `Moved`
    for an id that a login replaced."""
    id = engine.partitions.id_of(id)
    found = yield from look_up(Call(engine.of_session(id)), id)
    return found and Session.of_record(*found)


def get_many(engine: Engine, ids: Iterable[Id]) -> Steps[list[Session | CloakroomError | None]]:
    """Reads any number of sessions together: what `get` would return or raise for each, in order."""
    return (yield from together(get(engine, id) for id in each_of("ids", ids)))


def explain(engine: Engine, id: Id) -> Steps[Explanation]:
    """Says what became of an id: for support staff, or for a page that says why the user must log in again."""
    id = engine.partitions.id_of(id)
    found = yield from stored_record(Call(engine.of_session(id)), id)
    if found is None:
        return Explanation("unknown")
    now, whole = found
    if whole.kind == "live" and whole.expires_at <= now:
        return Explanation("expired", at_ms=whole.expires_at)
    record = whole.unless_over(now)
    if record is None:
        return Explanation("unknown")
    if record.kind == "live":
        return Explanation("live")
    if record.kind == "departed":
        return Explanation("departed", place=record.place)
    if record.kind == "deleted" and not record.new_id:
        return Explanation("deleted")
    return Explanation("rotated", by_login=record.kind == "deleted")


def export(engine: Engine, id: Id) -> Steps[Export | None]:
    """Reads a live session, to import it into another store, with the operation ids of its last changes."""
    id = engine.partitions.id_of(id)
    found = yield from look_up(Call(engine.of_session(id)), id)
    return found and Export(Session.of_record(*found), found[1].op_ids)


def session_by_connection(engine: Engine, connection: str) -> Steps[Session | None]:
    """Reads the live session that has a connection."""
    check_required(connection=connection)
    if engine.is_one:
        found = yield from _by_connection(engine, connection, None)
    else:
        # A partition knows nothing of a connection's session in another, which it may have left without a word. Of
        # several the one that was changed last has it.
        parts = engine.everywhere()
        pointers = yield from all_of(_pointer(Call(each), connection) for each in parts)
        led = [(each, raw) for each, raw in zip(parts, pointers, strict=True) if raw is not None]
        several = yield from all_of(_by_connection(each, connection, raw) for each, raw in led)
        found = max(filter(None, several), key=lambda one: one[1].changed_at, default=None)
    return found and Session.of_record(*found)


def _pointer(call: Call, connection: str) -> Steps[bytes | None]:
    (raw,) = yield from call.read("connection", ["GET", call.engine.key("connection", connection=connection)])
    return raw  # type: ignore[no-any-return]


def _by_connection(engine: Engine, connection: str, raw: bytes | None) -> Steps[tuple[str, Record] | None]:
    """The same in one partition, where the pointer may have been read already."""
    call, passed = Call(engine), None
    # The pointer and the record must agree. But between the two the connection may have been taken over, and between
    # two looks it may have been there and back. So a pointer is stale only if it leads, read again, to the very version
    # of the session that did not have the connection before.
    while True:
        raw = (yield from _pointer(call, connection)) if raw is None else raw
        if raw is None:
            return None
        try:
            found = yield from look_up(call, id_of(raw, "connection"))
        except errors.Moved:
            found = None  # a login was faster than this look, and took the connection along
        if found and found[1].connection == connection:
            return found
        led = (raw, found and (found[0], found[1].version))
        if led == passed:
            return None
        raw, passed = None, led


def look_up(call: Call, id: str) -> Steps[tuple[str, Record] | None]:
    """The record of a live session, and the id that it has now."""
    for _ in range(2):
        found = yield from current(call, id)
        if found is None:
            return None
        _, record = found
        if record.kind == "live":
            return id, record
        if record.kind == "departed":
            raise errors.Departed(record.place)
        if record.kind == "deleted" and record.new_id:
            raise errors.Moved
        if record.kind != "moved":
            return None
        id = record.new_id
    # An id that was rotated away twice leads nowhere.
    return None


def current(call: Call, id: str) -> Steps[tuple[int, Record] | None]:
    """The time, and what is under an id, without what is over."""
    check_id(id)
    found = yield from stored_record(call, id)
    record = found and found[1].unless_over(found[0])
    return (found[0], record) if found and record else None


def stored_record(call: Call, id: str) -> Steps[tuple[int, Record] | None]:
    """The time, and what is under an id, even if it is over."""
    time, raw = yield from call.read("record", ["TIME"], ["GET", call.engine.key("session", id=id)])
    if raw is None:
        return None
    record = call.engine.bundle.layout.decode(raw)
    if record is None:
        raise errors.Corrupt("record")
    return call.engine.now(time), record


def list_(
    engine: Engine, *, user: str = "", node: str = "", size: int = 100, after: Cursor | None = None
) -> Steps[Page]:
    """Reads a page, of at most 500, of the live sessions of a user or node, oldest first, at one instant; each page is
    an instant of its own. It may hold fewer sessions than its size if its records would be larger than 2 MiB, or if it
    kept changing. It leaves out sessions whose records are corrupt. For a node, each partition has its own instant."""
    owner = _owner(user, node)
    check_integer("size", size, 1, 500)
    check_cursor(after)
    if user or engine.is_one:
        return (yield from _page_in(engine.of_user(user) if user else engine, owner, size, after))
    pages = yield from all_of(_page_in(each, owner, size, after) for each in engine.everywhere())
    return _merged(pages, size)


def _merged(pages: list[Page], size: int) -> Page:
    """One page out of several, oldest first: as far as all of them reach, and no more than it may have."""
    ends = [page.next for page in pages if page.next]
    end = min(ends, key=lambda end: (end.created_at_ms, end.id), default=None)
    all = [((session.created_at_ms, session.id), session) for page in pages for session in page.sessions]
    reached = [(place, session) for place, session in all if end is None or place <= (end.created_at_ms, end.id)]
    reached.sort(key=lambda placed: placed[0])
    if len(reached) > size:
        reached = reached[:size]
        end = Cursor(*reached[-1][0], ties=1)
    return Page([session for _, session in reached], end)


def _page_in(engine: Engine, owner: dict[str, str], size: int, after: Cursor | None) -> Steps[Page]:
    """A page of one partition."""
    call = Call(engine)
    key = engine.key(owner["kind"], **{owner["kind"]: owner["owner"]})
    for round in range(_PAGE_ROUNDS):
        page = yield from read_page(call, key, "owner", size, after)
        if not page.entries:
            return Page([], None)
        changed = "part"
        if round < _WHOLE_PAGE_ROUNDS:
            sessions = yield from _natively(call, owner, key, page, size)
            if isinstance(sessions, list):
                return Page(sessions, page.next(after))
            if sessions is _Unread.CHANGED:
                continue
            changed = "refuse"
        place: dict[str, Any] = {"from_ms": page.from_ms, "skip": page.skip, "page": page.size(size)}
        place |= {"changed": changed, "bytes": _PAGE_BYTES}
        reply = yield from call.run("list", {**owner, **place}, [{"id": id} for id in page.ids])
        if reply.word == "need":
            continue
        listing = _page(reply.one_of("ok", "part"), page, after)
        if listing:
            return listing
        # Of what cannot be named nothing is left to go on behind, unless some of it was dropped.
        if not reply.fields["dropped"]:
            raise errors.Corrupt("owner")
    raise errors.Contended(KEPT_CHANGING)


def _natively(
    call: Call, owner: dict[str, str], key: str, page: IndexPage, size: int
) -> Steps[list[Session] | _Unread]:
    """Reads a page again with its records, of each what it may have of 2 MiB: its live sessions."""
    last = _PAGE_BYTES // len(page.entries) - 1
    records: list[Command] = [["GETRANGE", stored(call.engine.key("session", id=id)), 0, last] for id in page.ids]
    read = yield from call.read_at_once(*records, page.again(key, size))
    if read is None:
        return _Unread.FOR_THE_SCRIPT
    now, (*raws, ids) = read
    if not page.has(ids):
        return _Unread.CHANGED
    sessions = []
    for (id, created_at), raw in zip(page.entries, raws, strict=True):
        record = call.engine.bundle.layout.decode(raw) if is_id(id) else None
        if record is None or record.kind != "live" or getattr(record, owner["kind"]) != owner["owner"]:
            return _Unread.FOR_THE_SCRIPT
        # Where it stands among the others is not where the session stood that had its id when the page was read.
        if record.created_at != created_at:
            return _Unread.CHANGED
        # An expired one keeps its entry until it is reaped as a whole.
        live = record.unless_over(now)
        if live:
            sessions.append(Session.of_record(id, live))
    return sessions


def _page(reply: Reply, page: IndexPage, after: Cursor | None) -> Page | None:
    """`None`: others follow, and nothing names where."""
    count, is_full = len(page.entries), page.is_full
    if reply.word == "part":
        if reply.fields["last_id"] not in page.ids:
            raise errors.Corrupt("reply that names another session")
        count, is_full = page.ids.index(reply.fields["last_id"]) + 1, True
    next = page.behind(count, after) if is_full else None
    if is_full and next is None:
        return None
    # One that cannot be read is passed over, as the script does; its entry stays.
    told = [(id, record) for id, record in reply.rest[0] if record and is_text(id)]
    return Page([Session.of_record(id, record) for id, record in told], next)


def _owner(user: str, node: str) -> dict[str, str]:
    check_names(user=user, node=node)
    if bool(user) == bool(node):
        raise errors.Invalid("user" if user else "node", "must be named where the other is not, and there alone")
    return {"kind": "user" if user else "node", "owner": user or node}


def count(engine: Engine, *, user: str = "", node: str = "") -> Steps[int]:
    """Counts the live sessions of a user or node: 1,000 at one instant."""
    owner = _owner(user, node)
    if user or engine.is_one:
        return (yield from _count_in(engine.of_user(user) if user else engine, owner))
    return sum((yield from all_of(_count_in(each, owner) for each in engine.everywhere())))


def _count_in(engine: Engine, owner: dict[str, str]) -> Steps[int]:
    values: dict[str, Any] = {**owner, "start": 0}
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
    """Lists sessions that expired before a time, by default now, and were not reaped, oldest first, without the first
    `skip`. At most 1,000."""
    check_integer("limit", limit, 1, _EXPIRED)
    check_instant("skip", skip)
    if before_ms is not None:
        check_instant("before_ms", before_ms)
    # What is no session id is left out, for the reaper to remove.
    if engine.is_one:
        page = yield from expired_page(Call(engine), before_ms, skip, limit)
    else:
        pages = yield from all_of(_first_expired(each, before_ms, skip + limit) for each in engine.everywhere())
        all_expired = [one for page in pages for one in page]
        page = sorted(all_expired, key=lambda one: (one[1], one[0]))[skip : skip + limit]
    return [Expired(id, expired_at) for id, expired_at in page if is_id(id)]


def _first_expired(engine: Engine, before_ms: int | None, wanted: int) -> Steps[list[tuple[str, int]]]:
    """So many of one partition."""
    call, found = Call(engine), list[tuple[str, int]]()
    while len(found) < wanted:
        size = min(_EXPIRED, wanted - len(found))
        page = yield from expired_page(call, before_ms, len(found), size)
        found += page
        if len(page) < size:
            break
    return found


def expired_page(call: Call, before_ms: int | None, skip: int, limit: int) -> Steps[list[tuple[str, int]]]:
    """The same, ids that are no texts included."""
    values = {"before_ms": before_ms, "skip": skip, "limit": limit}
    reply = (yield from call.run("expired", values)).ok()
    return [(id, expired_at) for id, expired_at in reply.rest[0]]


def page_of_user(call: Call, user: str, until: int | None, limit: int) -> Steps[tuple[int, list[str]]]:
    """When a user's newest session was made, by whatever the server's clock said then; and the user's oldest entries,
    of those up to a time if one is given."""
    key, most = call.engine.key("user", user=user), "+inf" if until is None else until
    page: Command = ["ZRANGEBYSCORE", key, "-inf", most, "LIMIT", 0, limit]
    last, ids = yield from call.read("user", ["ZRANGE", key, -1, -1, "WITHSCORES"], page)
    newest = max((made for _, made in entries_of(last)), default=0)
    return newest, [found(id) for id in ids]
