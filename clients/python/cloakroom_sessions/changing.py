"""The operations that change a session, as steps; `Store` and `AsyncStore` have them as methods.

A target is a copy of a session, or only its id or token: with a copy a change takes one round trip, else at most two.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from . import errors
from .arguments import check_flag, check_id, check_instant, check_kind, check_names, check_required, each_of
from .bundle import Reply
from .call import Engine, Steps
from .duration import Duration, of_ms
from .errors import CloakroomError
from .login import Login
from .operation import Operation, removed, told_name
from .operation_id import OperationId
from .patch import Patch
from .reading import look_up
from .results import Bound, Patched, Removed, Rotated, Unbound
from .rotation import Rotation
from .session import Routing, Session
from .together import together
from .token import Id, token_of

Target = Session | Id


def id_of(engine: Engine, target: Target) -> str:
    """The id of a session that is there."""
    if isinstance(target, Session):
        check_id(target.id)
        return target.id
    return engine.partitions.id_of(target)


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
    """Saves a whole session, if nobody changed it since you read it. Your copy gets the new version and times.
    A new ttl starts a new idle time. Raises `Missing`, `Conflict`, `Taken`, `TooLarge`, `Frozen`."""
    check_kind("session", session, Session)
    ttl_ms = session.ttl_ms
    values = {
        **values_of(engine, session),
        **session.new_routing(),
        "version": session.version,
        "status": session.status,
        "ttl_ms": ttl_ms,
        "entries": session.check(engine.bundle.layout, engine.rules),
    }
    engine.partitions.check(session.id, session.user)
    saved_routing = session.routing
    reply, _ = yield from Operation(at_target(engine, session)).settle("update", values)
    saved = reply.ok().fields
    session.id, session.stored, session.version = id_since(reply, values), saved_routing, saved["version"]
    session.last_active_ms, session.expires_at_ms = saved["last_active"], saved["expires_at"]
    session.ttl = of_ms(ttl_ms)


def patch(
    engine: Engine,
    session: Target,
    *,
    set: Mapping[str, Any] | None = None,
    remove: Iterable[str] = (),
    set_extensions: Mapping[str, Any] | None = None,
    remove_extensions: Iterable[str] = (),
    status: Literal["active", "suspended"] | None = None,
    ttl: Duration | None = None,
    lifetime: Duration | None = None,
    version: int | None = None,
) -> Steps[Patched]:
    """Changes single attributes and extensions, status, ttl, or how long the session lives at most from now on; with
    `version` only at that one. Patches of different attributes never conflict. Raises `Missing`, `Conflict`,
    `TooLarge`, `Frozen`."""
    if version is not None:
        check_instant("version", version)
    patch = Patch.of(
        engine.rules,
        set=set,
        remove=remove,
        set_extensions=set_extensions,
        remove_extensions=remove_extensions,
        status=status,
        ttl=ttl,
        lifetime=lifetime,
    )
    values = {
        **values_of(engine, session),
        "version": version,
        "status": patch.status,
        "ttl_ms": patch.ttl_ms,
        "new_lifetime_ms": patch.lifetime_ms,
        "changes": engine.bundle.layout.encode_entries(patch.entries),
    }
    reply, _ = yield from Operation(at_target(engine, session)).settle("patch", values)
    patched = reply.one_of("ok", "unchanged").fields
    return Patched(
        id=id_since(reply, values),
        version=patched["version"],
        last_active_ms=patched["last_active"],
        expires_at_ms=patched["expires_at"],
        changed=reply.word == "ok",
        _patch=patch,
    )


def rotate(
    engine: Engine,
    session: Target,
    *,
    user: str | None = None,
    anonymous: bool = False,
    new_id: Id | None = None,
    ttl: Duration | None = None,
    lifetime: Duration | None = None,
    keep_deadline: bool = False,
    set: Mapping[str, Any] | None = None,
    remove: Iterable[str] = (),
    set_extensions: Mapping[str, Any] | None = None,
    remove_extensions: Iterable[str] = (),
) -> Steps[Rotated]:
    """Gives a live session a new id. In the same step it can set a user, which is a login, or with `anonymous` remove
    the user, which is a logout that keeps the session's data; and change `ttl`, `lifetime` and entries. A login or
    logout starts the longest lifetime of the rules again, unless `keep_deadline`. For a while the old id leads to the
    session, but not if the user changes. Two rotations at once end with one new id, and both callers learn it. The
    second of two logins at once is refused with `Moved`; so is the second of any two rotations if clients hold tokens.
    A login of a user who is in another partition takes several steps, see docs/partitions.md. Raises `Missing`,
    `Exists` for the new id, `Limit`, `TooLarge`, `Frozen`."""
    patch = Patch.of(
        engine.rules,
        set=set,
        remove=remove,
        set_extensions=set_extensions,
        remove_extensions=remove_extensions,
        ttl=ttl,
        lifetime=lifetime,
    )
    rotation = Rotation(user, anonymous, keep_deadline, patch)
    engine, partitions = at_target(engine, session), engine.partitions
    home = partitions.of(user) if user else engine.partition
    if home != engine.partition:
        return (yield from _log_in_elsewhere(engine, session, rotation, new_id))
    operation = Operation(engine)
    chosen = partitions.new_id_in(home, operation.id) if new_id is None else new_id
    id = partitions.id_of(chosen, "new_id")
    partitions.check_in(home, id)
    values = {
        **values_of(engine, session),
        "new_id": id,
        "new_user": user or "",
        "becomes": "anonymous" if anonymous else "",
        "new_ttl_ms": patch.ttl_ms,
        "new_lifetime_ms": rotation.lifetime_ms(engine.rules),
        "changes": engine.bundle.layout.encode_entries(patch.entries),
    }
    reply, victims = yield from operation.settle("rotate", values)
    if reply.word == "moved" and partitions.id_scheme == "token":
        raise errors.Moved  # its client is to hold a token, which the other rotation has
    if reply.word == "moved":
        operation.enter(reply.fields["new_id"])
        with operation.doubting():
            found = yield from look_up(operation, reply.fields["new_id"])
            if found is None:
                raise errors.Missing
        return Rotated(Session.of_record(*found), [], by_another=True)
    rotated = Session.of_record(id, reply.ok().fields["record"])
    return Rotated(rotated, operation.evicted(reply.rest[0], victims), by_another=False, token=token_of(chosen))


def _log_in_elsewhere(engine: Engine, target: Target, rotation: Rotation, new_id: Id | None) -> Steps[Rotated]:
    user = rotation.user or ""
    operation_id, partitions = engine.operation_id or OperationId.random(), engine.partitions
    chosen = partitions.new_id(operation_id, user) if new_id is None else new_id
    id = partitions.id_of(chosen, "new_id")
    partitions.check(id, user)
    engine = engine.bounded()
    login = Login(
        source=engine,
        target=engine.of_user(user),
        old=values_of(engine, target),
        new_id=id,
        token=token_of(chosen),
        rotation=rotation,
        operation=operation_id,
    )
    return (yield from login.run())


def bind(engine: Engine, session: Target, connection: str, *, node: str = "", take_over: bool = False) -> Steps[Bound]:
    """Attaches a connection, and the node that holds it, to a live session, and makes it active. On request it takes
    the connection over from another session. Raises `Missing`, `Taken`, `Frozen`."""
    check_required(connection=connection)
    check_names(node=node)
    check_flag("take_over", take_over)
    node = engine.named(node)
    operation = Operation(at_target(engine, session))
    policy = "takeover" if take_over else "refuse"
    values = {**values_of(engine, session), "new_connection": connection, "new_node": node, "policy": policy}
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


def unbind(engine: Engine, session: Target, connection: str) -> Steps[Unbound]:
    """Detaches a connection and its node from a session, and suspends it. It does so only if the session still has
    that connection, so the late disconnect of an old connection does nothing. Raises `Frozen`."""
    check_required(connection=connection)
    values = {**values_of(engine, session), "connection": connection}
    reply, _ = yield from Operation(at_target(engine, session)).settle("unbind", values)
    outcomes = {"ok": Unbound.DETACHED, "unchanged": Unbound.NOT_BOUND, "missing": Unbound.MISSING}
    return outcomes[reply.one_of(*outcomes).word]


def delete(engine: Engine, session: Target) -> Steps[Removed | None]:
    """Deletes a live session with every index entry, and returns what it removed: close its connection. `None`: there
    was no live session. For a while nobody can create a session under the same id."""
    values = values_of(engine, session)
    reply, _ = yield from Operation(at_target(engine, session)).settle("delete", values)
    if reply.one_of("ok", "missing").word == "missing":
        return None
    return removed(values)


def delete_many(engine: Engine, sessions: Iterable[Target]) -> Steps[list[Removed | CloakroomError | None]]:
    """Deletes any number of sessions together: what `delete` would return or raise for each, in order."""
    return (yield from together(delete(engine, session) for session in each_of("sessions", sessions)))
