"""What is said over one connection for one errand: the server's time and role first, where they are not known, and then
the commands. Nothing here touches a socket: the talk yields what is sent, and gets the replies."""

from __future__ import annotations

import time
import weakref
from collections.abc import Generator
from typing import Any, NamedTuple

from . import errors
from .bundle import Command
from .call import Commands, Lost, Outcome, Replies, Timed, Unsent
from .link import BROKEN, because
from .role import Role
from .server_clock import ServerClock
from .server_errors import is_forbidden, is_of_wrong_server

_TIME: Command = ["TIME"]


class Said(NamedTuple):
    """Commands in one pipeline."""

    commands: list[Command]
    #: Whether they are those of the errand, and nothing is said behind them.
    is_last: bool


class Spoken(NamedTuple):
    """What became of an errand."""

    outcome: Outcome
    #: Whether the connection may be used again.
    keeps: bool


class Peer:
    """What is known of the server at the end of a connection."""

    def __init__(self) -> None:
        self.clock, self.role = ServerClock(), Role()

    def forget(self, _connection: object = None) -> None:
        """The connection was made anew, and may lead to another server."""
        self.clock.forget()
        self.role.forget()


class Peers:
    """What is known of those at the ends of all connections. Whoever uses it has the connection."""

    def __init__(self) -> None:
        self._known: weakref.WeakKeyDictionary[Any, Peer] = weakref.WeakKeyDictionary()

    def of(self, connection: Any) -> Peer:
        """That at the end of a connection: another one, once redis-py has connected it anew."""
        peer = self._known.get(connection)
        if peer is None:
            peer = self._known[connection] = Peer()
            connection.register_connect_callback(peer.forget)
        return peer


def talk(peer: Peer, commands: Commands, asks_role: bool) -> Generator[Said, Replies, Spoken]:
    """Says the commands of an errand. With `asks_role` nothing counts that comes of a server which is not the
    master. Raises `Forbidden` where a server does not let itself be asked."""
    was_asked = False
    while asks_role and not peer.role.is_known:
        preamble = [_TIME, peer.role.question]
        try:
            replies = yield Said(preamble, is_last=False)
        except BROKEN as error:
            return Spoken(because(Unsent(), error), keeps=False)
        if peer.role.asks_otherwise(replies[1]):
            continue
        if refused := peer.role.heed(replies[1], time.monotonic()):
            if is_forbidden(refused):
                raise errors.Forbidden(["+role"]) from refused
            return Spoken(because(Unsent(), refused), keeps=False)
        _note_times(peer.clock, preamble, replies)
        was_asked = True
    if not was_asked and _asks_time(commands, peer.clock):
        try:
            replies = yield Said([_TIME], is_last=False)
        except BROKEN as error:
            return Spoken(because(Unsent(), error), keeps=False)
        _note_times(peer.clock, [_TIME], replies)
    return (yield from _say(peer, commands, asks_role))


def _say(peer: Peer, commands: Commands, asks_role: bool) -> Generator[Said, Replies, Spoken]:
    asked_at = time.monotonic()
    # In front: what runs behind it is run by a server that is the master, unless it is demoted at that very moment.
    questions = [peer.role.question] if asks_role and peer.role.is_due(asked_at) else []
    sent = [command.make(peer.clock) if isinstance(command, Timed) else command for command in commands]
    try:
        replies = yield Said([*questions, *sent], is_last=True)
    except BROKEN as error:
        return Spoken(because(Lost(), error), keeps=False)
    if questions:
        answer, *replies = replies
        if refused := peer.role.heed(answer, asked_at):
            return Spoken(because(Unsent(), refused), keeps=False)
    _note_times(peer.clock, sent, replies)
    return Spoken(replies, keeps=not any(map(is_of_wrong_server, replies)))


def _asks_time(commands: Commands, clock: ServerClock) -> bool:
    """Whether the server is asked for its time before commands are made."""
    return any(isinstance(command, Timed) and command.asks(clock) for command in commands)


def _note_times(clock: ServerClock, commands: list[Command], replies: Replies) -> None:
    """Notes each time that a server told."""
    for command, reply in zip(commands, replies, strict=True):
        if command == _TIME and isinstance(reply, list):
            clock.saw(reply)
