"""What is stored in a namespace, read by all formats."""

from __future__ import annotations

from typing import Any

from cloakroom_sessions.bundle import Bundle
from cloakroom_sessions.record import Record

from cases import keys, strings


class Stored:
    """All keys of a namespace at one moment."""

    def __init__(self, client: Any, bundle: Bundle, namespace: str) -> None:
        tag = f"{{{namespace}:0}}"
        self.strings = strings(client, tag)
        #: Those of sessions, and of what was one, as they are.
        self.raw = {
            key.removeprefix(":session:"): raw for key, raw in self.strings.items() if key.startswith(":session:")
        }
        self.records = {id: bundle.layout.decode(raw) for id, raw in self.raw.items()}
        indexes = [key for key in keys(client, tag) if key.endswith((":sessions", ":expiry"))]
        self.indexes: dict[str, dict[str, int]] = {}
        for key in indexes:
            members = client.zrange(f"{tag}{key}", 0, -1, withscores=True)
            self.indexes[key] = {member.decode(): int(score) for member, score in members if member}
        self.pointers = {
            key: raw.decode()
            for key, raw in self.strings.items()
            if key.startswith(":connection:") and key.endswith(":session")
        }

    @property
    def live(self) -> dict[str, Record]:
        """The sessions."""
        return {id: record for id, record in self.records.items() if record and record.kind == "live"}

    def formats(self) -> set[int]:
        """Those of all records."""
        return {raw[0] for raw in self.raw.values()}

    def check(self) -> None:
        """Each record is one, and is in the indexes that it should be in, and nothing else is in them."""
        assert all(self.records.values()), "a record is broken"
        indexes: dict[str, dict[str, int]] = {}
        pointers: dict[str, str] = {}
        for id, record in self.live.items():
            indexes.setdefault(":expiry", {})[id] = record.expires_at
            for kind, name in (("user", record.user), ("node", record.node)):
                if name:
                    indexes.setdefault(f":{kind}:{name}:sessions", {})[id] = record.created_at
            if record.connection:
                pointers[f":connection:{record.connection}:session"] = id
        assert self.indexes == indexes
        assert self.pointers == pointers
