"""What a client says before it works, and what it is answered: as by a master of Redis 7.0 that allows everything."""

from __future__ import annotations

from typing import Any

from .wire import Failure, Status

INFO = "\r\n".join([
    "# Server", "redis_version:7.0.15", "redis_mode:standalone", f"run_id:{'5' * 40}", "tcp_port:6379",
    "# Memory", "maxmemory:0", "maxmemory_policy:noeviction",
    "# Persistence", "loading:0", "aof_enabled:0",
    "# Replication", "role:master", "connected_slaves:0", "",
])  # fmt: skip


def answer(name: str, arguments: list[bytes], protocol: int) -> tuple[Any, int] | None:
    """A reply, and the protocol from then on; `None` to anything else."""
    word = arguments[0].upper() if arguments else b""
    if name == "HELLO":
        protocol = int(word) if word.isdigit() else protocol
        hello = {b"server": b"redis", b"version": b"7.0.15", b"proto": protocol, b"id": 1,
                 b"mode": b"standalone", b"role": b"master", b"modules": []}  # fmt: skip
        return hello, protocol
    if name in ("AUTH", "SELECT", "READONLY", "READWRITE", "RESET", "QUIT"):
        return Status("OK"), protocol
    if name == "CLIENT":
        return (1 if word == b"ID" else Status("OK")), protocol
    if name == "PING":
        return arguments[0] if arguments else Status("PONG"), protocol
    if name == "ECHO":
        return arguments[0], protocol
    if name == "INFO":
        return INFO.encode(), protocol
    if name == "ROLE":
        return [b"master", 0, []], protocol
    if name == "CLUSTER":
        return Failure("ERR This instance has cluster support disabled"), protocol
    if name in ("COMMAND", "CONFIG"):
        return [], protocol
    return None
