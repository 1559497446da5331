"""What both stores share of a connection: how it is made, what its errors say, and how a store begins."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any, TypeVar

from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, BusyLoadingError, RedisError, ResponseError

from . import bundle
from .arguments import check_integer, check_kind
from .call import Engine, Outcome, Parcel, Timed
from .cluster import Address, Errand
from .duration import Duration, duration_ms
from .errors import Invalid
from .partitions import Partitions
from .rules import Rules

#: Why a store takes none.
NO_CLUSTER_CLIENT = "is a cluster client, which sends scripts again by itself: give a redis+cluster:// URL"
#: Where an errand goes at one server, whatever its address.
SERVER = Address("", 0)

Clock = Callable[[], int]
T = TypeVar("T", bound=Exception)

#: How many connections a store has to each server, and how many calls wait for one, unless it is told otherwise.
MOST_CONNECTIONS = 16
MOST_WAITING = 10_000
#: What a connection waits for at most, in seconds, unless it is told otherwise.
TIMEOUTS = {"socket_timeout": 2.0, "socket_connect_timeout": 1.0}
#: A server that went away without a word is noticed where nothing is sent, too: after 30 seconds of silence the system
#: asks every 10, and ends the connection after 3 without an answer.
_KEEPALIVE = {
    getattr(socket, name): value
    for name, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))
    if hasattr(socket, name)
}
#: What redis-py keeps among the options of a pool for that pool alone.
_OF_POOL = ("maint_notifications_", "orig_", "himport_registry")
#: How redis-py connects: once, for a call tries again by itself.
CONNECTS_ONCE = (NoBackoff(), 0)
#: Errors of the server, though redis-py takes some for errors of the connection.
ANSWERS = (ResponseError, BusyLoadingError, AuthenticationError)
#: What ends a connection.
BROKEN = (RedisError, OSError)


def options_at(retry: object, options: Mapping[str, Any], *, is_remote: bool) -> dict[str, Any]:
    """The options of connections that a store makes, from those that it was given: with timeouts, for a call has a
    deadline, and with its own way to connect again. Replies are bytes, and texts go in UTF-8."""
    made = {name: value for name, value in options.items() if not name.startswith(_OF_POOL)}
    names = [*TIMEOUTS] if is_remote else ["socket_timeout"]
    made |= {name: TIMEOUTS[name] for name in names if made.get(name) is None}
    if is_remote and not made.get("socket_keepalive"):
        made |= {"socket_keepalive": True, "socket_keepalive_options": _KEEPALIVE}
    return {**made, "retry": retry, "decode_responses": False, "encoding": "utf-8", "encoding_errors": "strict"}


def check_limits(max_connections: int, max_waiting: int) -> None:
    """How many connections there may be to a server, and how many calls may wait for one."""
    check_integer("max_connections", max_connections, 1, 10_000)
    check_integer("max_waiting", max_waiting, 0, 1_000_000)


def not_a_source() -> Invalid:
    """What is neither a URL nor a client. It does not show a URL, which may have a password."""
    return Invalid("source", "must be a URL, as redis:// or rediss:// or redis+cluster://, or a client of redis-py")


def not_an_option(error: TypeError) -> Invalid:
    """An option that redis-py does not know."""
    return Invalid("options", f"are not those of redis-py: {error}")


def engine(namespace: str, rules: Rules | None, deadline: Duration, clock: Clock | None) -> Engine:
    """What the calls of a store share."""
    rules = Rules() if rules is None else rules
    check_kind("rules", rules, Rules)
    if clock is not None and not callable(clock):
        raise Invalid("clock", "must be a function that returns milliseconds")
    deadline_s = duration_ms("deadline", deadline) / 1000
    return Engine(bundle.load(), Partitions(namespace, 1), rules, deadline_s, clock)


def errand_of(parcels: list[Parcel]) -> Errand:
    """All of them in one pipeline, for the one server that there is."""
    return Errand(
        SERVER,
        [command for parcel in parcels for command in parcel.commands],
        not_before=max(parcel.not_before for parcel in parcels),
        until=min(parcel.until for parcel in parcels),
    )


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
