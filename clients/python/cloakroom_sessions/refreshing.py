"""The operations that use a session, as steps; `Store` and `AsyncStore` have them as methods.

Most refreshes come within the touch interval and write nothing. So a read comes first if the script may have nothing
to write. The script decides everything else: sessions that are frozen, rotated or corrupt."""

from __future__ import annotations

from collections.abc import Iterable

from .arguments import each_of
from .bundle import Command, Reply
from .call import Engine, Steps
from .changing import Target, at_target, id_of, values_of
from .errors import CloakroomError
from .operation import Operation
from .results import Refreshed
from .session import Session
from .together import together


def refresh(engine: Engine, session: Target) -> Steps[Refreshed | None]:
    """Records a use of a live session, and extends it when enough of its idle time has passed. `None`: there is no live
    session. Raises `Frozen`."""
    operation = Operation(at_target(engine, session))
    operation.changes()
    if _may_be_untouched(engine, session):
        untouched = yield from _untouched(operation, id_of(engine, session))
        if untouched:
            return untouched
    found = yield from _refresh(operation, session, "times")
    if found is None:
        return None
    id, reply = found
    times = reply.fields
    return Refreshed(id, times["version"], times["last_active"], times["expires_at"], reply.word == "ok")


def refresh_many(engine: Engine, sessions: Iterable[Target]) -> Steps[list[Refreshed | CloakroomError | None]]:
    """Refreshes any number of sessions together: what `refresh` would return or raise for each, in order."""
    return (yield from together(refresh(engine, session) for session in each_of("sessions", sessions)))


def refresh_and_get(engine: Engine, session: Target) -> Steps[Session | None]:
    """Refreshes a session and returns it: the first call of a web request. It takes one round trip if you pass a copy,
    or within the touch interval; otherwise two. Raises `Frozen`."""
    operation = Operation(at_target(engine, session))
    operation.changes()
    if _may_be_untouched(engine, session):
        is_clear, current = yield from _look(operation, id_of(engine, session))
        if is_clear:
            return current
    found = yield from _refresh(operation, session, "record")
    return found and Session.of_record(found[0], found[1].fields["record"])


def _refresh(operation: Operation, target: Target, want: str) -> Steps[tuple[str, Reply] | None]:
    values = {**values_of(operation.engine, target), "want": want}
    reply, _ = yield from operation.settle("refresh", values)
    if reply.word == "missing":
        return None
    return values["id"], reply.one_of("ok", "unchanged")


def _may_be_untouched(engine: Engine, target: Target) -> bool:
    """Whether the script may have nothing to write, as far as that can be told before anything is read. A node's lease
    only the script can ask for."""
    if engine.rules.touch_ms == 0 or engine.identity:
        return False
    now = engine.known_time()
    if now is None or not isinstance(target, Session):
        return True
    return not engine.rules.is_touch_due(target.last_active_ms, target.expires_at_ms, now)


def _untouched(operation: Operation, id: str) -> Steps[Refreshed | None]:
    """What a refresh returns that has nothing to write. `None`: the script has to tell."""
    engine, layout = operation.engine, operation.engine.bundle.layout
    beginning: Command = ["GETRANGE", engine.key("session", id=id), 0, layout.usage_size - 1]
    time, raw = yield from operation.read("record", ["TIME"], beginning)
    now, usage = engine.now(time), layout.usage(raw)
    if usage is None or engine.rules.is_touch_due(usage.last_active, usage.expires_at, now):
        return None
    return Refreshed(id, *usage, changed=False)


def _look(operation: Operation, id: str) -> Steps[tuple[bool, Session | None]]:
    """Whether a read tells what a refresh has to return, and that."""
    engine = operation.engine
    time, raw = yield from operation.read("record", ["TIME"], ["GET", engine.key("session", id=id)])
    now = engine.now(time)
    if raw is None:
        return True, None
    record = engine.bundle.layout.decode(raw)
    if record is None or (record.kind == "live" and record.freeze and record.freeze.direction != "over"):
        return False, None
    record = record.unless_over(now)
    if record is None or (record.kind == "deleted" and not record.new_id):
        return True, None
    if record.kind != "live" or engine.rules.is_touch_due(record.last_active, record.expires_at, now):
        return False, None
    return True, Session.of_record(id, record)
