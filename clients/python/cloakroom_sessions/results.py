"""The results of operations."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Literal

from .arguments import check_id, check_instant, check_integer, check_kind, text_size
from .duration import of_ms
from .errors import Invalid
from .patch import Patch
from .session import Session
from .token import Token


@dataclass(frozen=True)
class Removed:
    """A session that was removed, with the user that it had, and the connection to close; empty: it had none."""

    id: str = field(repr=False)
    user: str
    connection: str
    node: str


@dataclass(frozen=True)
class Created:
    """The result of `create`: the new session, and the sessions that it evicted."""

    session: Session
    #: Deleted to stay within the limit. Close their connections.
    evicted: list[Removed]
    #: Expired sessions that were in the way, reaped by this call: no reaper will report them.
    reaped: list[Session]
    #: The token that the client must hold, returned only here. `None`: it holds the id itself.
    token: Token | None = None


@dataclass(frozen=True)
class Patched:
    """The result of a patch. `Session.apply` brings your copy up to date."""

    #: Another than asked for when the session was rotated a moment ago.
    id: str = field(repr=False)
    version: int
    #: A patch is a use.
    last_active_ms: int
    expires_at_ms: int
    #: Whether anything was written: not where no attribute, no extension and no lifetime was named, and status and ttl
    #: are what they were. To set a value to what it is counts as a change.
    changed: bool
    #: What was changed.
    _patch: Patch = field(repr=False)

    def apply_to(self, session: Session) -> None:
        """Applies the change to a copy of the version before."""
        patch = self._patch
        patch.apply_entries(session)
        session.version = self.version
        session.last_active_ms, session.expires_at_ms = self.last_active_ms, self.expires_at_ms
        session.status = patch.status or session.status
        session.ttl = session.ttl if patch.ttl_ms is None else of_ms(patch.ttl_ms)
        if patch.lifetime_ms is not None:
            session.deadline_ms = self.last_active_ms + patch.lifetime_ms


@dataclass(frozen=True)
class Refreshed:
    """The result of a refresh."""

    #: Another than asked for when the session was rotated a moment ago.
    id: str = field(repr=False)
    version: int
    last_active_ms: int
    expires_at_ms: int
    #: Whether anything was written.
    changed: bool


@dataclass(frozen=True)
class Rotated:
    """The result of a rotation."""

    #: The session under its new id.
    session: Session
    #: Deleted to stay within the limit. Close their connections.
    evicted: list[Removed]
    #: Another rotation was first: the new id is the one it made, and the user is as that one left it.
    by_another: bool
    #: What the client is to hold, told here alone. `None`: the id itself, or another rotation was first: its caller has
    #: the token.
    token: Token | None = None


@dataclass(frozen=True)
class Bound:
    """The result of a bind."""

    #: Another than asked for when the session was rotated a moment ago.
    id: str = field(repr=False)
    version: int
    #: What the session had before; empty: none.
    previous_connection: str
    previous_node: str
    #: The session that lost the connection; empty: none did.
    taken_from: str = field(repr=False)
    #: Expired sessions that were in the way, reaped by this call: no reaper will report them.
    reaped: list[Session]
    #: Whether anything was written.
    changed: bool


@dataclass(frozen=True)
class Explanation:
    """What became of an id, as far as the store remembers. It reveals no other id."""

    #: `live`; `expired`, and not reaped yet; `deleted` a moment ago; `rotated`: there is a newer id; `departed` to
    #: another store; or `unknown`: it never was, or is over for longer than the store remembers.
    word: Literal["live", "expired", "deleted", "rotated", "departed", "unknown"]
    #: When it expired, of that.
    at_ms: int | None = None
    #: Whether the user changed with the id, of what was rotated: a login, or a logout that kept the session.
    by_login: bool | None = None
    #: What the migration calls the other store, of what departed.
    place: str | None = None


class Unbound(enum.Enum):
    """The result of an unbind."""

    DETACHED = "detached"
    #: The session has another connection, or none.
    NOT_BOUND = "not bound"
    MISSING = "missing"


class Imported(enum.Enum):
    """The result of an import."""

    IMPORTED = "imported"
    #: It was here already, at the same version with the same content.
    UNCHANGED = "unchanged"
    #: It is not here: it has expired by now, or what it was to replace is not here.
    MISSING = "missing"


@dataclass(frozen=True)
class Export:
    """A session to be imported into another store."""

    session: Session
    #: What it remembers of its last changes.
    operations: bytes = field(repr=False)


@dataclass(frozen=True)
class Outgoing:
    """A frozen session, whose copy cannot become outdated."""

    #: The session as it was before.
    export: Export
    #: When the freeze is over, if nothing ends it before.
    until_ms: int


class Thawed(enum.Enum):
    """The result of a thaw."""

    THAWED = "thawed"
    #: It was not frozen.
    UNCHANGED = "unchanged"
    MISSING = "missing"


@dataclass(frozen=True)
class Migration:
    """A session that is on its way, as one of the two stores has it."""

    id: str = field(repr=False)
    task: bytes
    #: The other store.
    place: str
    #: `outgoing`: it is frozen here. `incoming`: a frozen copy is here, and becomes the session when that departs.
    #: `departed`: it has gone to the other store, where the copy may be frozen still. `deleted`: the copy here was.
    phase: str
    #: When the freeze at its source is over, by the clock there, of an outgoing or incoming one.
    until_ms: int | None
    #: The node that an outgoing one goes to there; empty: it keeps its own.
    node: str = ""


@dataclass(frozen=True)
class Migrations:
    """A page of the sessions on their way, ordered by the end of their freeze."""

    migrations: list[Migration]
    #: How many to skip to go on, if these stay on their way; `None` after the last page.
    next: int | None


@dataclass(frozen=True)
class Cursor:
    """The place where a page ended. Sessions that are created or removed meanwhile do not shift the next page."""

    created_at_ms: int
    id: str = field(repr=False)
    #: How many entries of the same millisecond came before, this one included.
    ties: int

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """Reads a page token that this client, or one in another language, wrote."""
        text_size("after", text)
        created_at, ties, id = [*text.split(".", 2), "", ""][:3]
        numbers = (created_at, ties)
        if not all(number.isascii() and number.isdigit() and len(number) <= 16 for number in numbers):
            raise Invalid("after", "is not a page token")
        cursor = cls(int(created_at), id, int(ties))
        check_cursor(cursor)
        return cursor

    def expose(self) -> str:
        """Writes a page token that you can send over HTTP and get back. It contains a session id, and is as secret."""
        return f"{self.created_at_ms}.{self.ties}.{self.id}"


def check_cursor(after: Cursor | None) -> None:
    """Checks where a page must continue, if anywhere."""
    if after is None:
        return
    check_kind("after", after, Cursor)
    check_instant("after", after.created_at_ms)
    check_integer("after", after.ties, 0, 65_535)
    check_id(after.id, "after")


@dataclass(frozen=True)
class Page:
    """A page of live sessions, oldest first; fewer than asked for if some were not live."""

    sessions: list[Session]
    #: Where to go on; `None` after the last page.
    next: Cursor | None


@dataclass
class UserDeleted:
    """The result of deleting a user's sessions."""

    #: Close their connections.
    removed: list[Removed] = field(default_factory=list)
    #: Those that cannot be removed, because something under their keys is corrupt.
    corrupt: list[str] = field(default_factory=list, repr=False)
    #: How many more were removed, or are corrupt, whose ids are no text.
    unreadable: int = 0


@dataclass(frozen=True)
class Expired:
    """A session that has expired and was not reaped yet."""

    id: str = field(repr=False)
    expired_at_ms: int


@dataclass(frozen=True)
class Node:
    """A node that holds a lease, or held one lately."""

    name: str
    lease_until_ms: int
    #: Whether it holds its lease.
    is_live: bool
    #: How many live sessions it has.
    sessions: int


@dataclass(frozen=True)
class Recovered:
    """A session that went from one node to another."""

    id: str = field(repr=False)
    version: int
    user: str
    #: The connection that it had, which leads to it no longer.
    connection: str


@dataclass
class Claimed:
    """The result of a claim."""

    #: Taken by this call, and reported by no other.
    sessions: list[Recovered] = field(default_factory=list)
    #: Those that stay because they are being migrated.
    frozen: list[str] = field(default_factory=list, repr=False)
    #: Those that stay because something under their keys is corrupt.
    corrupt: list[str] = field(default_factory=list, repr=False)
    #: Those that kept changing: claim again.
    stale: list[str] = field(default_factory=list, repr=False)
    #: How many more were met whose ids are no text; those that were sound were taken.
    unreadable: int = 0
    #: Where to go on; `None`: the node's sessions are through.
    next: Cursor | None = None


@dataclass(frozen=True)
class Reaped:
    """The result of a reap."""

    #: Removed by this call, and returned to no other. They take 2 MiB at most, but for one that is larger by itself.
    sessions: list[Session]
    #: Entries of the expiry index that led to no session.
    dropped: int
    #: What expired and cannot be removed, because something under its keys is corrupt. What was under its record's key
    #: is set aside for a week, under `{ns:p}:aside:<id>`.
    corrupt: list[str] = field(repr=False)
    #: Whether there may be more.
    more: bool
    #: How many more were removed, or are corrupt, that cannot be told: an id or something in the session is no text.
    unreadable: int = 0
