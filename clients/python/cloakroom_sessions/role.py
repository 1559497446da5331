"""Whether a server is the master: PING says PONG on a replica and on a master that was demoted, and both answer
reads."""

from __future__ import annotations

from typing import Any

from redis.exceptions import ResponseError

from .bundle import Command

#: For so long a server is taken for the master that said that it is, in seconds.
_COUNTS_FOR_S = 1.0
_ROLE: Command = ["ROLE"]
#: Where ROLE is not to be had: some services do not offer it, and a user may not be allowed to run it.
_INFO: Command = ["INFO", "replication"]


class NotMaster(ResponseError):
    """The server follows another one, or does not tell whether it does."""


class Role:
    """What the server at the end of one connection told of its role."""

    def __init__(self) -> None:
        self.question = _ROLE
        self._told_at: float | None = None

    @property
    def is_known(self) -> bool:
        """Whether the server said that it is the master."""
        return self._told_at is not None

    def is_due(self, now: float) -> bool:
        """Whether it has to be asked again before an answer of the server counts."""
        return self._told_at is None or now - self._told_at >= _COUNTS_FOR_S

    def forget(self) -> None:
        """The connection was made anew, and may lead to another server."""
        self._told_at = None

    def asks_otherwise(self, answer: Any) -> bool:
        """Whether the server refused the question, and there is another."""
        if isinstance(answer, Exception) and self.question == _ROLE:
            self.question = _INFO
            return True
        return False

    def heed(self, answer: Any, asked_at: float) -> Exception | None:
        """Notes that the server is the master, or returns why what it answers does not count."""
        if isinstance(answer, Exception):
            return answer
        role = answer[0] if isinstance(answer, list) else _of_info(answer)
        if role == b"master":
            self._told_at = asked_at
            return None
        return NotMaster("the server is a replica" if role == b"slave" else "the server does not tell its role")


def _of_info(answer: Any) -> bytes:
    lines = answer.splitlines() if isinstance(answer, bytes) else []
    return next((line[5:] for line in lines if line.startswith(b"role:")), b"")
