"""What is read without a script, and what goes to one."""

from __future__ import annotations

from typing import Any

import pytest
from support import Clock, Connector, Server

import cloakroom_sessions as cloakroom
from cloakroom_sessions import NodeIdentity, Rules

TASK = b"the task"
PAGE_BYTES = 2 * 1024 * 1024


class Counted:
    """A store, and how many scripts its reads take."""

    def __init__(self, connect: Connector, server: Server, clock: Clock) -> None:
        rules = Rules(value_bytes=PAGE_BYTES, session_bytes=PAGE_BYTES)
        self.store, self.client, self.tag = connect(clock=clock, rules=rules), server.client, connect.tag

    def create(self, *names: str, **options: Any) -> list[Any]:
        return [self.store.create(id=name, user="ann", **options).session for name in names]

    def listed(self, size: int = 100) -> tuple[list[Any], int]:
        """Ann's sessions, and how many scripts that took."""
        self.client.config_resetstat()
        return self.store.list(user="ann", size=size).sessions, self._scripts()

    def told(self) -> tuple[set[str], int]:
        """What is on its way, and how many scripts that took."""
        self.client.config_resetstat()
        return {one.id for one in self.store.migrations().migrations}, self._scripts()

    def lapsed(self) -> tuple[list[str], int]:
        """The nodes whose leases have run out, and how many scripts that took."""
        self.client.config_resetstat()
        return self.store.lapsed_nodes(), self._scripts()

    def _scripts(self) -> int:
        return int(self.client.info("commandstats").get("cmdstat_evalsha", {"calls": 0})["calls"])

    def key(self, rest: str) -> str:
        return f"{self.tag}:{rest}"


@pytest.fixture
def counted(connect: Connector, server: Server, clock: Clock) -> Counted:
    return Counted(connect, server, clock)


def test_live_and_expired_sessions_take_no_script(counted: Counted, clock: Clock) -> None:
    counted.create("old", ttl=1)
    live = counted.create("a", "b", attributes={"x": 1})
    clock.now_ms += 1000
    assert counted.listed() == (live, 0)
    assert counted.client.zcard(counted.key("user:ann:sessions")) == 3


def test_a_freeze_that_is_over_is_no_longer_told(counted: Counted, clock: Clock) -> None:
    (session,) = counted.create("s", status="suspended")
    until_ms = counted.store.freeze(session, TASK, "east").until_ms
    for status, now_ms in (("migrating", clock.now_ms), ("suspended", until_ms)):
        clock.now_ms = now_ms
        sessions, scripts = counted.listed()
        assert sessions == [counted.store.get("s")]
        assert (sessions[0].status, scripts) == (status, 0)


def test_an_entry_that_leads_nowhere_takes_the_script_once(counted: Counted) -> None:
    live = counted.create("a")
    counted.store.create(id="bob's", user="bob")
    for dead in ("ghost", "bob's", b"\xff"):
        counted.client.zadd(counted.key("user:ann:sessions"), {dead: 1})
        for scripts in (1, 0):
            assert counted.listed() == (live, scripts)


@pytest.mark.parametrize("planted", ["", "garbage", None])
def test_what_is_corrupt_takes_the_script_and_stays(counted: Counted, planted: str | None) -> None:
    _, live = counted.create("a", "b")
    record = counted.key("session:a")
    counted.client.delete(record)
    if planted is None:
        counted.client.rpush(record, "x")
    else:
        counted.client.set(record, planted)
    assert counted.listed() == ([live], 1)
    assert counted.client.zcard(counted.key("user:ann:sessions")) == 2


def test_a_record_that_is_larger_than_its_share_is_read_by_the_script(counted: Counted) -> None:
    counted.create("a", "b", attributes={"x": "x" * (PAGE_BYTES // 2 - 1000)})
    sessions, scripts = counted.listed()
    assert ([session.id for session in sessions], scripts) == (["a", "b"], 0)
    counted.create("c")
    sessions, scripts = counted.listed()
    assert ([session.id for session in sessions], scripts) == (["a", "b", "c"], 1)


def test_a_server_without_memory_reads_by_the_script(counted: Counted) -> None:
    live = counted.create("a")
    counted.client.config_set("maxmemory", 1)
    try:
        assert counted.listed() == (live, 1)
    finally:
        counted.client.config_set("maxmemory", 0)


def test_only_a_migration_that_leads_nowhere_takes_the_script(counted: Counted, clock: Clock) -> None:
    for session in counted.create("a", "b", attributes={"x": "x" * 5000}):
        counted.store.freeze(session, TASK, "east")
    assert counted.told() == ({"a", "b"}, 0)
    counted.client.zadd(counted.key("migrations"), {"ghost": 1})
    for scripts in (1, 0):
        assert counted.told() == ({"a", "b"}, scripts)
    counted.store.delete("a")
    assert counted.told()[0] == {"b"}
    clock.now_ms += Rules().ttl_ms
    assert counted.told() == (set(), 0)


def test_only_a_lease_that_is_none_of_ours_takes_the_script(counted: Counted, clock: Clock) -> None:
    for node in ("a", "b"):
        counted.store.heartbeat(NodeIdentity(node), "register", lease=1)
    assert counted.lapsed() == ([], 0)
    counted.client.delete(counted.key("node:a:lease"))
    assert counted.lapsed() == (["a"], 0)
    clock.now_ms += 1000
    assert counted.lapsed() == (["a", "b"], 0)
    counted.client.set(counted.key("node:b:lease"), "garbage")
    with pytest.raises(cloakroom.Corrupt):
        counted.lapsed()
