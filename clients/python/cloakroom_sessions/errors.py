"""The errors, sorted by what the caller can do about them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .operation_id import OperationId


class CloakroomError(Exception):
    """Any error of this package."""

    def __reduce__(self) -> tuple[Any, ...]:
        """As it is: what a constructor takes is not what an error has."""
        return _of_state, (type(self), self.args, self.__dict__)


def _of_state(kind: type[CloakroomError], args: tuple[Any, ...], state: dict[str, Any]) -> CloakroomError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return error


class Invalid(CloakroomError, ValueError):
    """Bad input or configuration. Nothing was sent. `field` is the argument or rule that it is about; a session in
    hand, an id and a token are all `id`. The message shows no value that was given, at most the key of an attribute or
    the name of an option."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field} {problem}")
        self.field = field
        self.problem = problem


class NotExecuted(CloakroomError):
    """The operation certainly did not happen, for a reason that may pass: retry freely. `__cause__` has the reason."""


class Busy(NotExecuted):
    """All connections of the store to the server were in use until the deadline, or too many calls waited for one. The
    server answers, but has more work than it can do in time. Allow more connections by `max_connections`, allow more
    time, or do less at once."""

    def __init__(self) -> None:
        super().__init__("not executed: all connections of the store were in use")


class Contended(NotExecuted):
    """The sessions or indexes of the operation kept changing during it."""


#: The usual reason why a call is ambiguous.
NO_REPLY = "sent, but no reply"


class Ambiguous(CloakroomError):
    """The operation may have happened: it was sent and no reply proves the outcome, or the server stopped its script
    at a command, perhaps after some writes. Repeat it by `with_operation_id`."""

    def __init__(self, operation_id: OperationId, why: str = NO_REPLY) -> None:
        super().__init__(f"{why}: it may have happened")
        self.why = why
        self.operation_id = operation_id


class Corrupt(CloakroomError):
    """The value under one of our keys is not ours, or is broken. Nothing was changed. `of` is the owner of the key if
    the call declared several of the kind; the message does not show it, because it may be a session id."""

    def __init__(self, what: str, of: str | None = None) -> None:
        super().__init__(f"corrupt {what}")
        self.what = what
        self.of = of


class Refused(CloakroomError):
    """The engine refused the operation. Nothing was changed."""


class Missing(Refused):
    """There is no live session with this id."""

    def __init__(self) -> None:
        super().__init__("no live session with this id")


class Exists(Refused):
    """A live session has this id already."""

    def __init__(self) -> None:
        super().__init__("a live session has this id already")


class Gone(Refused):
    """The session with this id was deleted a moment ago, so it cannot be created or imported yet."""

    def __init__(self) -> None:
        super().__init__("the session with this id was deleted a moment ago")


class Moved(Refused):
    """The session has a newer id, and its client has that id or will have it in a moment: answer without touching the
    cookie. `new_id` is `None` after a login, because an attacker who planted the old id would be logged in too."""

    def __init__(self, new_id: str | None = None) -> None:
        super().__init__("the session has a newer id")
        self.new_id = new_id


class Departed(Refused):
    """A migration moved the session to another store. It is there, or will be as soon as the migration is finished."""

    def __init__(self, place: str) -> None:
        super().__init__(f"the session has departed to {place!r}")
        self.place = place


class Conflict(Refused):
    """The session is at another version than the one that the change was made from."""

    def __init__(self, version: int) -> None:
        super().__init__(f"the session was changed and is at version {version}")
        self.version = version


class Limit(Refused):
    """The user has as many sessions as allowed."""

    def __init__(self, live: int) -> None:
        super().__init__(f"the user has {live} sessions already")
        self.live = live


class TooLarge(Refused):
    """The session's attributes and extensions would take more bytes than allowed, or would be too many."""

    def __init__(self, bytes: int, entries: int) -> None:
        super().__init__(f"the session's {entries} entries would take {bytes} bytes")
        self.bytes = bytes
        self.entries = entries


class Frozen(Refused):
    """A migration has frozen the session."""

    def __init__(self) -> None:
        super().__init__("the session is being migrated")


class Taken(Refused):
    """The connection belongs to another live session, whose id stays secret."""

    def __init__(self, holder_id: str = "") -> None:
        super().__init__("the connection belongs to another session")


class Leased(Refused):
    """The node holds its lease: another process uses its name, or the node is not dead."""

    def __init__(self, deadline: int) -> None:
        super().__init__("the node holds its lease")
        self.until_ms = deadline


class Fenced(Refused):
    """The node no longer holds its lease, or the session is another node's: it must stop writing to the session. With
    several partitions, a `heartbeat` lists in `partitions` those where the lease is lost."""

    def __init__(self, partitions: list[int] | None = None) -> None:
        super().__init__("the node no longer holds its lease, or the session is another node's")
        self.partitions = partitions or []


class OtherContract(Refused):
    """The clients in this namespace use a contract number that this client does not accept: it does not start."""

    def __init__(self, found: int, known: int) -> None:
        super().__init__(f"the namespace is at contract {found}, this client knows contract {known}")
        self.found = found
        self.known = known


class OtherPartitions(Refused):
    """The namespace has another number of partitions than the caller says: the store does not start."""

    def __init__(self, found: int, wanted: int) -> None:
        super().__init__(f"the namespace has {found} partitions, not {wanted}: their number is fixed when it is made")
        self.found = found
        self.wanted = wanted


class OtherIdScheme(Refused):
    """The namespace has ids of another scheme than the rules say: the store does not start."""

    def __init__(self, found: str, wanted: str) -> None:
        super().__init__(f"the namespace has ids of the scheme {found}, not {wanted}: that is fixed when it is made")
        self.found = found
        self.wanted = wanted


class Forbidden(Refused):
    """The server's ACL forbids the user something that a store needs: it does not start. `lacking` has that in the
    words of an ACL, such as `+del`."""

    def __init__(self, lacking: list[str]) -> None:
        super().__init__(f"the server's ACL forbids what a store needs: its user lacks {' '.join(lacking)}")
        self.lacking = lacking


_REFUSALS: dict[str, type[Refused]] = {
    "missing": Missing,
    # Of an import: the session to import has expired.
    "expired": Missing,
    "exists": Exists,
    "gone": Gone,
    "moved": Moved,
    "rotated": Moved,
    "departed": Departed,
    "conflict": Conflict,
    "limit": Limit,
    "large": TooLarge,
    "frozen": Frozen,
    "taken": Taken,
    "fenced": Fenced,
    "lapsed": Fenced,
    "leased": Leased,
}


def of_reply(word: str, fields: dict[str, Any]) -> CloakroomError:
    """The error for a script's reply. The fields of a refusal become those of its exception."""
    if word == "corrupt":
        return Corrupt(*fields.values())
    if word not in _REFUSALS:
        return Corrupt("reply with an unknown word")
    return _REFUSALS[word](**fields)
