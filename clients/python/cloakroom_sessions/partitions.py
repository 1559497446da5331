"""The partitions of a namespace: in which of them a session lives, and their tags."""

from __future__ import annotations

import hashlib
from binascii import crc_hqx
from collections.abc import Iterator
from functools import lru_cache

from . import errors
from .arguments import check_id, check_integer, check_text
from .bundle import stored
from .operation_id import OperationId
from .token import Id, IdScheme, Token

#: How many there may be.
MOST = 1024
#: How many slots a cluster has.
SLOTS = 16384
#: How many hex digits at the end of an id differ from draw to draw.
_TAIL = 12


class Partitions:
    """Those of a namespace that has so many. A session lives in the partition of its id, and the id of a session with a
    user is in the partition of that user."""

    def __init__(self, namespace: str, count: int, events: int = 0, id_scheme: IdScheme = "uuid") -> None:
        check_namespace(namespace)
        check_integer("partitions", count, 1, MOST)
        self.namespace = namespace
        self.count = count
        #: How many events each keeps; 0: none are told.
        self.events = events
        #: How their ids are made.
        self.id_scheme = id_scheme
        #: What the keys of each begin with.
        self.tags = _tags(namespace, count)

    @property
    def first(self) -> int:
        """The one with the tag 0, which there is whatever their number."""
        return self.tags.index(first_tag(self.namespace))

    def of(self, text: str) -> int:
        """That of a session's id, or of a user."""
        return 0 if self.count == 1 else _crc(text) % self.count

    def id_of(self, given: Id, field: str = "id") -> str:
        """The id that stands for a session, as a caller gave it."""
        if isinstance(given, Token):
            if self.id_scheme != "token":
                raise errors.Invalid(field, "is a token, in a namespace whose ids are none of tokens")
            return given.id
        check_id(given, field)
        return given

    def new_id(self, operation: OperationId, user: str) -> Id:
        """An id for a new session of a user, or of nobody, or the token of one: the same when the call is repeated."""
        if user:
            return self.new_id_in(self.of(user), operation)
        return next(operation.tokens()) if self.id_scheme == "token" else operation.session_id()

    def new_id_in(self, partition: int, operation: OperationId) -> Id:
        """The same in a partition."""
        if self.id_scheme == "token":
            return next(token for token in operation.tokens() if self.of(token.id) == partition)
        if self.count == 1:
            return operation.session_id()
        return next(id for id in _draws(operation) if self.of(id) == partition)

    def check(self, id: str, user: str) -> None:
        """Refuses an id for a session of a user who is in another partition."""
        if user and self.of(id) != self.of(user):
            raise self._misfit("id", id, f"its user is in partition {self.of(user)}")

    def check_in(self, partition: int, id: str) -> None:
        """The same for the new id of a session that stays in its partition."""
        if self.of(id) != partition:
            raise self._misfit("new_id", id, f"the session is in partition {partition}")

    def _misfit(self, field: str, id: str, other: str) -> errors.Invalid:
        return errors.Invalid(field, f"is in partition {self.of(id)} of {self.count}, and {other}")


def check_namespace(namespace: str) -> None:
    """What the tags begin with."""
    check_text("namespace", namespace, 1, 64)
    if "{" in namespace or "}" in namespace:
        raise errors.Invalid("namespace", "has a brace, which would change the hash tag")


def first_tag(namespace: str) -> str:
    """The tag that there is in namespaces of all numbers."""
    return f"{{{namespace}:0}}"


@lru_cache
def _tags(namespace: str, count: int) -> list[str]:
    """The slots of a cluster are cut into as many slices, and the tag of a partition is the first whose slot lies in
    its slice."""
    found: dict[int, str] = {}
    number = 0
    while len(found) < count:
        tag = f"{{{namespace}:{number}}}"
        found.setdefault(slot_of(tag) * count // SLOTS, tag)
        number += 1
    return [found[at] for at in range(count)]


def slot_of(tag: str) -> int:
    """The slot of a cluster in which all keys of a partition are."""
    return _crc(tag[1:-1]) % SLOTS


def _draws(operation: OperationId) -> Iterator[str]:
    """Ids one after the other, the same for the same operation; they differ at the end, and each is as random as one
    that is drawn once."""
    head = operation.session_id()[:-_TAIL]
    place = 0
    while True:
        digits = hashlib.sha512(b"draw" + operation.seed + place.to_bytes(8, "big")).hexdigest()
        for at in range(0, len(digits) - _TAIL + 1, _TAIL):
            yield head + digits[at : at + _TAIL]
        place += 1


def _crc(text: str) -> int:
    """CRC-16/XMODEM, by which a cluster finds the slot of a key."""
    raw = stored(text)
    assert isinstance(raw, bytes)
    return crc_hqx(raw, 0)
