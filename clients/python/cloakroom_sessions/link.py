"""What both stores share of a connection: what its errors say, and how a store begins."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable
from itertools import islice
from typing import Any, TypeVar

from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import AuthenticationError, BusyLoadingError, ReadOnlyError, RedisError, ResponseError

from . import bundle
from .arguments import check_kind
from .bundle import Command
from .call import Commands, Engine, Outcome, Parcel, Timed
from .cluster import Address, Errand
from .duration import Duration, duration_ms
from .errors import Invalid
from .partitions import Partitions
from .rules import Rules
from .server_clock import ServerClock

#: Why a store takes none.
NO_CLUSTER_CLIENT = "is a cluster client, which sends scripts again by itself: give a redis+cluster:// URL"
#: Where an errand goes at one server, whatever its address.
SERVER = Address("", 0)

Clock = Callable[[], int]
T = TypeVar("T", bound=Exception)

#: What a client that is made here waits for at most, in seconds, unless it is told otherwise.
TIMEOUTS = {"socket_timeout": 2.0, "socket_connect_timeout": 1.0}
#: How it connects again: redis-py would do so for seconds. What was sent is not its business but ours.
RECONNECTS = 1
BACKOFF = ExponentialWithJitterBackoff(base=0.05, cap=0.5)
#: Errors of the server, though redis-py takes some for errors of the connection.
ANSWERS = (ResponseError, BusyLoadingError, AuthenticationError)
#: Those that say that the connection leads to the wrong server, or to one that is not ready.
WRONG_SERVER = (ReadOnlyError, BusyLoadingError, AuthenticationError)
#: What ends a connection.
BROKEN = (RedisError, OSError)


def engine(namespace: str, rules: Rules | None, deadline: Duration, clock: Clock | None) -> Engine:
    """What the calls of a store share."""
    rules = Rules() if rules is None else rules
    check_kind("rules", rules, Rules)
    if clock is not None and not callable(clock):
        raise Invalid("clock", "must be a function that returns milliseconds")
    deadline_s = duration_ms("deadline", deadline) / 1000
    return Engine(bundle.load(), Partitions(namespace, 1), rules, deadline_s, clock)


class Clocks:
    """What is known of the clocks of the servers at the ends of connections. Whoever uses it has the connection."""

    def __init__(self) -> None:
        self._known: weakref.WeakKeyDictionary[Any, ServerClock] = weakref.WeakKeyDictionary()

    def of(self, connection: Any) -> ServerClock:
        """The clock at the end of a connection: another one, once redis-py has connected it anew."""
        clock = self._known.get(connection)
        if clock is None:
            clock = self._known[connection] = ServerClock()
            connection.register_connect_callback(clock.forget)
        return clock


def errand_of(parcels: list[Parcel]) -> Errand:
    """All of them in one pipeline, for the one server that there is."""
    return Errand(SERVER, [command for parcel in parcels for command in parcel.commands])


def outcomes_of(parcels: list[Parcel], outcome: Outcome) -> list[Outcome]:
    """What became of each of them there."""
    if not isinstance(outcome, list):
        return [outcome for _ in parcels]
    replies = iter(outcome)
    return [list(islice(replies, len(parcel.commands))) for parcel in parcels]


def because(failure: T, error: BaseException) -> T:
    """A failure with its cause."""
    failure.__cause__ = error
    return failure


def left_to_wait(errands: list[Errand]) -> float:
    """How long to wait before errands are begun, in seconds."""
    instants = [errand.not_before for errand in errands]
    for errand in errands:
        instants += [each.not_before for each in errand.commands if isinstance(each, Timed) and each.not_before]
    return max(0.0, max(instants, default=0.0) - time.monotonic())


def asks_time(commands: Commands, clock: ServerClock) -> bool:
    """Whether the server is asked for its time before commands are made."""
    return any(isinstance(command, Timed) and command.asks(clock) for command in commands)


def made(commands: Commands, clock: ServerClock) -> list[Command]:
    """Commands as they are sent."""
    return [command.make(clock) if isinstance(command, Timed) else command for command in commands]


def note_times(clock: ServerClock, commands: list[Command], replies: list[Any]) -> None:
    """Notes each time that a server told."""
    for command, reply in zip(commands, replies, strict=True):
        if command == ["TIME"] and isinstance(reply, list):
            clock.saw(reply)
