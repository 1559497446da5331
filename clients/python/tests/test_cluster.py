"""A real cluster: the stores find each key wherever its slot is, and follow it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from typing import Any

import pytest
import redis
from cluster import Cluster, eventually
from support import Clock, Connector, unless_left

import cloakroom_sessions as cloakroom
from cloakroom_sessions import NodeIdentity
from cloakroom_sessions.cluster import parse
from cloakroom_sessions.partitions import Partitions, slot_of


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    cluster = Cluster()
    yield cluster
    cluster.stop()


@pytest.fixture
def own_cluster() -> Iterator[Cluster]:
    """For tests that break it."""
    cluster = Cluster()
    yield cluster
    cluster.stop()


@pytest.fixture(params=["threads", "asyncio"])
def at(request: pytest.FixtureRequest, cluster: Cluster) -> Iterator[Connector]:
    """Makes stores of each flavour on the cluster."""
    connector = Connector(request.param, cluster.url)
    yield connector
    connector.close()


def serves(store: Any, user: str) -> None:
    """What a store does with sessions of a user, from the first call to the last."""
    session = store.create(user=user, connection=f"of-{user}", node="n").session
    assert store.refresh(session.id).version == 1
    assert store.get(session.id).user == user
    assert store.session_by_connection(f"of-{user}").id == session.id
    visitor = store.create(attributes={"cart": 7}).session
    login = store.rotate(visitor, user=user).session
    assert login.attributes["cart"] == 7 and unless_left(store, visitor.id) is None
    assert [one.id for one in store.list(user=user).sessions] == [session.id, login.id]
    assert store.count(node="n") == 1
    assert store.delete(login)
    assert len(store.delete_user(user).removed) == 1
    assert store.count(user=user) == 0


def test_a_url_names_nodes_and_the_user_of_all() -> None:
    for scheme in ("redis+cluster", "redis-cluster", "valkey+cluster"):
        assert parse(f"{scheme}://ann:p%40ss@one,two:7000,[::1]:7001/") == (
            [("one", 6379), ("two", 7000), ("::1", 7001)],
            {"username": "ann", "password": "p@ss"},
        )
    assert parse("rediss+cluster://one") == ([("one", 6379)], {"ssl": True})
    for other in ("redis://one/", "http+cluster://one", "one"):
        assert parse(other) is None
    for bad in ("redis+cluster://", "redis+cluster://one,", "redis+cluster://one/1", "redis+cluster://one:99999"):
        with pytest.raises(cloakroom.Invalid, match=r"redis\+cluster"):
            parse(bad)


def test_namespaces_anywhere_and_partitions_everywhere_are_served_from_any_node(
    at: Connector, cluster: Cluster
) -> None:
    for number in range(12):
        serves(at(namespace=f"{at.namespace}-{number}"), "ann")
    for node in cluster.nodes:
        store = at(f"redis+cluster://127.0.0.1:{node.port}", partitions=16)
        for user in ("ann", "bob", "cid"):
            serves(store, user)
    many = [answer.session.id for answer in store.create_many([{}] * 50)]
    assert [session.id for session in store.get_many(many)] == many
    assert [removed.id for removed in store.delete_many(many)] == many
    assert store.expired() == [] and store.reap().sessions == [] and store.migrations().migrations == []
    node_identity = NodeIdentity("gateway")
    store.heartbeat(node_identity, "register")
    store.as_node(node_identity).create()
    assert [(each.name, each.is_live, each.sessions) for each in store.nodes()] == [("gateway", True, 1)]


def test_a_flush_of_the_scripts_of_one_node_stays_invisible(at: Connector, cluster: Cluster) -> None:
    store = at(partitions=16)
    for node in cluster.nodes[:3]:
        node.client.script_flush()
        serves(store, "ann")


def test_a_cluster_client_is_refused_for_it_sends_scripts_again(cluster: Cluster) -> None:
    with (
        redis.RedisCluster(host="127.0.0.1", port=cluster.nodes[0].port) as client,
        pytest.raises(cloakroom.Invalid, match=r"give a redis\+cluster:// URL"),
    ):
        cloakroom.Store.connect(client)


class Load:
    """Writes and reads of one session each, until it ends: how many were answered, and what went wrong."""

    def __init__(self, store: Any, sessions: list[Any]) -> None:
        self.reads = self.writes = 0
        self.failed_reads: list[Exception] = []
        self.failed_writes: list[Exception] = []
        self.versions: dict[str, int] = {}
        self.broken: list[BaseException] = []
        self._store, self._is_over = store, False
        # What waits for a slot that moves keeps no read from its work.
        works = [(self._write, self.failed_writes), (self._read, self.failed_reads)]
        self._threads = [
            threading.Thread(target=self._work, args=(failed, work, session.id))
            for session in sessions
            for work, failed in works
        ]
        for thread in self._threads:
            thread.start()

    def _work(self, failed: list[Exception], work: Callable[[str], None], id: str) -> None:
        while not self._is_over:
            try:
                work(id)
            except (cloakroom.NotExecuted, cloakroom.Ambiguous) as error:
                failed.append(error)
            except BaseException as error:
                self.broken.append(error)
                return

    def _write(self, id: str) -> None:
        self.versions[id] = self._store.patch(id, set={"n": self.writes}).version
        self.writes += 1

    def _read(self, id: str) -> None:
        before = self.versions.get(id, 0)
        found = self._store.get(id)
        assert found is not None and found.version >= before, "an older state was read"
        self.reads += 1

    def goes_on(self) -> None:
        before = self.writes
        eventually(lambda: self.writes > before + 30)

    def reads_on(self) -> None:
        before = self.reads
        eventually(lambda: self.reads > before + 4)

    def end(self) -> None:
        self._is_over = True
        for thread in self._threads:
            thread.join()
        assert self.broken == []


class LoadOfAFailover(Load):
    """What was not replicated is lost with its master."""

    def _read(self, id: str) -> None:
        assert self._store.get(id) is not None
        self.reads += 1


def test_while_a_slot_moves_reads_never_fail_and_writes_wait(own_cluster: Cluster) -> None:
    with cloakroom.Store.connect(own_cluster.url, namespace="moving", deadline=20) as store:
        sessions = [store.create(user="ann").session for _ in range(4)]
        slot = slot_of("{moving:0}")
        source = own_cluster.owner(slot)
        target = (source + 1) % 3
        load = Load(store, sessions)
        load.goes_on()
        own_cluster.begin_to_move(slot, source, target)
        while own_cluster.move_keys(slot, source, target, 1):
            load.reads_on()
        own_cluster.end_move(slot, source, target)
        load.goes_on()
        load.end()
        causes = [repr(error.__cause__) for error in load.failed_reads + load.failed_writes]
        assert causes == []
        for session in sessions:
            found = store.get(session.id)
            assert found and found.version == load.versions[session.id]
        serves(store, "bob")


def test_a_store_starts_and_reads_while_its_slot_moves(own_cluster: Cluster) -> None:
    with cloakroom.Store.connect(own_cluster.url, namespace="moving") as store:
        session = store.create(user="ann").session
        slot = slot_of("{moving:0}")
        source = own_cluster.owner(slot)
        target = (source + 1) % 3
        own_cluster.begin_to_move(slot, source, target)
        own_cluster.move_keys(slot, source, target, 1)
        before = own_cluster.errors(source, "TRYAGAIN")
        with cloakroom.Store.connect(own_cluster.url, namespace="moving", deadline=2) as other:
            # It started without waiting for the slot to arrive.
            assert own_cluster.errors(source, "TRYAGAIN") <= before + 1
            assert other.get(session.id) == session
            assert other.get("nobody") is None
            # A new key in a slot on its way is not made, and nothing of it is.
            with pytest.raises(cloakroom.NotExecuted):
                other.create(id="new", user="ann")
        while own_cluster.move_keys(slot, source, target, 10):
            pass
        own_cluster.end_move(slot, source, target)
        assert store.get("new") is None and store.count(user="ann") == 1
        serves(store, "bob")


def test_the_replica_of_a_killed_master_takes_over(own_cluster: Cluster) -> None:
    with cloakroom.Store.connect(own_cluster.url, namespace="failing", partitions=16) as store:
        sessions = [store.create(user=user).session for user in ("ann", "bob", "cid", "dan", "eve")]
        load = LoadOfAFailover(store, sessions)
        load.goes_on()
        own_cluster.kill(0)
        own_cluster.promoted(0)
        for user in ("ann", "bob", "cid", "dan", "eve"):
            eventually(partial(_is_served, store, user))
        load.goes_on()
        load.end()
        # What was replicated is there, and all is served again.
        for session in sessions:
            assert store.get(session.id) is not None
        serves(store, "fay")


def _is_served(store: Any, user: str) -> bool:
    try:
        return bool(store.count(user=user) == 1)
    except (cloakroom.NotExecuted, cloakroom.Ambiguous):
        return False


def ids_of(told: Iterable[Any]) -> list[str]:
    return [event.id for event in told]


def test_events_follow_a_slot_that_moves_and_the_replica_that_takes_over(own_cluster: Cluster) -> None:
    slot, users = slot_of("{telling:0}"), ("ann", "bob", "cid")
    source = own_cluster.owner(slot)
    target = (source + 1) % 3
    own_cluster.nodes[source].client.set("{telling:0}:contract", "1 1 1000")
    with cloakroom.Store.connect(own_cluster.url, namespace="telling", deadline=20) as store:
        told, kept = store.events(interval=0.005), store.events(interval=0.005)
        made = [store.create(user=user).session.id for user in users]
        own_cluster.begin_to_move(slot, source, target)
        while own_cluster.move_keys(slot, source, target, 10):
            pass
        assert ids_of(islice(told, 3)) == made
        own_cluster.end_move(slot, source, target)
        made += [store.create(user=user).session.id for user in users]
        assert ids_of(islice(told, 3)) == made[3:]
        own_cluster.kill(target)
        own_cluster.promoted(target)
        eventually(partial(_is_made, store, "dan"))
        eventually(lambda: getattr(next(told), "user", "") == "dan")
        # Who was at none of it reads all, or is told that some were lost.
        assert ids_of(islice(kept, 3)) == made[:3]


def _is_made(store: Any, user: str) -> bool:
    try:
        return bool(store.create(user=user))
    except (cloakroom.NotExecuted, cloakroom.Ambiguous):
        return False


def test_a_store_starts_while_one_master_is_away(own_cluster: Cluster) -> None:
    with cloakroom.Store.connect(own_cluster.url, namespace="away", partitions=16) as store:
        away = (own_cluster.owner(slot_of("{away:0}")) + 1) % 3
        partitions = Partitions("away", 16)
        homes = {user: own_cluster.owner(slot_of(partitions.tags[partitions.of(user)])) for user in map(str, range(50))}
        served = next(user for user, home in homes.items() if home != away)
        unserved = next(user for user, home in homes.items() if home == away)
        # No replica takes its place.
        own_cluster.kill(3 + away)
        own_cluster.kill(away)
        # The rest of the cluster goes on without it.
        for node in own_cluster.nodes:
            if node.is_running:
                node.client.config_set("cluster-require-full-coverage", "no")
        with cloakroom.Store.connect(own_cluster.url, namespace="away", deadline=3) as other:
            other.create(user=served)
            with pytest.raises(cloakroom.NotExecuted):
                other.create(user=unserved)
        assert store.count(user=served) == 1


def test_a_connection_that_broke_is_ours_to_judge(at: Connector, cluster: Cluster, clock: Clock) -> None:
    store = at(partitions=16, clock=clock)
    session = store.create(user="ann").session
    for node in cluster.nodes:
        node.client.client_kill_filter(_type="normal", skipme=True)
    assert store.patch(session, set={"a": 1}).version == 2
    assert store.get(session.id).version == 2
