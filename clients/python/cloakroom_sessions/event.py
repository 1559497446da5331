"""Events as a stream has them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .arguments import check_id

#: What can happen to a session; and why one ends. docs/events.md has the table.
_WHAT = frozenset(
    ("created", "updated", "rotated", "bound", "unbound", "taken_over", "recovered", "arrived", "departed", "ended")
)
_ENDINGS = frozenset(("deleted", "evicted", "expired", "login", "withdrawn", "corrupt", "lost"))
_ENTRY_ID = re.compile(r"([0-9]{1,20})-([0-9]{1,20})")


@dataclass(frozen=True)
class Event:
    """An event: what happened to a session. The fields hold the values after the change, or those before it if the
    session lost something. `what` and `why` are the words of the table in docs/events.md. An empty user, connection or
    node means none."""

    what: str
    why: str
    id: str = field(repr=False)
    user: str
    connection: str
    node: str
    #: That the change made; of what expired or was withdrawn, that it had; 0 where nothing is known but the id.
    version: int
    #: The id under which it goes on: of what was rotated, and of what a login took elsewhere; else empty.
    new_id: str = field(repr=False)


@dataclass(frozen=True)
class Lagged:
    """The reader missed events of a partition: they were trimmed before it read them, or lost in a failover. If you
    keep a list of the sessions, read it again."""

    partition: int


Told = Event | Lagged


class EntryId(NamedTuple):
    """The place of an event in its stream, as a server gives it: a time, and a place within it."""

    ms: int
    place: int

    def __str__(self) -> str:
        return f"{self.ms}-{self.place}"

    @classmethod
    def of(cls, text: str) -> EntryId | None:
        """The place that a text names. `None`: it names none."""
        found = _ENTRY_ID.fullmatch(text)
        return cls(int(found[1]), int(found[2])) if found else None


@dataclass(frozen=True)
class Entry:
    """An entry of a stream: its fields are names and values in turn."""

    id: EntryId
    fields: list[Any]

    @classmethod
    def all_of(cls, reply: Any) -> list[Entry] | None:
        """The entries of a reply. `None`: it is no such reply."""
        if not isinstance(reply, list):
            return None
        entries = []
        for id, fields in reply:
            place = EntryId.of(id.decode())
            if place is None:
                return None
            entries.append(cls(place, fields))
        return entries

    @property
    def is_the_beginning(self) -> bool:
        """Whether nothing was before."""
        return self.fields[:2] == [b"what", b"begun"]

    def event(self) -> Event | None:
        """What it tells. `None`: nothing of a session, or of one whose id or names are no texts."""
        try:
            texts = [part.decode() for part in self.fields]
            told = dict(zip(texts[::2], texts[1::2], strict=True))
            what, why, new_id = told["what"], told["why"], told.get("new_id", "")
            names = {name: told[name] for name in ("id", "user", "connection", "node")}
            event = Event(what=what, why=why, **names, version=int(told["version"]), new_id=new_id)
            check_id(event.id)
            if what == "rotated" or why == "login":
                check_id(new_id)
        except (ValueError, KeyError):
            return None
        is_known = what in _WHAT and (what != "ended" or why in _ENDINGS)
        return event if is_known else None
