"""A login of a user who is in another partition than the session: three calls, for no script reaches two partitions.
Each may be repeated, under the one operation id of the login.

1. A copy is brought in under a new id, with the user: it has no more than a minute to live, and nobody knows its id.
   Its connection does not lead to it yet.
2. The old id is left, at the version that was copied. This is the login: before it the old session is as it was, after
   it the copy is the session.
3. The session gets its whole idle time, after its connection if it had one.

Whatever dies between two of them, the old id never has the user's rights, and what nobody knows is gone in a minute.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from . import errors
from .call import KEPT_CHANGING, Engine, Steps
from .duration import of_ms
from .making import import_values
from .operation import Operation
from .operation_id import OperationId
from .reading import current, look_up
from .record import Record
from .results import Export, Removed, Rotated
from .rotation import Rotation
from .session import Routing, Session
from .token import Token

#: How long a copy lives at most that does not become the session, in milliseconds.
_COPY_LIVES_MS = 60_000
#: How long a copy has to live on at least for the old id to be left.
_TIME_TO_LEAVE_MS = 10_000
#: How often a session may change between the copy and the login.
_ROUNDS = 32
_COPY_IS_GONE = "not executed: the copy of an earlier attempt has expired, log in under another operation id"


@dataclass(frozen=True)
class Login:
    """One login."""

    #: In the partition of the session, and in that of the user, by one deadline.
    source: Engine
    target: Engine
    old: dict[str, str]
    new_id: str
    #: Of which the new id is the hash, if it is.
    token: Token | None
    rotation: Rotation
    operation: OperationId

    def run(self) -> Steps[Rotated]:
        """Logs in. Where it may have happened, the error has the operation id of the login."""
        try:
            return (yield from self._run())
        except errors.Ambiguous as error:
            raise errors.Ambiguous(self.operation.of_a_repeat(), error.why) from error

    def _run(self) -> Steps[Rotated]:
        evicted: list[Removed] = []
        for _ in range(_ROUNDS):
            copy, values, version = None, self.old, 0  # no session is at version 0
            found = yield from current(self._step(self.source), self.old["id"])
            if found and found[1].kind == "live":
                now, record = found
                session = Session.of_record(self.old["id"], record)
                if record.freeze:
                    raise errors.Frozen
                copy = self._copy_of(session, now)
                evicted += yield from self._bring(copy, record, session.version)
                if self.source.operation_id is not None:
                    yield from self._require_copy()
                values, version = {"id": session.id, **session.stored._asdict()}, session.version
            elif found and found[1].kind == "moved":
                return (yield from self._rotated_by_another(found[1].new_id))
            elif found and found[1].kind == "departed":
                raise errors.Departed(found[1].place)
            # What is gone may have been left by this very login.
            try:
                yield from self._leave(values, version)
            except errors.Conflict:
                continue  # it changed since it was copied
            except errors.Moved as moved:
                if moved.new_id is None:
                    raise
                return (yield from self._rotated_by_another(moved.new_id))
            with self._happened():
                return Rotated((yield from self._complete(copy, values)), evicted, by_another=False, token=self.token)
        raise errors.Contended(KEPT_CHANGING)

    def _step(self, engine: Engine, id: OperationId | None = None) -> Operation:
        """A call of the login."""
        operation = Operation(replace(engine, operation_id=id or self.operation))
        operation.changes()
        return operation

    def _copy_of(self, session: Session, now: int) -> Session:
        """The session as it will be, but for its connection and its short life."""
        patch, lifetime_ms = self.rotation.patch, self.rotation.lifetime_ms(self.source.rules)
        deadline_ms = session.deadline_ms if lifetime_ms is None else lifetime_ms and now + lifetime_ms
        ends = (session.expires_at_ms, now + _COPY_LIVES_MS, deadline_ms)
        patch.apply_entries(session)
        return replace(
            session,
            id=self.new_id,
            user=self.rotation.user or "",
            connection="",
            version=session.version + 1,
            ttl=session.ttl if patch.ttl_ms is None else of_ms(patch.ttl_ms),
            deadline_ms=deadline_ms,
            expires_at_ms=min(filter(None, ends)),
            stored=Routing(),
        )

    def _bring(self, copy: Session, record: Record, of: int) -> Steps[list[Removed]]:
        """Brings the copy of a version in, and returns those that the user has too many of. It takes the place of
        nothing but an earlier copy of this login."""
        export = Export(copy, record.op_ids)
        try:
            try:
                return (yield from self._import(export, 0, of))
            except errors.Conflict as conflict:
                if not (yield from self._is_own_copy(conflict.version)):
                    raise
                return (yield from self._import(export, conflict.version, of))
        except (errors.Conflict, errors.Moved):
            raise errors.Exists from None  # another session has the new id

    def _import(self, export: Export, replaces: int, of: int) -> Steps[list[Removed]]:
        operation, rules = self._step(self.target, self._id_of_copy(of)), self.target.rules
        limit = {"login_limit": rules.arguments["limit"], "login_policy": rules.arguments["policy"]}
        values = {**import_values(self.target, export, replaces), **limit}
        try:
            reply, victims = yield from operation.settle("import", values)
        except errors.NotExecuted as error:
            # A login that may have happened stays in doubt where nobody can be asked.
            if self.operation.is_of_a_repeat:
                raise errors.Ambiguous(self.operation) from error
            raise
        reply.one_of("ok", "unchanged")
        return operation.evicted(reply.rest[0], victims) if reply.word == "ok" else []

    def _id_of_copy(self, of: int) -> OperationId:
        """Under which id the copy of a version is brought in: each has its own, or a later one would be taken for an
        earlier. That what is there is its own earlier copy the login looks up, so the call needs no bound from before
        the login: by such a one a copy that was brought in since could not tell of it."""
        return self.operation.nth(of).of_a_first_call()

    def _is_own_copy(self, version: int) -> Steps[bool]:
        """Whether what is under the new id is a copy that this login brought in, and at that version."""
        found = yield from look_up(self._step(self.target), self.new_id)
        if found is None or found[1].version != version:
            return False
        changes = found[1].op_ids
        own = self._id_of_copy(version - 1).stored
        return any(changes[at : at + len(own)] == own for at in range(0, len(changes), len(own)))

    def _require_copy(self) -> Steps[None]:
        """A login that is repeated after long may be told of a copy that has expired since, or was logged out. Nothing
        is left for that."""
        found = yield from current(self._step(self.target), self.new_id)
        if found and found[1].kind == "live" and found[1].expires_at > found[0] + _TIME_TO_LEAVE_MS:
            return
        raise errors.Contended(_COPY_IS_GONE)

    def _leave(self, values: dict[str, str], version: int) -> Steps[None]:
        own = {"version": version, "new_id": self.new_id, "tombstone_ms": self.source.rules.rotation_grace_ms}
        reply, _ = yield from self._step(self.source).settle("delete", {**values, **own})
        reply.ok()

    @contextmanager
    def _happened(self) -> Iterator[None]:
        """An error after the login has happened: it is to be repeated, before the session ends; unless that is gone
        again."""
        try:
            yield
        except (errors.Missing, errors.Ambiguous):
            raise
        except errors.CloakroomError as error:
            raise errors.Ambiguous(self.operation.of_a_repeat()) from error

    def _complete(self, copy: Session | None, was: dict[str, str]) -> Steps[Session]:
        """The session with the connection that it had, if that is known, and its whole idle time. A login that is
        repeated may have come so far before."""
        session = copy
        if session is None:
            found = yield from look_up(self._step(self.target), self.new_id)
            if found is None:
                raise errors.Missing
            session = Session.of_record(*found)
        routing = session.routing
        if was["connection"] and not routing.connection:
            routing = yield from self._bind(routing, was)
        values = {"id": self.new_id, **routing._asdict(), "threshold": 1000, "touch_ms": 0, "want": "record"}
        reply, _ = yield from self._step(self.target).settle("refresh", values)
        return Session.of_record(values["id"], reply.one_of("ok", "unchanged").fields["record"])

    def _bind(self, routing: Routing, was: dict[str, str]) -> Steps[Routing]:
        # Under an id of its own, for a session that was brought in tells of no other call whether it has happened. And
        # what has no connection was not bound.
        operation = self._step(self.target, OperationId.random())
        binding = {"new_connection": was["connection"], "new_node": was["node"], "policy": "refuse"}
        reply, _ = yield from operation.settle("bind", {"id": self.new_id, **routing._asdict(), **binding})
        if reply.word == "taken":
            return routing  # another session of this partition has it by now, and keeps it
        reply.one_of("ok", "unchanged")
        return routing._replace(connection=was["connection"], node=was["node"])

    def _rotated_by_another(self, id: str) -> Steps[Rotated]:
        if self.source.partitions.id_scheme == "token":
            raise errors.Moved
        found = yield from look_up(self._step(self.source), id)
        if found is None:
            raise errors.Missing
        return Rotated(Session.of_record(*found), [], by_another=True)
