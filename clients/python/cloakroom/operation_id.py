"""The id of a call."""

from __future__ import annotations

import hashlib
import os
import uuid
from dataclasses import dataclass


@dataclass(frozen=True)
class OperationId:
    """What a call is recognized by when it comes twice, and what the id of a session that it makes is made of."""

    stored: bytes
    seed: bytes

    @classmethod
    def random(cls) -> OperationId:
        """A new one, for a new call."""
        return cls(os.urandom(8), os.urandom(16))

    def session_id(self) -> str:
        """The same for the same call."""
        return str(uuid.UUID(bytes=self.seed, version=4))

    def nth(self, place: int) -> OperationId:
        """That of one of many sessions that a call makes, the same for the same call; of the first it is the call's."""
        if place == 0:
            return self
        bytes = hashlib.sha256(self.seed + self.stored + place.to_bytes(8, "big")).digest()
        return OperationId(bytes[:8], bytes[8:24])

    def __repr__(self) -> str:
        return f"OperationId({self.stored.hex()})"
