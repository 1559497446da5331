"""What holds for all sessions of a store, and the limits of what a caller gives."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

from .errors import Invalid
from .token import PREFIX, IdScheme

#: Ten years: the longest idle time and lifetime, and how long the contract stays noted.
LONGEST_MS = 10 * 365 * 24 * 3600 * 1000
#: What a session's entries, and so a value, may take at most: their lengths take three bytes, as the scripts have it.
_MOST_BYTES = 15 * 1024 * 1024
#: How many entries a session may have at most.
_MOST_ENTRIES = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Rules:
    """How long sessions live, how large they may be, how many a user may have. All times are milliseconds."""

    #: How the ids of sessions are made that were given none: `uuid`; or `token`, and then they are hashes of tokens. A
    #: namespace has one scheme.
    id_scheme: IdScheme = "uuid"
    #: How long a session lives without being used.
    ttl_ms: int = 30 * 60 * 1000
    #: How long a session lives at most, however much it is used; 0: no limit.
    lifetime_ms: int = 0
    #: A refresh extends a session when less than this many thousandths of its ttl are left.
    threshold: int = 500
    #: A refresh writes nothing when the session was used less than this ago, unless it would expire within that time:
    #: then it is a read. For a service that refreshes with each request, take 60 s, or a twentieth of the ttl if less.
    touch_ms: int = 0
    #: How long an expired session stays stored, for a reaper to find out what it was.
    grace_ms: int = 3600 * 1000
    #: How long the old id of a rotated session still leads to it.
    rotation_grace_ms: int = 30 * 1000
    #: How long the id of a deleted session cannot be created again.
    tombstone_ms: int = 30 * 1000
    #: How many live sessions a user may have, at most 500; 0: no limit.
    limit: int = 0
    #: What happens to one more: it is refused, or the oldest are deleted.
    policy: Literal["reject", "evict"] = "reject"
    #: The largest JSON text of one attribute or extension, in bytes.
    value_bytes: int = 256 * 1024
    #: What all entries of a session may take, in bytes, with their keys and five bytes each.
    entries_bytes: int = 256 * 1024
    #: How many entries a session may have, and how many changes of them a call may make.
    entries_most: int = 1024

    def __post_init__(self) -> None:
        check_range("ttl_ms", self.ttl_ms, 1, LONGEST_MS)
        check_range("lifetime_ms", self.lifetime_ms, 0, LONGEST_MS)
        check_range("threshold", self.threshold, 1, 1000)
        check_range("touch_ms", self.touch_ms, 0, self.ttl_ms)
        check_range("grace_ms", self.grace_ms, 1000, LONGEST_MS)
        check_range("rotation_grace_ms", self.rotation_grace_ms, 1, LONGEST_MS)
        check_range("tombstone_ms", self.tombstone_ms, 1, LONGEST_MS)
        check_range("limit", self.limit, 0, 500)
        check_range("value_bytes", self.value_bytes, 1, _MOST_BYTES)
        check_range("entries_bytes", self.entries_bytes, 1, _MOST_BYTES)
        check_range("entries_most", self.entries_most, 1, _MOST_ENTRIES)
        if self.policy not in ("reject", "evict"):
            raise Invalid("policy is neither reject nor evict")
        if self.id_scheme not in ("uuid", "token"):
            raise Invalid("id_scheme is neither uuid nor token")

    def is_touch_due(self, last_active: int, expires_at: int, now: int) -> bool:
        """Whether a refresh at a time has something to write, as the script decides it."""
        return abs(now - last_active) >= self.touch_ms or expires_at - now <= self.touch_ms

    def arguments(self) -> dict[str, int | str]:
        """By the names of the scripts' arguments; but not the ttl, whose absence can mean that it stays as it is, nor
        the scheme of ids, of which no script knows."""
        arguments = asdict(self)
        del arguments["ttl_ms"], arguments["id_scheme"]
        return arguments


def check_range(field: str, value: int, least: int, most: int) -> None:
    """An integer within its limits."""
    if not isinstance(value, int) or not least <= value <= most:
        raise Invalid(f"{field} is {value}, must be an integer of {least} to {most}")


def check_text(field: str, text: str, least: int, most: int) -> None:
    """A text whose bytes are within their limits."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise Invalid(f"{field} has no form in UTF-8") from None
    if not least <= size <= most:
        raise Invalid(f"{field} is {size} bytes, must be {least} to {most}")


def check_id(id: str) -> None:
    """A session id."""
    if not isinstance(id, str):
        raise Invalid("session id is no text")
    check_text("session id", id, 1, 128)
    if id.startswith(PREFIX):
        raise Invalid("session id is a token: whoever holds one is asked for it by Token.parse")


def check_names(**names: str) -> None:
    """Users, connections and nodes; empty means none."""
    for field, name in names.items():
        check_text(field, name, 0, 256)


def check_required(**names: str) -> None:
    """The same, where empty would mean none."""
    for field, name in names.items():
        check_text(field, name, 1, 256)


def check_task(task: bytes) -> None:
    """What names a migration in what is stored, where zeros stand for none."""
    if not isinstance(task, bytes) or len(task) != 8 or task == bytes(8):
        raise Invalid("task must be eight bytes, not all zero")
