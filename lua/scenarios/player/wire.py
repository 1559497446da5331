"""Commands and replies as they go over a connection, by RESP2 and RESP3."""

from __future__ import annotations

from typing import Any, BinaryIO


class Status(str):
    """A reply such as OK."""


class Pairs(list[Any]):
    """Members with their scores: in pairs by RESP3, one behind the other by RESP2."""


class Failure(Exception):
    """A reply that is an error."""


def read_command(stream: BinaryIO) -> list[bytes] | None:
    """The next command; `None` where the client has closed the connection."""
    line = stream.readline()
    if not line.endswith(b"\r\n"):
        return None
    if line[:1] != b"*":
        return line.split()
    parts = []
    for _ in range(int(line[1:])):
        size = int(stream.readline()[1:])
        parts.append(stream.read(size + 2)[:-2])
    return parts


def read_reply(stream: BinaryIO) -> Any:
    """The next reply by RESP2, a `Failure` for an error."""
    line = stream.readline()
    kind, rest = line[:1], line[1:-2]
    if kind == b"+":
        return Status(rest.decode())
    if kind == b"-":
        return Failure(rest.decode())
    if kind == b":":
        return int(rest)
    if kind == b"$":
        return None if rest == b"-1" else stream.read(int(rest) + 2)[:-2]
    if kind == b"*":
        return None if rest == b"-1" else [read_reply(stream) for _ in range(int(rest))]
    raise ValueError(f"no reply: {line!r}")


def command_bytes(parts: list[Any]) -> bytes:
    """A command, of bytes, texts and integers."""
    raw = [part if isinstance(part, bytes) else str(part).encode() for part in parts]
    return b"*%d\r\n" % len(raw) + b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in raw)


def reply_bytes(reply: Any, protocol: int) -> bytes:
    """A reply: bytes, an integer, a status, an error, `None`, a float, a list, or a dictionary."""
    if reply is None:
        return b"_\r\n" if protocol == 3 else b"$-1\r\n"
    if isinstance(reply, Failure):
        return b"-%b\r\n" % str(reply).encode()
    if isinstance(reply, Status):
        return b"+%b\r\n" % reply.encode()
    if isinstance(reply, float):
        text = b"%d" % reply if reply.is_integer() else repr(reply).encode()
        return b",%b\r\n" % text if protocol == 3 else b"$%d\r\n%b\r\n" % (len(text), text)
    if isinstance(reply, int):
        return b":%d\r\n" % reply
    if isinstance(reply, bytes):
        return b"$%d\r\n%b\r\n" % (len(reply), reply)
    if isinstance(reply, dict):
        flat = [each for pair in reply.items() for each in pair]
        items = b"".join(reply_bytes(each, protocol) for each in flat)
        return (b"%%%d\r\n" % len(reply) if protocol == 3 else b"*%d\r\n" % len(flat)) + items
    if isinstance(reply, Pairs) and protocol == 2:
        reply = [each for pair in reply for each in pair]
    return b"*%d\r\n" % len(reply) + b"".join(reply_bytes(each, protocol) for each in reply)
