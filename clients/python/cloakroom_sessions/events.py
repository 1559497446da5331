"""What became of sessions, read from the streams of a namespace, as steps. `event_stream.py` has who sends them."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Literal

from redis.exceptions import NoPermissionError

from . import errors
from .arguments import text_size
from .bundle import Command
from .call import Call, Commands, Engine, Parcel, Replies, Steps, check_reply
from .duration import Duration, duration_ms
from .event import Entry, EntryId, Lagged, Told
from .together import all_of

#: How many entries of a partition are read at once at most, and how many of all.
_AT_ONCE = 256
_OF_ALL = 4096
#: Between two attempts while a server is away: at first, each next one twice as long, and at most, in seconds.
_PAUSES_S = (0.02, 0.5)
#: How long one look is sent again, where the nodes of a cluster lead on: a partition that is not served is asked later.
_LOOK_S = 0.25
#: Where a reader goes on that has missed some: for so long two masters may both have taken writes, and given their
#: entries times.
_GOES_BACK_MS = 10_000


@dataclass(frozen=True)
class _Next:
    """Where a reader goes on: at the first entry, before which nothing was if that says so (`begin`); behind one, if it
    is still there, or else some were missed (`behind`); or here, for some were missed (`here`)."""

    kind: Literal["begin", "behind", "here"] = "begin"
    at: EntryId | None = None
    #: What the entry told, if it was read here: another master may have given the same id to something else.
    fields: list[Any] | None = None

    def news(self, entries: list[Entry]) -> list[Entry] | None:
        """Of entries that were read from here on, those that are news. `None`: some were missed."""
        if self.kind == "begin" and entries and not entries[0].is_the_beginning:
            return None
        if self.kind != "behind":
            return entries
        is_there = entries and entries[0].id == self.at and self.fields in (None, entries[0].fields)
        return entries[1:] if is_there else None

    def after_a_gap(self) -> _Next:
        """Where to go on after some were missed."""
        return _Next("here", EntryId(max(0, self.at.ms - _GOES_BACK_MS), 0) if self.at else EntryId(0, 0))


@dataclass
class _Part:
    """The stream of a partition, as far as it was read."""

    engine: Engine
    key: str
    next: _Next
    #: Behind what was told of it last.
    told: EntryId | None = None
    #: When it is looked at next, by the steady clock, and how long after a failure.
    due: float = 0.0
    pause_s: float = _PAUSES_S[0]


@dataclass
class Reader:
    """Reads the streams of all partitions, in order within each."""

    engine: Engine
    #: Of which node; empty: of all sessions.
    node: str
    interval_s: float
    _parts: list[_Part] = field(default_factory=list)
    #: What was read and is not told yet, with where that was. What tells nothing is passed over.
    _found: deque[tuple[_Part, EntryId | None, Told | None]] = field(default_factory=deque)

    def begin(self, start: str) -> Steps[None]:
        """Finds out where to begin: `now`, at the `beginning`, or behind a position."""
        places = None if start in ("now", "beginning") else position_of(start, self.engine.partitions.count)
        key = f"node:{self.node}:events" if self.node else "events"
        parts = [_Part(each, f"{each.tag}:{key}", _Next()) for each in self.engine.everywhere()]
        # Whoever may not read finds out here.
        newest = yield from all_of(_newest(part.engine, part.key) for part in parts)
        if start != "beginning":
            for part, place in zip(parts, places or newest, strict=True):
                part.told, part.next = place, _Next("behind", place) if place else _Next()
        self._parts = parts

    def told(self) -> Told | None:
        """The next of what was read. `None`: all was told."""
        while self._found:
            part, place, told = self._found.popleft()
            part.told = place
            if told is not None:
                return told
        return None

    @property
    def position(self) -> str:
        """Behind what was told last."""
        return ",".join(str(part.told or "") for part in self._parts)

    def wait_s(self) -> float:
        """How long until the next look."""
        return max(0.0, min(part.due for part in self._parts) - time.monotonic())

    def look(self) -> Steps[None]:
        """Reads what is new in the streams that are due."""
        now = time.monotonic()
        due = [part for part in self._parts if part.due <= now]
        # Where some were missed it looks again at once, and tells it only then: what is told while somebody reads the
        # sessions anew is behind what was read here, and nothing of it is missed in silence.
        while due:
            due = yield from self._look_at(due)

    def _look_at(self, due: list[_Part]) -> Steps[list[_Part]]:
        """Reads what is new in some streams. Those of which some was missed."""
        now = time.monotonic()
        most = min(_AT_ONCE, max(1, _OF_ALL // len(self._parts)))
        parcels = [Parcel(part.engine.tag, _range(part, most), now + _LOOK_S) for part in due]
        outcomes, lagging = (yield parcels), []
        now = time.monotonic()
        for part, outcome in zip(due, outcomes, strict=True):
            entries = Entry.all_of(outcome[0]) if isinstance(outcome, list) else None
            if entries is None:
                part.due, part.pause_s = now + part.pause_s, min(2 * part.pause_s, _PAUSES_S[1])
            else:
                part.pause_s = _PAUSES_S[0]
                part.due = now if len(entries) > most else now + self.interval_s
                if not self._heed(part, entries):
                    lagging.append(part)
        return lagging

    def _heed(self, part: _Part, entries: list[Entry]) -> bool:
        """Takes what was read. False: some were missed, so that it goes on elsewhere."""
        news = part.next.news(entries)
        if news is None:
            part.next = part.next.after_a_gap()
            return False
        if part.next.kind == "here":
            if not entries:
                part.next = _Next()
            self._found.append((part, part.next.at, Lagged(part.engine.partition)))
        for entry in news:
            part.next = _Next("behind", entry.id, entry.fields)
            self._found.append((part, entry.id, entry.event()))
        return True


def reader(engine: Engine, node: str | None, interval: Duration) -> Reader:
    """A reader of a node's streams, or of those of all."""
    interval_ms = duration_ms("interval", interval, 1, 60_000)
    if engine.partitions.events == 0:
        raise errors.Invalid("events", "are not turned on in this namespace")
    return Reader(engine, node or "", interval_ms / 1000)


def position_of(text: str, count: int) -> list[EntryId | None]:
    """The entries that a position names, of each partition."""
    text_size("start", text)
    parts = text.split(",")
    places = [EntryId.of(part) for part in parts]
    if len(parts) != count or any(part and place is None for part, place in zip(parts, places, strict=True)):
        raise errors.Invalid("start", f"is not a position in {count} partitions")
    return places


def _range(part: _Part, most: int) -> Commands:
    return [["XRANGE", part.key, str(part.next.at or "-"), "+", "COUNT", most + 1]]


def _newest(engine: Engine, key: str) -> Steps[EntryId | None]:
    commands: list[Command] = [["XREVRANGE", key, "+", "-", "COUNT", 1], ["XRANGE", key, "-", "+", "COUNT", 1]]
    replies: Replies = yield from Call(engine).exchange(*commands)
    for reply in replies:
        if isinstance(reply, NoPermissionError):
            raise errors.Forbidden(["+xrange", "+xrevrange"]) from reply
        check_reply("events", reply)
    entries = Entry.all_of(replies[0])
    if entries is None:
        raise errors.Corrupt("events")
    return entries[0].id if entries else None
