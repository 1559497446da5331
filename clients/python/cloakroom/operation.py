"""One call of a store, with all that a script says it needs: owners that it did not name, and other sessions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from . import errors
from .bundle import Reply
from .call import KEPT_CHANGING, Call, Engine, Steps
from .results import Removed
from .session import Session

Members = list[dict[str, str]]

#: How often a script may say that it needs something else, others being faster each time, before the call gives up.
_ROUNDS = 128


@dataclass
class Batch:
    """What became of a batch of sessions."""

    removed: list[Any]
    #: Changed between the reading and the script: to be tried again.
    stale: list[str]
    corrupt: list[str]
    dropped: int = 0


class Operation(Call):
    """One call, with what it had to remove."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        #: Removed while making room.
        self.removed: list[Removed] = []
        #: Expired sessions that were in the way, reaped.
        self.reaped: list[Session] = []

    def settle(self, stem: str, values: dict[str, Any]) -> Steps[tuple[Reply, Members]]:
        """Runs a script until it has all that it needs: its answer, and the members of its group that were declared.
        What it needed is set in the values, and so is the id under which the session was found."""
        script = self.engine.bundle.scripts[stem]
        members: Members = []
        followed, rounds = False, 0
        while rounds < _ROUNDS:
            reply = yield from self.run(stem, values, members)
            if reply.word == "need":
                need = script.needs[reply.kind]
                if "declare" in need:
                    members = yield from self._declare(need["declare"], reply.rest[0])
                if not (yield from self._supply(need, reply, values)):
                    rounds += 1
            elif reply.word == "moved" and script.follows_moved:
                # An id that was rotated away twice leads nowhere.
                if followed:
                    self.check_sure()
                    return Reply("missing", {}, []), members
                values["id"], followed = reply.fields["new_id"], True
            else:
                return reply, members
        with self.doubting():
            raise errors.Contended(KEPT_CHANGING)

    def _supply(self, need: dict[str, Any], reply: Reply, values: dict[str, Any]) -> Steps[bool]:
        """Does what a script asked for, and tells whether sessions went that were in the way, which is progress: a user
        with thousands of sessions takes many rounds."""
        for name in need.get("set", ()):
            values[name] = reply.fields[name]
        if need.get("run") == "reap":
            expired = yield from self.reap([reply.fields["id"]])
            self.reaped += expired.removed
            if expired.corrupt:
                raise errors.Corrupt("record")
            return bool(expired.removed)
        if need.get("run") == "delete_user":
            surplus = [id for (id,) in reply.rest[0]]
            batch = yield from self.remove(values[need["of"]], surplus)
            self.removed += batch.removed
            return len(batch.stale) + len(batch.corrupt) < len(surplus)
        return False

    def _declare(self, group: str, ids: list[tuple[str]]) -> Steps[Members]:
        members, broken = yield from self.candidates([id for (id,) in ids])
        if broken:
            raise errors.Corrupt(group)
        return members

    def evicted(self, ids: list[tuple[str]], members: Members) -> list[Removed]:
        """All that was removed for the limit: before the call, and by it, as the rest of its reply names them."""
        return self.removed + [removed_of(members, id) for (id,) in ids]

    def candidates(self, ids: list[str]) -> Steps[tuple[Members, list[str]]]:
        """Where sessions are indexed; and those whose records cannot be read, so that nobody knows. What has no record
        of a session is indexed nowhere that we know."""
        members: Members = []
        broken: list[str] = []
        if not ids:
            return members, broken
        # MGET, because it reads a foreign type as absent, which the script then finds out.
        keys = [self.engine.key("session", id=id) for id in ids]
        (raws,) = yield from self.read("record", ["MGET", *keys])
        for id, raw in zip(ids, raws, strict=True):
            record = self.engine.bundle.layout.decode(raw) if raw is not None else None
            if raw is not None and record is None:
                broken.append(id)
            elif record and record.kind == "live":
                routing = {"user": record.user, "connection": record.connection, "node": record.node}
                members.append({"id": id, **routing})
            else:
                members.append({"id": id, "user": "", "connection": "", "node": ""})
        return members, broken

    def reap(self, ids: list[str]) -> Steps[Batch]:
        """Removes those that have expired. One that lives again survives."""
        members, broken = yield from self.candidates(ids)
        reply = (yield from self.run("reap", {}, members)).ok()
        removed, stale, corrupt = reply.rest
        sessions = [Session.of_record(id, record) for id, record in removed]
        return _batch(ids, sessions, stale, corrupt, broken, reply.fields["dropped"])

    def remove(self, user: str, ids: list[str]) -> Steps[Batch]:
        """Removes sessions of a user, live or expired."""
        members, broken = yield from self.candidates(ids)
        reply = (yield from self.run("delete_user", {"user": user}, members)).ok()
        removed, stale, corrupt = reply.rest
        return _batch(ids, [removed_of(members, id) for (id,) in removed], stale, corrupt, broken)


def removed_of(members: Members, id: str) -> Removed:
    """A removed session that a script names, with what was declared of it."""
    for member in members:
        if member["id"] == id:
            return Removed(id, member["connection"], member["node"])
    raise errors.Corrupt("reply that names another session")


def _batch(
    ids: list[str],
    removed: list[Any],
    stale: list[tuple[str]],
    corrupt: list[tuple[str]],
    broken: list[str],
    dropped: int = 0,
) -> Batch:
    bad = {id for (id,) in corrupt}.union(broken)
    return Batch(removed, [id for (id,) in stale], [id for id in ids if id in bad], dropped)
