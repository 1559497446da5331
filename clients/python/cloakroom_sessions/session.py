"""A session as the application sees it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from . import errors
from .record import Entry, Layout, Record
from .rules import LONGEST_MS, Rules, check_names, check_range, check_text

Status = Literal["active", "suspended", "migrating"]


def to_json(key: str, value: Any) -> str:
    """A value as it is stored."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        text.encode()
    except (TypeError, ValueError) as error:
        raise errors.Invalid(f"attribute {key!r} cannot be told in JSON: {error}") from None
    return text


class Entries(MutableMapping[str, Any]):
    """A map from text keys to JSON values.

    The texts are kept: what another language wrote, and nobody changed here, is saved as it was. A value that was
    changed in its place (`entries["cart"].append(3)`) is saved as it is now.
    """

    def __init__(self, values: Mapping[str, Any] | None = None) -> None:
        self._texts: dict[str, str] = {}
        self._values: dict[str, Any] = {}
        self.update(values or {})

    @classmethod
    def of_texts(cls, texts: Mapping[str, str]) -> Entries:
        """From JSON texts."""
        entries = cls()
        entries._texts = dict(texts)
        return entries

    def json(self, key: str) -> str:
        """The JSON text of a value."""
        text = self._texts[key]
        if key in self._values and json.dumps(self._values[key]) != json.dumps(json.loads(text)):
            text = self._texts[key] = to_json(key, self._values[key])
        return text

    def __getitem__(self, key: str) -> Any:
        if key not in self._values:
            self._values[key] = json.loads(self._texts[key])
        return self._values[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self._texts[key] = to_json(key, value)
        self._values.pop(key, None)

    def __delitem__(self, key: str) -> None:
        del self._texts[key]
        self._values.pop(key, None)

    def __iter__(self) -> Iterator[str]:
        return iter(self._texts)

    def __len__(self) -> int:
        return len(self._texts)

    def __repr__(self) -> str:
        """The keys only: the values may be secret."""
        return f"Entries({sorted(self._texts)})"


class Routing(NamedTuple):
    """Where a session is indexed."""

    user: str = ""
    connection: str = ""
    node: str = ""


@dataclass
class Session:
    """One session, as it was when it was read: a copy in hand, which `update` saves.

    An empty user, connection or node means none. Times are milliseconds since the epoch, from the server's clock.
    """

    id: str = field(repr=False)
    user: str = ""
    connection: str = ""
    node: str = ""
    status: Status = "active"
    version: int = 0
    ttl_ms: int = 0
    created_at_ms: int = 0
    last_active_ms: int = 0
    expires_at_ms: int = 0
    #: The end of its life, however much it is used; 0: none.
    deadline_ms: int = 0
    attributes: Entries = field(default_factory=Entries)
    extensions: Entries = field(default_factory=Entries)
    #: What is indexed, as far as this copy knows, whatever was set on it since.
    stored: Routing = field(default=Routing(), repr=False, compare=False)

    @classmethod
    def of_record(cls, id: str, record: Record | None) -> Session:
        """A session as it is stored under an id."""
        if record is None or record.kind != "live":
            raise errors.Corrupt("record")
        texts: dict[str, dict[str, str]] = {"attribute": {}, "extension": {}}
        for entry in record.entries:
            texts[entry.kind][entry.key] = entry.json
        return cls(
            id=id,
            user=record.user,
            connection=record.connection,
            node=record.node,
            status=record.told_status,  # type: ignore[arg-type]
            version=record.version,
            ttl_ms=record.ttl,
            created_at_ms=record.created_at,
            last_active_ms=record.last_active,
            expires_at_ms=record.expires_at,
            deadline_ms=record.deadline,
            attributes=Entries.of_texts(texts["attribute"]),
            extensions=Entries.of_texts(texts["extension"]),
            stored=Routing(record.user, record.connection, record.node),
        )

    @property
    def routing(self) -> Routing:
        """Where it is to be indexed."""
        return Routing(self.user, self.connection, self.node)

    def new_routing(self) -> dict[str, str]:
        """The same, by the names of the scripts' arguments."""
        return {"new_user": self.user, "new_connection": self.connection, "new_node": self.node}

    def json(self, key: str) -> str:
        """The JSON text of an attribute."""
        return self.attributes.json(key)

    @property
    def short_hash(self) -> str:
        """What stands for the id in logs: the id is a secret."""
        return hashlib.sha1(self.id.encode(), usedforsecurity=False).hexdigest()[:8]

    def check(self, layout: Layout, rules: Rules) -> bytes:
        """Its entries, after a look at all that is saved."""
        check_names(user=self.user, connection=self.connection, node=self.node)
        check_range("ttl_ms", self.ttl_ms, 1, LONGEST_MS)
        if self.status == "migrating":
            raise errors.Frozen
        return encode_all(layout, rules, self.attributes, self.extensions)


def check_entry(rules: Rules, entry: Entry) -> Entry:
    """An entry within the limits."""
    check_text("attribute key", entry.key, 1, 255)
    check_text(f"attribute value of {entry.key!r}", entry.json, 0, rules.value_bytes)
    return entry


def encode_all(layout: Layout, rules: Rules, attributes: Entries, extensions: Entries) -> bytes:
    """All entries of a session, as a script takes them."""
    entries = [Entry("attribute", key, attributes.json(key)) for key in sorted(attributes)]
    entries += [Entry("extension", key, extensions.json(key)) for key in sorted(extensions)]
    encoded = layout.encode_entries([check_entry(rules, entry) for entry in entries])
    if len(encoded) > rules.entries_bytes or len(entries) > rules.entries_most:
        raise errors.TooLarge(len(encoded), len(entries))
    return encoded
