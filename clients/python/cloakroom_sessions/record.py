"""The stored forms of a session and of a lease, read by the layouts that the bundle has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple


class Entry(NamedTuple):
    """An attribute or extension; empty JSON removes it, in a list of changes."""

    kind: str
    key: str
    json: str


@dataclass(frozen=True)
class Freeze:
    """How a session is frozen by a migration."""

    task: bytes
    #: When it ends; of what is no session, where it is over, until when that speaks.
    frozen_until: int
    #: How long it was made for; 0 of an incoming copy, which waits for its source.
    span: int
    #: Until when copies may wait in other stores that were made under earlier freezes.
    copies_until: int
    #: The status of the session but for this.
    status: str
    #: outgoing or incoming; over, where only the copies are left to be known of.
    direction: str
    #: The other store.
    place: str
    #: The node that it goes to there; empty: it keeps its own.
    node: str

    def has_ended(self, now: int) -> bool:
        """Whether the session has the status but for this. That of an incoming copy does not end by itself; one that
        would last longer than it is long began by a clock that was set back since."""
        if self.direction == "outgoing":
            return self.frozen_until <= now or self.frozen_until - now > self.span
        return self.direction == "over"


@dataclass(frozen=True)
class Record:
    """A record, field by field."""

    kind: str
    status: str
    user: str
    connection: str
    node: str
    #: How long the body was when its changes were made last, and how many there are in it.
    compacted: int
    listed: int
    op_ids: bytes
    #: When the newest of the last four changes was made, and how long before it and each other those before it were.
    changed_at: int
    gap: int
    second_gap: int
    third_gap: int
    version: int
    created_at: int
    ttl: int
    deadline: int
    last_active: int
    expires_at: int
    stored_until: int
    #: Of a live session.
    entries: tuple[Entry, ...] = ()
    #: Where a session went, and from which login it was left.
    new_id: str = ""
    #: Of a migrating one.
    freeze: Freeze | None = None
    #: Of a departed one: the migration, zeros once it is cleaned up, and where the session went.
    task: bytes = b""
    place: str = ""

    def unless_over(self, now: int) -> Record | None:
        """The record without what is over: itself, if its session has expired or it speaks no longer; its freeze."""
        if (self.expires_at if self.kind == "live" else self.speaks_until) <= now:
            return None
        if self.freeze and self.freeze.has_ended(now):
            return replace(self, status=self.freeze.status, freeze=None)
        return self

    @property
    def speaks_until(self) -> int:
        """Until when what is no session counts. It is stored longer where a copy may wait in another store."""
        if self.freeze and self.freeze.direction == "over":
            return self.freeze.frozen_until
        return self.stored_until

    @property
    def told_status(self) -> str:
        """The status, as a script tells it: it has looked at the time."""
        return self.freeze.status if self.freeze and self.freeze.direction == "over" else self.status


def _value(field: dict[str, Any], raw: bytes) -> int | bytes:
    """A field of a header."""
    value = raw[field["offset"] : field["offset"] + field["bytes"]]
    return value if field["type"] == "bytes" else int.from_bytes(value, "big")


class Head(NamedTuple):
    """What the beginning of a session's record tells: all that it takes to remove it, however large it is."""

    user: bytes = b""
    connection: bytes = b""
    node: bytes = b""
    expires_at: int = 0
    #: How long the whole record is.
    size: int = 0


class Usage(NamedTuple):
    """When a session that is not frozen was used last, and until when it lives: what a refresh looks at."""

    version: int
    last_active: int
    expires_at: int


#: What a record of this client has. Another release may have more, which says nothing to this one.
_KNOWN = frozenset(Record.__dataclass_fields__)


class Layout:
    """How records and entries are laid out: in one format, and beside it those of others that are read as well."""

    def __init__(self, spec: dict[str, Any], record_format: int, others: Sequence[Layout] = ()) -> None:
        self._format = record_format
        self._layouts = {record_format: self} | {other._format: other for other in others}
        self._header = spec["header"]
        self._header_size: int = spec["header_bytes"]
        #: How much of a record to read for its usage.
        self.usage_size: int = max([self._header_size, *(other.usage_size for other in others)])
        #: How much of a record to read for its head.
        self.head_size: int = max([spec["head_bytes"], *(other.head_size for other in others)])
        self._texts = spec["texts"]
        self._kinds = {number: word for word, number in spec["kinds"].items()}
        self._statuses = {number: word for word, number in spec["statuses"].items()}
        self._freeze = spec["freeze"]["header"]
        self._freeze_size = spec["freeze"]["header_bytes"]
        self._freeze_texts = spec["freeze"]["texts"]
        self._directions = {number: word for word, number in spec["freeze"]["directions"].items()}
        self._task_bytes = spec["departed_task_bytes"]
        self._entry = [(field["offset"], field["bytes"]) for field in spec["entry"]["header"]]
        self._entry_size: int = spec["entry"]["header_bytes"]
        self._entry_numbers = spec["entry"]["kinds"]
        self._entry_kinds = {number: word for word, number in self._entry_numbers.items()}

    def _read(self, raw: bytes) -> tuple[Layout, dict[str, Any]] | None:
        """The layout of a record or its beginning, by the format that it says it has, and the fields of its header."""
        layout = self._layouts.get(raw[0]) if raw else None
        if layout is None or len(raw) < layout._header_size:
            return None
        return layout, {field["name"]: _value(field, raw) for field in layout._header}

    def decode(self, raw: bytes) -> Record | None:
        """A record; `None` when it is broken, or of no format that is read."""
        read = self._read(raw)
        try:
            return read and read[0]._decode(raw, read[1])
        except (KeyError, UnicodeDecodeError, ValueError):
            return None

    def head(self, raw: bytes) -> Head:
        """The head of a record by its beginning; an empty one of what is no session, or broken."""
        layout, header = self._read(raw) or (self, {})
        if not header or layout._kinds.get(header["kind"]) != "live":
            return Head()
        names, end = [], layout._header_size
        for name in layout._texts[:-1]:
            start, end = end, end + header[f"{name}_size"]
            names.append(raw[start:end])
        user, connection, node = names
        return Head(user, connection, node, header["expires_at"], end + header["body_size"])

    def decode_head(self, raw: bytes) -> Record | None:
        """The same by the beginning of a record, as `head` takes it: a session has no entries then."""
        layout, header = self._read(raw) or (self, {})
        if not header or layout._kinds.get(header["kind"]) != "live":
            return self.decode(raw)
        body_at = layout._header_size + sum(header[f"{name}_size"] for name in layout._texts[:-1])
        block = b""
        if layout._statuses.get(header["status"]) == "migrating":
            try:
                block = raw[body_at : len(raw) - len(layout._split_freeze(raw[body_at:])[1])]
            except (KeyError, UnicodeDecodeError, ValueError):
                return None
        (size,) = (field for field in layout._header if field["name"] == f"{layout._texts[-1]}_size")
        before, behind = raw[: size["offset"]], raw[size["offset"] + size["bytes"] : body_at]
        return self.decode(before + len(block).to_bytes(size["bytes"], "big") + behind + block)

    def usage(self, raw: bytes) -> Usage | None:
        """The usage of a session by the header of its record; `None` for anything else."""
        layout, header = self._read(raw) or (self, {})
        if not header or layout._kinds.get(header["kind"]) != "live":
            return None
        is_open = layout._statuses.get(header["status"]) in ("active", "suspended")
        if not is_open or header["stored_until"] < header["expires_at"]:
            return None
        return Usage(header["version"], header["last_active"], header["expires_at"])

    def _decode(self, raw: bytes, found: dict[str, Any]) -> Record:
        """A record of this format, the fields of whose header are found."""
        texts: dict[str, bytes] = {}
        end = self._header_size
        for name in self._texts:
            start, end = end, end + found[f"{name}_size"]
            texts[name] = raw[start:end]
        if end != len(raw):
            raise ValueError("another size")
        fields = {name: value for name, value in found.items() if name in _KNOWN}
        fields["kind"], fields["status"] = self._kinds[fields["kind"]], self._statuses[fields["status"]]
        body = texts.pop("body")
        if fields["status"] == "migrating":
            fields["freeze"], body = self._split_freeze(body)
        if fields["kind"] == "live":
            fields["entries"] = tuple(self.decode_entries(body))
            if fields["stored_until"] < fields["expires_at"]:
                raise ValueError("a session that outlives its record")
        elif fields["kind"] == "moved":
            fields["new_id"] = body.decode()
            if not 1 <= len(body) <= 128:
                raise ValueError("an impossible id")
        elif fields["kind"] == "departed":
            if len(body) < self._task_bytes:
                raise ValueError("no task")
            fields["task"], fields["place"] = body[: self._task_bytes], body[self._task_bytes :].decode()
        else:
            fields["new_id"] = body.decode(errors="replace")
        return Record(**fields | {name: text.decode() for name, text in texts.items()})

    def _split_freeze(self, body: bytes) -> tuple[Freeze, bytes]:
        if len(body) < self._freeze_size:
            raise ValueError("no freeze")
        fields: dict[str, Any] = {field["name"]: _value(field, body) for field in self._freeze}
        end = self._freeze_size
        for name in self._freeze_texts:
            start, end = end, end + fields.pop(f"{name}_size")
            fields[name] = body[start:end].decode()
        if end > len(body):
            raise ValueError("cut off")
        fields["status"] = self._statuses[fields["status"]]
        if fields["status"] == "migrating":
            raise ValueError("a status that no session has but for a freeze")
        fields["direction"] = self._directions[fields["direction"]]
        return Freeze(**fields), body[end:]

    def decode_entries(self, raw: bytes) -> list[Entry]:
        """What the changes of a body come to: the last of a key counts, an empty value removes. Raises what `decode`
        takes for broken."""
        entries: dict[tuple[str, str], Entry] = {}
        end = 0
        while end < len(raw):
            kind, key_size, value_size = (
                int.from_bytes(raw[end + offset : end + offset + size], "big") for offset, size in self._entry
            )
            key_at = end + self._entry_size
            value_at = key_at + key_size
            end = value_at + value_size
            entry = Entry(self._entry_kinds[kind], raw[key_at:value_at].decode(), raw[value_at:end].decode())
            if entry.json:
                entries[entry.kind, entry.key] = entry
            else:
                entries.pop((entry.kind, entry.key), None)
        if end != len(raw):
            raise ValueError("cut off")
        return list(entries.values())

    def encode_entries(self, entries: list[Entry]) -> bytes:
        """Entries as a script takes them."""
        pieces = []
        for entry in entries:
            key, value = entry.key.encode(), entry.json.encode()
            numbers = (self._entry_numbers[entry.kind], len(key), len(value))
            pieces += [number.to_bytes(size, "big") for number, (_, size) in zip(numbers, self._entry, strict=True)]
            pieces += [key, value]
        return b"".join(pieces)


class Lease(NamedTuple):
    """A node's lease."""

    deadline: int
    #: How long it was when it was renewed.
    length: int

    def is_held(self, now: int) -> bool:
        """One that would be held for longer than it is long was renewed by a clock that was set back since: it is
        over."""
        return self.deadline > now and self.deadline - now <= self.length


class LeaseLayout:
    """How leases are laid out."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self._header, self._size = spec["header"], spec["header_bytes"]

    def decode(self, raw: bytes) -> Lease | None:
        """A lease; `None` for what is none of ours."""
        if len(raw) != self._size:
            return None
        fields: dict[str, Any] = {field["name"]: _value(field, raw) for field in self._header}
        return Lease(fields["deadline"], fields["length"])
