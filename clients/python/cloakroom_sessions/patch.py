"""Changes of a session, once they are checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from .arguments import check_word
from .duration import Duration, optional_ms
from .entries import changes_of
from .record import Entry
from .rules import Rules
from .session import Session


@dataclass(frozen=True)
class Patch:
    """What a patch changes, or a rotation beside the id: what it does not name stays."""

    #: The last change of a key counts; an empty text removes.
    entries: list[Entry] = field(default_factory=list, repr=False)
    status: Literal["active", "suspended"] | None = None
    ttl_ms: int | None = None
    #: How long the session lives at most from now on.
    lifetime_ms: int | None = None

    @classmethod
    def of(
        cls,
        rules: Rules,
        *,
        set: Mapping[str, Any] | None,
        remove: Iterable[str],
        set_extensions: Mapping[str, Any] | None,
        remove_extensions: Iterable[str],
        ttl: Duration | None,
        lifetime: Duration | None,
        status: Literal["active", "suspended"] | None = None,
    ) -> Patch:
        """What a caller gave."""
        if status is not None:
            check_word("status", status, "active", "suspended")
        entries = changes_of(rules, set, remove, set_extensions, remove_extensions)
        return cls(entries, status, optional_ms("ttl", ttl), optional_ms("lifetime", lifetime))

    def apply_entries(self, session: Session) -> None:
        """Changes the entries of a copy."""
        maps = {"attribute": session.attributes, "extension": session.extensions}
        for entry in self.entries:
            maps[entry.kind]._set_text(entry.key, entry.json)
