"""The steps that move a session from one store to another; `Store` and `AsyncStore` have them as methods.

In this order: `freeze` at the source, `import_` with an `Incoming` at the target, `depart` at the source, `thaw` of
the copy at the target, `clean` of what departed at the source. Any process that knows the task can retry each step.
The task is eight random bytes that the caller keeps, the same for all steps of one migration."""

from __future__ import annotations

from typing import Literal

from . import errors
from .arguments import check_bytes, check_instant, check_integer, check_names, check_word
from .bundle import found, is_text, stored
from .call import Call, Engine, Steps
from .changing import Target, at_target, values_of
from .duration import Duration, duration_ms
from .operation import Operation
from .reading import stored_record
from .record import Record
from .results import Export, Migration, Migrations, Outgoing, Thawed
from .session import Session
from .together import all_of
from .token import Id

#: How many sessions one script reads at most.
_BATCH = 200
_HOUR_MS = 3600 * 1000


def freeze(
    engine: Engine, session: Target, task: bytes, place: str, *, node: str = "", span: Duration = 30
) -> Steps[Outgoing | None]:
    """Freezes a live session that will move to another store, `place`: from now on callers can read and delete it, but
    not change it. The freeze ends by itself after `span`, an hour at most, unless the session departed. `node` is the
    node that gets it there; the freeze records it for the process that continues the migration: pass it in the
    `Incoming`. `None`: there is no live session. Raises `Frozen` when another task moves it, `Departed`."""
    check_bytes("task", task, 8)
    check_names(place=place, node=node)
    freeze_ms = duration_ms("span", span, 1, _HOUR_MS)
    values = {**values_of(engine, session), "task": task, "place": place, "new_node": node, "freeze_ms": freeze_ms}
    reply, _ = yield from Operation(at_target(engine, session)).settle("freeze", values)
    if reply.one_of("ok", "missing").word == "missing":
        return None
    record = reply.fields["record"]
    return Outgoing(Export(Session.of_record(values["id"], record), record.op_ids), reply.fields["frozen_until"])


def depart(engine: Engine, session: Target, task: bytes, until_ms: int) -> Steps[bool]:
    """Removes a session under the freeze that ends at `until_ms`, once its copy is in the other store. From here on
    the migration can only go forward, and callers learn where the session went. `False`: it was deleted or had expired
    before. Raises `Conflict` when that freeze is over, `Moved`, and `Departed` when another task took it."""
    check_bytes("task", task, 8)
    check_instant("until_ms", until_ms)
    values = {**values_of(engine, session), "task": task, "until_ms": until_ms}
    reply, _ = yield from Operation(at_target(engine, session)).settle("depart", values)
    return reply.one_of("ok", "missing").word == "ok"


def thaw(engine: Engine, session: Target, task: bytes, direction: Literal["outgoing", "incoming"]) -> Steps[Thawed]:
    """Ends the freeze of an outgoing session, to keep it after all, or of an incoming copy, but only once the session
    departed from its source. Raises `Frozen` when another task froze it or it moves the other way, `Moved`,
    `Departed`."""
    check_bytes("task", task, 8)
    check_word("direction", direction, "outgoing", "incoming")
    values = {**values_of(engine, session), "task": task, "direction": direction}
    reply, _ = yield from Operation(at_target(engine, session)).settle("thaw", values)
    outcomes = {"ok": Thawed.THAWED, "unchanged": Thawed.UNCHANGED, "missing": Thawed.MISSING}
    return outcomes[reply.one_of(*outcomes).word]


def clean(
    engine: Engine,
    session: Target,
    task: bytes,
    what: Literal["copy", "departed", "deleted"],
    *,
    until_ms: int | None = None,
) -> Steps[bool]:
    """Removes what a migration left that is not the session, and returns whether there was any. At the target, an
    unneeded `copy`: only once the session can no longer depart from its source under the freeze that ends at
    `until_ms`. At the source, the note of where it `departed` to: only once the copy was thawed. At the target, the
    note that the copy was `deleted`: only once the session is deleted at the source too."""
    check_bytes("task", task, 8)
    check_word("what", what, "copy", "departed", "deleted")
    if (what == "copy") != (until_ms is not None):
        raise errors.Invalid("until_ms", "is the end of the freeze that a copy was made under: of that alone")
    if until_ms is not None:
        check_instant("until_ms", until_ms)
    values = {**values_of(engine, session), "task": task, "what": what, "until_ms": until_ms}
    reply, _ = yield from Operation(at_target(engine, session)).settle("clean", values)
    return reply.one_of("ok", "unchanged").word == "ok"


def migrations(engine: Engine, *, skip: int = 0, limit: int = _BATCH) -> Steps[Migrations]:
    """Reads a page, of at most 200, of the sessions on their way to or from another store, ordered by the end of their
    freeze, without the first `skip`. Expired ones are left out."""
    check_instant("skip", skip)
    check_integer("limit", limit, 1, _BATCH)
    if engine.is_one:
        return (yield from _page(engine, skip, limit))
    # The lists of the partitions count one behind the other. A page is of one of them.
    parts, before = engine.everywhere(), 0
    lengths = yield from all_of(_length(each) for each in parts)
    for each, length in zip(parts, lengths, strict=True):
        if skip < before + length:
            page = yield from _page(each, skip - before, limit)
            if page.next is not None:
                return Migrations(page.migrations, before + page.next)
            # Those that led nowhere are gone from the list by now, and others may be.
            read = skip + len(page.migrations)
            return Migrations(page.migrations, read if before + length < sum(lengths) else None)
        before += length
    return Migrations([], None)


def _length(engine: Engine) -> Steps[int]:
    (length,) = yield from Call(engine).read("migrations", ["ZCARD", engine.key("migrations")])
    return int(length)


def _page(engine: Engine, skip: int, limit: int) -> Steps[Migrations]:
    """A page of one partition."""
    call = Call(engine)
    (raw,) = yield from call.read("migrations", ["ZRANGE", engine.key("migrations"), skip, skip + limit - 1])
    ids = [found(id) for id in raw]
    if not ids:
        return Migrations([], None)
    migrations = yield from _natively(call, ids)
    if migrations is not None:
        return Migrations(migrations, skip + limit if len(ids) == limit else None)
    reply = (yield from call.run("migrations", {}, [{"id": id} for id in ids])).ok()
    left = len(ids) - reply.fields["dropped"]
    # What cannot be told is passed over: it ends as its freeze does, and is reaped.
    told = [_migration(id, record) for id, record in reply.rest[0] if record and is_text(id)]
    return Migrations(told, skip + left if len(ids) == limit else None)


def _natively(call: Call, ids: list[str]) -> Steps[list[Migration] | None]:
    """Reads the records without the script. `None`: some entry may lead nowhere, and the script drops it then; or else
    the server does not read them so."""
    layout = call.engine.bundle.layout
    end = layout.head_size - 1
    read = yield from call.read_at_once(
        *(["GETRANGE", stored(call.engine.key("session", id=id)), 0, end] for id in ids)
    )
    if read is None:
        return None
    now, heads = read
    told = []
    for id, head in zip(ids, heads, strict=True):
        record = layout.decode_head(head) if is_text(id) else None
        if record is None or not _is_on_its_way(record):
            return None
        if (record.expires_at if record.kind == "live" else record.stored_until) > now:
            told.append(_migration(id, record))
    return told


def _is_on_its_way(record: Record) -> bool:
    if record.kind == "departed":
        return any(record.task)
    return record.freeze is not None and record.freeze.direction != "over"


def knows(engine: Engine, id: Id) -> Steps[bool]:
    """Returns whether anything is stored under an id: a session, live or expired, or a trace of one. When a session
    ends while another store may hold its copy, this store keeps a trace for as long as that copy could be stored. So
    `False` for a session that was about to leave means that this store has lost its data, and the copy may be all that
    is left."""
    id = engine.partitions.id_of(id)
    found = yield from stored_record(Call(engine.of_session(id)), id)
    return found is not None and (found[1].kind == "live" or found[1].stored_until > found[0])


def _migration(id: str, record: Record | None) -> Migration:
    if record and record.kind == "departed":
        return Migration(id, record.task, record.place, "departed", None)
    if record is None or record.freeze is None:
        raise errors.Corrupt("record")
    freeze = record.freeze
    if record.kind == "deleted":
        return Migration(id, freeze.task, freeze.place, "deleted", None)
    return Migration(id, freeze.task, freeze.place, freeze.direction, freeze.frozen_until, freeze.node)
