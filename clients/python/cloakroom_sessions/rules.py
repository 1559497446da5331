"""The rules for all sessions of a store."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import Literal

from .arguments import check_integer, check_word
from .duration import Duration, duration_ms, of_ms, optional_ms
from .errors import Invalid
from .token import IdScheme

#: What a session's entries, and so a value, may take at most: their lengths take three bytes, as the scripts have it.
_MOST_BYTES = 15 * 1024 * 1024
#: How many entries a session may have at most.
_MOST_ENTRIES = 1_000_000
#: How many sessions a limit may allow a user: the limit check of one script call rests on it.
_MOST_SESSIONS = 500
#: The touch interval of a service that refreshes with each request, unless its sessions live so short that it would be
#: more than one in so many parts of their ttl.
_REQUEST_TOUCH_MS = 60_000
_TOUCHES_PER_TTL = 20
_POLICIES = {"reject": "reject", "evict_oldest": "evict"}


@dataclass(frozen=True, init=False)
class Rules:
    """How long sessions live, how large they may be, how many a user may have. A duration is given as a `timedelta` or
    in seconds. All processes that share a namespace should share the rules."""

    #: How the ids of sessions are made that were given none: `uuid`; or `token`, and then they are hashes of tokens. A
    #: namespace has one scheme.
    id_scheme: IdScheme
    #: How long a session lives without being used: 30 minutes, unless told.
    ttl: timedelta
    #: How long a session lives at most, however much it is used. `None`: no limit.
    max_lifetime: timedelta | None
    #: A use extends a session when less than this part of its ttl is left, above 0.0 and at most 1.0, which extends it
    #: each time: 0.5, unless told.
    refresh_threshold: float
    #: A refresh writes nothing when the session was used less than this ago, unless it would expire within that time:
    #: then it is a read. Nor does a patch, an update or a bind note the use then.
    touch_interval: timedelta
    #: How long an expired session stays stored, for a reaper to find out what it was.
    grace: timedelta
    #: How long the old id of a rotated session still leads to it.
    rotation_grace: timedelta
    #: How long the id of a deleted session cannot be created again.
    tombstone: timedelta
    #: How many live sessions a user may have, 1 to 500. `None`: no limit.
    sessions_per_user: int | None
    #: What happens to one more: it is refused, or the user's oldest are deleted.
    on_limit: Literal["reject", "evict_oldest"]
    #: The largest JSON text of one attribute or extension, in bytes.
    value_bytes: int
    #: What all attributes and extensions of a session may take, in bytes, with their keys and five bytes each.
    session_bytes: int
    #: How many attributes and extensions a session may have together, and how many changes of them a call may make.
    session_entries: int

    def __init__(
        self,
        *,
        id_scheme: IdScheme = "uuid",
        ttl: Duration | None = None,
        max_lifetime: Duration | None = None,
        idle_timeout: Duration | None = None,
        refresh_threshold: float | None = None,
        touch_interval: Duration | None = None,
        grace: Duration = 3600,
        rotation_grace: Duration = 30,
        tombstone: Duration = 30,
        sessions_per_user: int | None = None,
        on_limit: Literal["reject", "evict_oldest"] = "reject",
        value_bytes: int = 256 * 1024,
        session_bytes: int = 256 * 1024,
        session_entries: int = 1024,
    ) -> None:
        """`idle_timeout` is how long a session lives after its last use. It sets the ttl, makes every use extend it,
        and sets a touch interval for a service that refreshes with each request: 60 seconds, or a twentieth of the ttl
        if that is less. It replaces `ttl`, `refresh_threshold` and `touch_interval`. docs/guide.md says which calls
        are uses."""
        if idle_timeout is not None:
            if not ttl is refresh_threshold is touch_interval is None:
                raise Invalid("idle_timeout", "stands in for ttl, refresh_threshold and touch_interval")
            ttl_ms, threshold = duration_ms("idle_timeout", idle_timeout), 1.0
            touch_ms = min(ttl_ms // _TOUCHES_PER_TTL, _REQUEST_TOUCH_MS)
        else:
            ttl_ms = duration_ms("ttl", 1800 if ttl is None else ttl)
            threshold = _part("refresh_threshold", 0.5 if refresh_threshold is None else refresh_threshold)
            touch_ms = 0 if touch_interval is None else duration_ms("touch_interval", touch_interval, 0, ttl_ms)
        lifetime_ms = optional_ms("max_lifetime", max_lifetime)
        if sessions_per_user is not None:
            check_integer("sessions_per_user", sessions_per_user, 1, _MOST_SESSIONS)
        check_word("on_limit", on_limit, *_POLICIES)
        check_word("id_scheme", id_scheme, "uuid", "token")
        check_integer("value_bytes", value_bytes, 1, _MOST_BYTES)
        check_integer("session_bytes", session_bytes, 1, _MOST_BYTES)
        check_integer("session_entries", session_entries, 1, _MOST_ENTRIES)
        self.__dict__.update(
            id_scheme=id_scheme,
            ttl=of_ms(ttl_ms),
            max_lifetime=None if lifetime_ms is None else of_ms(lifetime_ms),
            refresh_threshold=threshold,
            touch_interval=of_ms(touch_ms),
            grace=of_ms(duration_ms("grace", grace, 1000)),
            rotation_grace=of_ms(duration_ms("rotation_grace", rotation_grace)),
            tombstone=of_ms(duration_ms("tombstone", tombstone)),
            sessions_per_user=sessions_per_user,
            on_limit=on_limit,
            value_bytes=value_bytes,
            session_bytes=session_bytes,
            session_entries=session_entries,
        )

    @cached_property
    def ttl_ms(self) -> int:
        """The ttl, as the scripts take it."""
        return duration_ms("ttl", self.ttl)

    @cached_property
    def lifetime_ms(self) -> int:
        """The longest lifetime, as the scripts take it; 0: no limit."""
        return optional_ms("max_lifetime", self.max_lifetime) or 0

    @cached_property
    def touch_ms(self) -> int:
        """The touch interval, as the scripts take it."""
        return duration_ms("touch_interval", self.touch_interval, 0)

    @cached_property
    def rotation_grace_ms(self) -> int:
        """The grace of a rotation, as the scripts take it."""
        return duration_ms("rotation_grace", self.rotation_grace)

    def is_touch_due(self, last_active: int, expires_at: int, now: int) -> bool:
        """Whether a refresh at a time has something to write, as the script decides it."""
        return abs(now - last_active) >= self.touch_ms or expires_at - now <= self.touch_ms

    @cached_property
    def arguments(self) -> dict[str, int | str]:
        """By the names of the scripts' arguments; but not the ttl, whose absence can mean that it stays as it is, nor
        the scheme of ids, of which no script knows."""
        return {
            "lifetime_ms": self.lifetime_ms,
            # There are no floats in their arguments.
            "threshold": math.ceil(self.refresh_threshold * 1000),
            "touch_ms": self.touch_ms,
            "grace_ms": duration_ms("grace", self.grace),
            "rotation_grace_ms": self.rotation_grace_ms,
            "tombstone_ms": duration_ms("tombstone", self.tombstone),
            "limit": self.sessions_per_user or 0,
            "policy": _POLICIES[self.on_limit],
            "entries_bytes": self.session_bytes,
            "entries_most": self.session_entries,
        }


def _part(field: str, value: float) -> float:
    """A part of a whole, that is more than none of it."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0.0 < value <= 1.0:
        raise Invalid(field, "must be above 0.0 and at most 1.0")
    return float(value)
