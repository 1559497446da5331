"""A session as the application sees it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Literal, NamedTuple

from . import errors
from .arguments import check_instant, check_names, check_word
from .duration import duration_ms, of_ms
from .entries import Entries, encode_all
from .record import Layout, Record
from .rules import Rules

if TYPE_CHECKING:
    from .results import Patched

Status = Literal["active", "suspended", "migrating"]


class Routing(NamedTuple):
    """Where a session is indexed."""

    user: str = ""
    connection: str = ""
    node: str = ""


@dataclass
class Session:
    """A copy of one session, as it was at the read; `update` saves it. An empty user, connection or node means none.
    Times are milliseconds since the epoch, from the server's clock."""

    id: str = field(repr=False)
    user: str = ""
    connection: str = ""
    node: str = ""
    status: Status = "active"
    version: int = 0
    #: How long it lives without being used.
    ttl: timedelta = timedelta()
    created_at_ms: int = 0
    last_active_ms: int = 0
    expires_at_ms: int = 0
    #: The end of its life, however much it is used; 0: none.
    deadline_ms: int = 0
    attributes: Entries = field(default_factory=Entries)
    extensions: Entries = field(default_factory=lambda: Entries(field="extensions"))
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
            ttl=of_ms(record.ttl),
            created_at_ms=record.created_at,
            last_active_ms=record.last_active,
            expires_at_ms=record.expires_at,
            deadline_ms=record.deadline,
            attributes=Entries._of_texts(texts["attribute"], "attributes"),
            extensions=Entries._of_texts(texts["extension"], "extensions"),
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
        """A short hash for logs, because the id is a secret."""
        return hashlib.sha1(self.id.encode(), usedforsecurity=False).hexdigest()[:8]

    @property
    def ttl_ms(self) -> int:
        """The ttl, as the scripts take it."""
        return duration_ms("ttl", self.ttl)

    def apply(self, patched: Patched) -> bool:
        """Applies to this copy a change that `patch` made in the store, and returns whether it did. It does so only in
        a copy of that session at the version before the patch. Afterwards an `update` of the copy does not conflict
        with that patch."""
        if not hasattr(patched, "apply_to"):
            raise errors.Invalid("patched", "must be what a patch came to")
        is_next = self.id == patched.id and self.version == patched.version - patched.changed
        if is_next:
            patched.apply_to(self)
        return is_next

    def check(self, layout: Layout, rules: Rules) -> bytes:
        """Its entries, after a look at all that is saved."""
        check_names(user=self.user, connection=self.connection, node=self.node)
        duration_ms("ttl", self.ttl)
        check_instant("version", self.version)
        check_word("status", self.status, "active", "suspended", "migrating")
        if self.status == "migrating":
            raise errors.Frozen
        self.attributes = Entries._of_any(self.attributes, "attributes")
        self.extensions = Entries._of_any(self.extensions, "extensions")
        return encode_all(layout, rules, self.attributes, self.extensions)
