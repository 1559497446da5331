"""The operations that change a session, as steps; `Store` and `AsyncStore` have them as methods.

A target is a session in hand or only its id or token: with the session a change takes one round trip, else at most two.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from . import errors
from .bundle import Reply
from .call import Engine, Steps
from .errors import CloakroomError
from .login import Login
from .operation import Operation, told_name
from .operation_id import OperationId
from .reading import get
from .record import Entry
from .results import Bound, Patched, Rotated, Unbound
from .rules import LONGEST_MS, check_names, check_range, check_required
from .session import Routing, Session, check_entry, to_json
from .together import together
from .token import Id, token_of

Target = Session | Id


def id_of(engine: Engine, target: Target) -> str:
    """The id of a session that is there."""
    return target.id if isinstance(target, Session) else engine.partitions.id_of(target)


def values_of(engine: Engine, target: Target) -> dict[str, Any]:
    """What is known of a session that is there; the script says what else it needs."""
    known = target.stored if isinstance(target, Session) else Routing()
    return {"id": id_of(engine, target), **known._asdict()}


def at_target(engine: Engine, target: Target) -> Engine:
    """The partition that a session is in."""
    return engine.of_session(id_of(engine, target))


def id_since(reply: Reply, values: dict[str, Any]) -> str:
    """The id that a session has by now: that of the reply, if it was rotated since the call changed it."""
    id: str = reply.fields.get("new_id", values["id"])
    return id


def update(engine: Engine, session: Session) -> Steps[None]:
    """Saves a whole session, if nobody changed it since it was read. The copy in hand takes the new version and times.
    A new ttl starts a new idle time. Raises `Missing`, `Conflict`, `Taken`, `TooLarge`, `Frozen`."""
    values = {
        **values_of(engine, session),
        **session.new_routing(),
        "version": session.version,
        "status": session.status,
        "ttl_ms": session.ttl_ms,
        "entries": session.check(engine.bundle.layout, engine.rules),
    }
    engine.partitions.check(session.id, session.user)
    saved_routing = session.routing
    reply, _ = yield from Operation(at_target(engine, session)).settle("update", values)
    saved = reply.ok().fields
    session.id, session.stored, session.version = id_since(reply, values), saved_routing, saved["version"]
    session.last_active_ms, session.expires_at_ms = saved["last_active"], saved["expires_at"]


def patch(
    engine: Engine,
    target: Target,
    *,
    set: Mapping[str, Any] | None = None,
    remove: Iterable[str] = (),
    set_extensions: Mapping[str, Any] | None = None,
    remove_extensions: Iterable[str] = (),
    status: Literal["active", "suspended"] | None = None,
    ttl_ms: int | None = None,
    version: int | None = None,
) -> Steps[Patched]:
    """Changes single attributes and extensions, status or ttl; with `version` only at that one. Patches of different
    attributes never conflict. Raises `Missing`, `Conflict`, `TooLarge`, `Frozen`."""
    if ttl_ms is not None:
        check_range("ttl_ms", ttl_ms, 1, LONGEST_MS)
    changes = [Entry("attribute", key, to_json(key, value)) for key, value in (set or {}).items()]
    changes += [Entry("attribute", key, "") for key in remove]
    changes += [Entry("extension", key, to_json(key, value)) for key, value in (set_extensions or {}).items()]
    changes += [Entry("extension", key, "") for key in remove_extensions]
    check_range("changes", len(changes), 0, engine.rules.entries_most)
    encoded = engine.bundle.layout.encode_entries([check_entry(engine.rules, change) for change in changes])
    values = {**values_of(engine, target), "version": version, "status": status, "ttl_ms": ttl_ms, "changes": encoded}
    reply, _ = yield from Operation(at_target(engine, target)).settle("patch", values)
    patched = reply.one_of("ok", "unchanged").fields
    return Patched(id_since(reply, values), patched["version"], patched["expires_at"], reply.word == "ok")


def rotate(engine: Engine, target: Target, *, user: str = "", new_id: Id | None = None) -> Steps[Rotated]:
    """Gives a live session a new id, keeping its data, and makes it a user's in the same step: what a login does, from
    which on a lifetime begins anew. For a while the old id leads to the session, but not when the user changes. Two
    rotations at once end with one new id, which both callers learn; of two logins at once the second is refused with
    `Moved`, and so it is of any two where clients hold tokens. A login of a user who is in another partition takes
    several steps, see docs/partitions.md.
    Raises `Missing`, `Exists` for the new id, `Limit`, `Frozen`."""
    check_names(user=user)
    engine, partitions = at_target(engine, target), engine.partitions
    home = partitions.of(user) if user else engine.partition
    if home != engine.partition:
        return (yield from _log_in_elsewhere(engine, target, user, new_id))
    operation = Operation(engine)
    chosen = partitions.new_id_in(home, operation.id) if new_id is None else new_id
    id = partitions.id_of(chosen)
    partitions.check_in(home, id)
    # A login begins a lifetime, if the rules have one.
    lifetime_ms = engine.rules.lifetime_ms if user else None
    values = {**values_of(engine, target), "new_id": id, "new_user": user, "new_lifetime_ms": lifetime_ms}
    reply, victims = yield from operation.settle("rotate", values)
    if reply.word == "moved" and partitions.id_scheme == "token":
        raise errors.Moved  # its client is to hold a token, which the other rotation has
    if reply.word == "moved":
        with operation.doubting():
            session = yield from get(engine, reply.fields["new_id"])
            if session is None:
                raise errors.Missing
        return Rotated(session, [], by_another=True)
    session = Session.of_record(id, reply.ok().fields["record"])
    return Rotated(session, operation.evicted(reply.rest[0], victims), by_another=False, token=token_of(chosen))


def _log_in_elsewhere(engine: Engine, target: Target, user: str, new_id: Id | None) -> Steps[Rotated]:
    operation_id, partitions = engine.operation_id or OperationId.random(), engine.partitions
    chosen = partitions.new_id(operation_id, user) if new_id is None else new_id
    id = partitions.id_of(chosen)
    partitions.check(id, user)
    login = Login(
        source=engine,
        target=engine.of_user(user),
        old=values_of(engine, target),
        new_id=id,
        token=token_of(chosen),
        user=user,
        operation=operation_id,
        deadline=time.monotonic() + engine.deadline_s,
    )
    return (yield from login.run())


def bind(engine: Engine, target: Target, connection: str, *, node: str = "", take_over: bool = False) -> Steps[Bound]:
    """Attaches a connection, and the node that holds it, to a live session, which becomes active. Another session's is
    taken over if asked. Raises `Missing`, `Taken`, `Frozen`."""
    check_required(connection=connection)
    check_names(node=node)
    node = engine.named(node)
    operation = Operation(at_target(engine, target))
    policy = "takeover" if take_over else "refuse"
    values = {**values_of(engine, target), "new_connection": connection, "new_node": node, "policy": policy}
    reply, _ = yield from operation.settle("bind", values)
    bound = reply.one_of("ok", "unchanged").fields
    # Another call under the same operation id may have declared otherwise.
    is_known = not operation.is_again or operation.is_the_only_one
    return Bound(
        id=id_since(reply, values),
        version=bound["version"],
        previous_connection=bound["connection"] if is_known else "",
        previous_node=bound["node"] if is_known else "",
        taken_from=told_name(bound["holder_id"]),
        reaped=operation.reaped,
        changed=reply.word == "ok",
    )


def unbind(engine: Engine, target: Target, connection: str) -> Steps[Unbound]:
    """Detaches a connection and its node from a session, which becomes suspended; but only if the session still has
    that connection, so the late disconnect of an old one does nothing. Raises `Frozen`."""
    check_required(connection=connection)
    values = {**values_of(engine, target), "connection": connection}
    reply, _ = yield from Operation(at_target(engine, target)).settle("unbind", values)
    outcomes = {"ok": Unbound.DETACHED, "unchanged": Unbound.NOT_BOUND, "missing": Unbound.MISSING}
    return outcomes[reply.one_of(*outcomes).word]


def delete(engine: Engine, target: Target) -> Steps[bool]:
    """Deletes a live session with every index entry, and tells whether there was one. For a while its id cannot be
    created again."""
    reply, _ = yield from Operation(at_target(engine, target)).settle("delete", values_of(engine, target))
    return reply.one_of("ok", "missing").word == "ok"


def delete_many(engine: Engine, targets: Iterable[Target]) -> Steps[list[bool | CloakroomError]]:
    """Deletes any number of sessions together: what `delete` would return or raise for each, in order."""
    return (yield from together(delete(engine, target) for target in targets))
