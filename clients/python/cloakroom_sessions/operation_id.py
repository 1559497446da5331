"""The id of a call."""

from __future__ import annotations

import hashlib
import os
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import count

from .arguments import check_bytes
from .token import Token


@dataclass(frozen=True)
class OperationId:
    """The idempotency key of one call; the id of a session that the call makes is derived from it. The operation id of
    an `Ambiguous`, or one made of stored bytes, says that its call may have happened; for the latter the time of the
    call is unknown. A call repeated under such an id ends in `Ambiguous` again if four other changes came since."""

    stored: bytes
    seed: bytes
    #: When it was made, by the steady clock: no call under it was sent before. `None` of one that was stored.
    made_at: float | None = field(default=None, compare=False, repr=False)
    #: Whether a call under it may have happened.
    is_of_a_repeat: bool = field(default=True, compare=False, repr=False)

    def __post_init__(self) -> None:
        check_bytes("stored", self.stored, 8)
        check_bytes("seed", self.seed, 32)

    @classmethod
    def random(cls) -> OperationId:
        """A new one, for a new call."""
        return cls(os.urandom(8), os.urandom(32), time.monotonic(), is_of_a_repeat=False)

    def of_a_repeat(self) -> OperationId:
        """The same, for a call that may have happened."""
        return replace(self, is_of_a_repeat=True)

    def of_a_first_call(self) -> OperationId:
        """The same, for a call that what is stored tells of by more than its id: it goes by a bound of its own."""
        return replace(self, made_at=time.monotonic(), is_of_a_repeat=False)

    def session_id(self) -> str:
        """The same for the same call."""
        return str(uuid.UUID(bytes=self.seed[:16], version=4))

    def nth(self, place: int) -> OperationId:
        """That of one of many sessions that a call makes, the same for the same call; of the first it is the call's.
        All languages make it alike, for the copies of a login have such ids."""
        if place == 0:
            return self
        bytes = hashlib.sha512(self.seed + self.stored + place.to_bytes(8, "big")).digest()
        return replace(self, stored=bytes[:8], seed=bytes[8:40])

    def tokens(self) -> Iterator[Token]:
        """Those that the call may make, one after the other: the same for the same call. None tells another, nor what
        they are made of."""
        for place in count():
            yield Token.of_seed(hashlib.sha512(b"token" + self.seed + place.to_bytes(8, "big")).digest()[:32])

    def __reduce__(self) -> tuple[type[OperationId], tuple[bytes, bytes]]:
        """What is stored of it: another process has another steady clock."""
        return OperationId, (self.stored, self.seed)

    def __repr__(self) -> str:
        return f"OperationId({self.stored.hex()})"
