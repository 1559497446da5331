"""What both stores share of a connection: what its errors say, and how a store begins."""

from __future__ import annotations

from collections.abc import Callable

from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import AuthenticationError, BusyLoadingError, ReadOnlyError, RedisError, ResponseError

from . import bundle
from .call import Engine
from .rules import Rules, hash_tag

Clock = Callable[[], int]

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


def engine(namespace: str, rules: Rules | None, deadline_s: float, clock: Clock | None) -> Engine:
    """What the calls of a store share."""
    return Engine(bundle.load(), hash_tag(namespace), rules or Rules(), deadline_s, clock)
