"""One call of a store, with all that a script says it needs: owners that it did not name, and other sessions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from . import errors
from .bundle import Reply, found, is_text, stored
from .call import KEPT_CHANGING, Call, Engine, Steps, check_reply
from .record import Head
from .results import Removed
from .session import Session

Members = list[dict[str, Any]]

#: How often a script may say that it needs something else, others being faster each time, before the call gives up.
_ROUNDS = 128
#: How many bytes of sessions are read at once, but for one that is larger by itself.
_BYTES_PER_READ = 2 * 1024 * 1024


@dataclass
class Batch:
    """What became of a batch of sessions."""

    removed: list[Any]
    #: Changed between the reading and the script: to be tried again.
    stale: list[str]
    corrupt: list[str]
    #: Entries of the expiry index without a session.
    dropped: int
    #: How many at the end were not looked at, because those before were large: to be tried again.
    left: int
    #: How many more were removed that cannot be told: an id or something in the session is no text.
    unreadable: int


class Operation(Call):
    """One call, with what it had to remove."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        #: Removed while making room.
        self.removed: list[Removed] = []
        #: Expired sessions that were in the way, reaped.
        self.reaped: list[Session] = []
        #: It had happened already: what its reply tells of before is what was declared.
        self.is_again = False

    def enter(self, id: str) -> None:
        """Goes on in the partition of a session."""
        self.engine = self.engine.of_session(id)

    def settle(self, stem: str, values: dict[str, Any]) -> Steps[tuple[Reply, Members]]:
        """Runs a script until it has all that it needs: its answer, and the members of its group that were declared.
        What it needed is set in the values, and so is the id under which the session was found."""
        script = self.engine.bundle.scripts[stem]
        members: Members = []
        doubt_before: Exception | None = None  # why an attempt may have happened that declared otherwise
        # A deletion that names a new id is the end of the old one alone.
        follows = script.follows_moved and not values.get("new_id")
        followed, rounds = False, 0
        while rounds < _ROUNDS:
            reply = yield from self.run(stem, values, members)
            if reply.word == "need":
                doubt_before = self.doubt
                need = script.needs[reply.kind]
                if "declare" in need:
                    members = yield from self._declare(reply.rest[0])
                if reply.kind == "routing" and stem != "delete" and not all(map(is_text, reply.fields.values())):
                    # Only whoever removes the session need not tell of it.
                    raise errors.Corrupt("record")
                if not (yield from self._supply(need, reply, values)):
                    rounds += 1
            elif reply.word == "again":
                if doubt_before is not None:
                    raise self.ambiguous() from doubt_before
                self.is_again = True
                return replace(reply, word="ok"), members
            elif reply.word == "moved" and follows:
                # An id that was rotated away twice leads nowhere.
                if followed:
                    self.check_sure()
                    return Reply("missing", {}, []), members
                values["id"], followed = reply.fields["new_id"], True
                # It went to another partition, if it was by a login.
                self.enter(values["id"])
            else:
                return reply, members
        with self.doubting():
            raise errors.Contended(KEPT_CHANGING)

    def _supply(self, need: dict[str, Any], reply: Reply, values: dict[str, Any]) -> Steps[bool]:
        """Does what a script asked for, and tells whether sessions went that were in the way, which is progress: a user
        with thousands of sessions takes many rounds."""
        for name in need.get("set", ()):
            values[name] = reply.fields[name]
        run = need.get("run", {})
        if run.get("operation") == "reap":
            expired = yield from self.reap([reply.fields["id"]])
            self.reaped += expired.removed
            return bool(expired.removed or expired.corrupt) or expired.unreadable > 0
        if run.get("operation") == "delete_user":
            surplus = [id for (id,) in reply.rest[0]]
            batch = yield from self.remove(values[run["arguments"]["user"]], surplus)
            self.removed += batch.removed
            return len(batch.stale) + len(batch.corrupt) + batch.left < len(surplus)
        return False

    def _declare(self, ids: list[tuple[str]]) -> Steps[Members]:
        return (yield from self.candidates([id for (id,) in ids]))

    def evicted(self, ids: list[tuple[str]], members: Members) -> list[Removed]:
        """All that was removed for the limit: before the call, and by it, as the rest of its reply names them."""
        return self.removed + [removed(member_of(members, id)) for (id,) in ids if is_text(id)]

    def candidates(self, ids: list[str]) -> Steps[Members]:
        """Where sessions are indexed. What has no record of a session is indexed nowhere that we know."""
        raws = yield from self._heads(ids)
        layout = self.engine.bundle.layout
        return [_member(id, layout.head(raw)) for id, raw in zip(ids, raws, strict=True)]

    def _heads(self, ids: list[str]) -> Steps[list[bytes]]:
        end = self.engine.bundle.layout.head_size - 1
        return (yield from self._strings([["GETRANGE", self._record_key(id), 0, end] for id in ids]))

    def _record_key(self, id: str) -> str | bytes | int:
        return stored(self.engine.key("session", id=id))

    def _strings(self, commands: list[Any]) -> Steps[list[bytes]]:
        """Strings; empty where there is none or a foreign type, which the script finds out."""
        if not commands:
            return []
        replies = yield from self.exchange(*commands)
        for reply in replies:
            if isinstance(reply, Exception) and not str(reply).startswith("WRONGTYPE"):
                check_reply("record", reply)
        return [reply if isinstance(reply, bytes) else b"" for reply in replies]

    def _records(self, ids: list[str]) -> Steps[list[bytes]]:
        """The whole records of expired sessions, which do not change any more: of as many as may be read at once."""
        raws, total, large = (yield from self._heads(ids)), 0, []
        for at, raw in enumerate(raws):
            size = self.engine.bundle.layout.head(raw).size
            if total > 0 and total + size > _BYTES_PER_READ:
                raws = raws[:at]
                break
            total += size
            if size > len(raw):
                large.append(at)
        whole = yield from self._strings([["GET", self._record_key(ids[at])] for at in large])
        for at, raw in zip(large, whole, strict=True):
            raws[at] = raw
        return raws

    def reap(self, ids: list[str]) -> Steps[Batch]:
        """Removes those that have expired. One that lives again survives."""
        raws, layout = (yield from self._records(ids)), self.engine.bundle.layout
        read = dict(zip(ids, raws, strict=False))
        members = [_member(id, layout.head(raw)) for id, raw in read.items()]
        reply = (yield from self.run("reap", {}, members)).ok()
        batch = _batch(reply)
        records = [(id, layout.decode(read[id])) for id in batch.removed]
        sessions = [Session.of_record(id, record) for id, record in records if record and is_text(id)]
        unreadable = len(records) - len(sessions)
        return replace(batch, removed=sessions, unreadable=unreadable, left=batch.left + len(ids) - len(read))

    def remove(self, user: str, ids: list[str]) -> Steps[Batch]:
        """Removes sessions of a user, live or expired."""
        members = yield from self.candidates(ids)
        batch = _batch((yield from self.run("delete_user", {"user": user}, members)).ok())
        told = [removed(member_of(members, id)) for id in batch.removed if is_text(id)]
        return replace(batch, removed=told, unreadable=len(batch.removed) - len(told))


def _member(id: str, head: Head) -> dict[str, Any]:
    routing = {"user": found(head.user), "connection": found(head.connection), "node": found(head.node)}
    return {"id": id, **routing, "expires_at_ms": head.expires_at}


def member_of(members: Members, id: str) -> dict[str, Any]:
    """What was declared of a session that a script names."""
    for member in members:
        if member["id"] == id:
            return member
    raise errors.Corrupt("reply that names another session")


def removed(declared: dict[str, Any]) -> Removed:
    """A session that was removed, by what was declared of it."""
    return Removed(declared["id"], *(told_name(declared[name]) for name in ("user", "connection", "node")))


def told_name(name: str) -> str:
    """A name as it is told: that of none, and what is no text, is none."""
    return name if is_text(name) else ""


def _batch(reply: Reply) -> Batch:
    """What a script did, with the ids of those that it removed."""
    gone, stale, corrupt = ([id for (id,) in ids] for ids in reply.rest)
    return Batch(gone, stale, corrupt, reply.fields.get("dropped", 0), reply.fields["left"], 0)
