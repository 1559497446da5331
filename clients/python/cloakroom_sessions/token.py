"""A session's token: the secret that its client holds. The session's id is its hash."""

from __future__ import annotations

import hashlib
import os
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Literal, NoReturn

from .errors import Invalid

#: How the ids of a namespace are made: at random, or as the hashes of tokens.
IdScheme = Literal["uuid", "token"]

#: How every token begins, so that one is known where it does not belong: in a log, or in a repository.
PREFIX = "ckt_"
#: 32 bytes in base64url.
_DIGITS = 43


class Token:
    """The secret that a client holds for its session, and the store does not have. `Token.parse` reads a client's.

    Only `expose` shows the token. Two tokens are compared by their ids: an attacker who measures the time of that
    learns about a hash, which does not reveal the token."""

    __slots__ = ("_id", "_secret")

    def __init__(self, text: str) -> None:
        digits = text[len(PREFIX) :] if isinstance(text, str) and text.startswith(PREFIX) else ""
        if len(digits) != _DIGITS or not _are_whole(digits):
            raise Invalid("token", f'must be "{PREFIX}" and {_DIGITS} digits of base64url')
        self._secret = text
        self._id = _text(hashlib.sha256(text.encode()).digest())

    @classmethod
    def parse(cls, text: str) -> Token:
        """Reads a token that came from a client. `Invalid` if the text is not one; the error does not show the text."""
        return cls(text)

    @classmethod
    def random(cls) -> Token:
        """A new random token."""
        return cls.of_seed(os.urandom(32))

    @classmethod
    def of_seed(cls, seed: bytes) -> Token:
        """That of 32 bytes."""
        return cls(PREFIX + _text(seed))

    def expose(self) -> str:
        """The token's text, for the client alone."""
        return self._secret

    @property
    def id(self) -> str:
        """The id of its session, which is no secret."""
        return self._id

    def __repr__(self) -> str:
        return f"Token(of {self._id})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Token) and other._id == self._id

    def __hash__(self) -> int:
        return hash(self._id)

    def __copy__(self) -> Token:
        return self

    def __deepcopy__(self, _memo: object) -> Token:
        return self

    def __reduce__(self) -> NoReturn:
        """What is pickled is kept somewhere."""
        raise TypeError("a token is not pickled: expose() is its text")


#: What stands for a session where nothing else is known of it: its id, or its token where ids are the hashes of those.
Id = str | Token


def token_of(id: Id) -> Token | None:
    """The token that a session is made with. `None`: its client holds the id."""
    return id if isinstance(id, Token) else None


def _text(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _are_whole(digits: str) -> bool:
    """Whether all are digits of base64url. Of the last one two bits stand for nothing, and are 0: one token has one
    text."""
    try:
        return _text(urlsafe_b64decode(digits + "=")) == digits
    except ValueError:
        return False
