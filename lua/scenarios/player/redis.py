"""A Redis server beside the scenario's, which shows what it would answer."""

from __future__ import annotations

import socket
from typing import Any

from .wire import Failure, command_bytes, read_reply


class Redis:
    """A connection to a Redis server on this machine."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._stream = self._socket.makefile("rb")
        self._touched: set[bytes] = set()

    def ask(self, *parts: Any) -> Any:
        """What it answers, a `Failure` for an error."""
        self._socket.sendall(command_bytes(list(parts)))
        return read_reply(self._stream)

    def put(self, key: bytes, value: Any) -> None:
        """What a key holds from now on."""
        self._touched.add(key)
        self.ask("DEL", key)
        if isinstance(value, bytes):
            self.ask("SET", key, value)
        elif isinstance(value, dict):
            self.ask("ZADD", key, *(each for member, score in value.items() for each in (score, member)))
        elif value is not None:
            self.ask("RPUSH", key, *value)
        if value is not None:
            self.ask("PEXPIRE", key, 600_000)

    def answer(self, source: str, keys: list[bytes], arguments: list[bytes]) -> Any:
        """What a script answers."""
        self._touched.update(keys)
        answer = self.ask("EVALSHA", self.ask("SCRIPT", "LOAD", source), len(keys), *keys, *arguments)
        return f"the error {answer}" if isinstance(answer, Failure) else answer

    def close(self) -> None:
        """Leaves nothing behind, and ends the connection."""
        self.ask("DEL", *self._touched)
        self._stream.close()
        self._socket.close()
