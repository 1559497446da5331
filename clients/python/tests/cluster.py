"""A real cluster: three masters, and a replica of each."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from support import Server

_SLOTS = 16384
_MASTERS = 3
_PATIENCE_S = 30.0
_OPTIONS = ("--cluster-enabled", "yes", "--cluster-node-timeout", "1000")


def eventually(holds: Callable[[], Any]) -> None:
    """Waits until it does."""
    until = time.monotonic() + _PATIENCE_S
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.02)


class Cluster:
    """Masters first, then the replica of each."""

    def __init__(self) -> None:
        self.nodes = [Server(*_OPTIONS) for _ in range(2 * _MASTERS)]
        self.ids = [node.client.execute_command("CLUSTER MYID").decode() for node in self.nodes]
        for at, node in enumerate(self.nodes[:_MASTERS]):
            first, last = _SLOTS * at // _MASTERS, _SLOTS * (at + 1) // _MASTERS - 1
            node.client.execute_command("CLUSTER ADDSLOTS", *range(first, last + 1))
            node.client.execute_command("CLUSTER SET-CONFIG-EPOCH", at + 1)
        eventually(self._have_met)
        for at in range(_MASTERS):
            eventually(partial(self._follows, self.nodes[_MASTERS + at], self.ids[at]))
        eventually(lambda: all(map(self._is_whole, self.nodes)))
        self.url = "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)

    def _have_met(self) -> bool:
        """Whether the first node knows the others. It gives up on one that is slow to answer: it is asked again."""
        known = _raw(self.nodes[0], "CLUSTER", "NODES")
        strangers = [
            node
            for node, id in zip(self.nodes[1:], self.ids[1:], strict=True)
            if not any(line.startswith(id.encode()) and b"handshake" not in line for line in known.splitlines())
        ]
        for node in strangers:
            self.nodes[0].client.execute_command("CLUSTER MEET", "127.0.0.1", node.port)
        return not strangers

    @staticmethod
    def _follows(replica: Server, master: str) -> bool:
        try:
            replica.client.execute_command("CLUSTER REPLICATE", master)
        except redis.ResponseError:
            return False
        return True

    @staticmethod
    def _is_whole(node: Server) -> bool:
        info = _raw(node, "CLUSTER", "INFO")
        role = _raw(node, "ROLE")
        is_linked = role[0] == b"master" or role[3] == b"connected"
        known = b"cluster_state:ok" in info and b"cluster_known_nodes:6" in info
        return known and is_linked and len(_raw(node, "CLUSTER", "SLOTS")) >= _MASTERS

    def owner(self, slot: int) -> int:
        """Which node is the master of a slot, as the last one says."""
        for first, last, (_host, _port, id, *_), *_ in _raw(self.nodes[5], "CLUSTER", "SLOTS"):
            if first <= slot <= last:
                return self.ids.index(id.decode())
        raise AssertionError(slot)

    def begin_to_move(self, slot: int, source: int, target: int) -> None:
        _raw(self.nodes[target], "CLUSTER", "SETSLOT", slot, "IMPORTING", self.ids[source])
        _raw(self.nodes[source], "CLUSTER", "SETSLOT", slot, "MIGRATING", self.ids[target])

    def move_keys(self, slot: int, source: int, target: int, most: int) -> int:
        """Moves some of its keys. How many there were."""
        keys = _raw(self.nodes[source], "CLUSTER", "GETKEYSINSLOT", slot, most)
        for key in keys:
            _raw(self.nodes[source], "MIGRATE", "127.0.0.1", self.nodes[target].port, key, 0, 5000)
        return len(keys)

    def errors(self, node: int, code: str) -> int:
        """How often a node answered with an error of a code."""
        found: dict[str, Any] = self.nodes[node].client.info("errorstats").get(f"errorstat_{code}", {})
        return int(found.get("count", 0))

    def end_move(self, slot: int, source: int, target: int) -> None:
        for node in (target, source):
            _raw(self.nodes[node], "CLUSTER", "SETSLOT", slot, "NODE", self.ids[target])

    def kill(self, node: int) -> None:
        self.nodes[node].kill()

    def promoted(self, master: int) -> None:
        """Waits until the replica of a master has taken its place."""
        replica = self.nodes[_MASTERS + master]
        eventually(
            lambda: _raw(replica, "ROLE")[0] == b"master" and b"cluster_state:ok" in _raw(replica, "CLUSTER", "INFO")
        )

    def stop(self) -> None:
        for node in self.nodes:
            node.stop()


def _raw(node: Server, *command: Any) -> Any:
    """A reply as the server gives it."""
    with redis.Redis(port=node.port, retry=Retry(NoBackoff(), 0)) as client:
        client.response_callbacks.clear()
        return client.execute_command(*command)
