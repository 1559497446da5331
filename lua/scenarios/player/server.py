"""The server that a client connects to."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import Any

from . import greeting
from .exchange import Cut, Exchange
from .wire import Failure, Status, read_command, reply_bytes


class Server:
    """Listens on a free port of this machine, until it is stopped."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self) -> None:
        """Takes no more connections."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        connection = _Connection(self._exchange)
        with suppress(OSError, Cut), client, client.makefile("rb") as stream:
            while (command := read_command(stream)) is not None:
                reply = connection.answer(command)
                client.sendall(reply_bytes(reply, connection.protocol))


class _Connection:
    """What one connection has agreed on."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self.protocol = 2
        #: The commands of a transaction.
        self._queued: list[list[bytes]] | None = None

    def answer(self, command: list[bytes]) -> Any:
        """The reply to a command. Raises `Cut`."""
        name, arguments = command[0].decode(errors="replace").upper(), command[1:]
        if name == "MULTI":
            self._queued = []
            return Status("OK")
        if name in ("EXEC", "DISCARD"):
            return self._end(name)
        if self._queued is not None:
            self._queued.append(command)
            return Status("QUEUED")
        greeted = greeting.answer(name, arguments, self.protocol)
        if greeted is not None:
            reply, self.protocol = greeted
            return reply
        return self._exchange.answer(name, arguments)

    def _end(self, name: str) -> Any:
        queued, self._queued = self._queued, None
        if queued is None:
            return Failure(f"ERR {name} without MULTI")
        return Status("OK") if name == "DISCARD" else [self.answer(command) for command in queued]
