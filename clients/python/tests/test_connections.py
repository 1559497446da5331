"""How many connections a store has, whose they are, and what it does while they are in use or lead nowhere."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
import redis.asyncio
from redis.backoff import NoBackoff
from redis.retry import Retry
from support import Connector, Proxy, Server, hurried

import cloakroom_sessions as cloakroom
from cloakroom_sessions import AsyncStore, Busy, NotExecuted, Store, async_servers, bundle, servers
from cloakroom_sessions.cluster import Address
from cloakroom_sessions.gate import AsyncGate, Gate
from cloakroom_sessions.link import SERVER
from cloakroom_sessions.server_errors import is_of_wrong_server


def connections(server: Server) -> int:
    """Those of stores: all but that of the question."""
    return len(server.client.client_list()) - 1


@contextlib.contextmanager
def paused(server: Server) -> Iterator[None]:
    """While a server takes commands and answers none."""
    server.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        server.signal(signal.SIGCONT)


def test_sixty_threads_share_the_connections_that_a_store_may_have(own_server: Server) -> None:
    with Store.connect(own_server.url, namespace="shop", max_connections=4, deadline=30) as store:
        begin, failed = threading.Barrier(60), list[Exception]()

        def work() -> None:
            begin.wait()
            try:
                for _ in range(10):
                    store.create(user="ann")
            except Exception as error:
                failed.append(error)

        threads = [threading.Thread(target=work) for _ in range(60)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failed == [] and store.count(user="ann") == 600
        assert 1 <= connections(own_server) <= 4


def test_six_hundred_tasks_share_the_connections_that_a_store_may_have(own_server: Server) -> None:
    async def run() -> None:
        store = await AsyncStore.connect(own_server.url, namespace="shop", max_connections=4, deadline=30)
        async with store:
            await asyncio.gather(*(store.create(user="ann") for _ in range(600)))
            assert await store.count(user="ann") == 600
            assert connections(own_server) == 4

    asyncio.run(run())


def test_a_thread_that_gets_no_connection_in_time_is_told_so(own_server: Server) -> None:
    with Store.connect(own_server.url, namespace="shop", max_connections=1, deadline=20, socket_timeout=30) as store:
        hurried(store, 0.1)
        with paused(own_server):
            held = threading.Thread(target=store.get, args=("s",))
            held.start()
            pool: Any = store._servers.pool(SERVER)
            while pool._gate._places._value > 0:
                pass
            with pytest.raises(Busy, match="all connections of the store were in use") as busy:
                store.get("s")
            assert isinstance(busy.value, NotExecuted)
        held.join()
        assert hurried(store, 20).get("s") is None


def test_a_task_that_gets_no_connection_in_time_is_told_so_and_nothing_piles_up(own_server: Server) -> None:
    async def run() -> None:
        async with await AsyncStore.connect(
            own_server.url, namespace="shop", max_connections=2, deadline=20, max_waiting=50, socket_timeout=30
        ) as store:
            hurried(store, 0.2)
            gate: Any = store._servers.pool(SERVER)._gate
            with paused(own_server):
                held = [asyncio.ensure_future(store.get("s")) for _ in range(2)]
                waiting = [asyncio.ensure_future(store.get("s")) for _ in range(50)]
                while gate.waiting < 50:
                    await asyncio.sleep(0)
                with pytest.raises(Busy):
                    await store.get("one too many")
                for call in waiting[:25]:
                    call.cancel()
                await asyncio.wait(waiting[:25])
                assert gate.waiting == 25
                outcomes = await asyncio.gather(*waiting[25:], return_exceptions=True)
                assert {type(outcome) for outcome in outcomes} == {Busy} and gate.waiting == 0
            assert await asyncio.gather(*held) == [None, None]
            assert await hurried(store, 20).get("s") is None and gate._free == 2

    asyncio.run(run())


def test_a_task_that_is_let_in_as_it_is_cancelled_lets_the_next_one_in() -> None:
    async def run() -> None:
        gate, soon = AsyncGate(1, 10), asyncio.get_running_loop().time() + 60
        assert await gate.enter(soon)
        first, second = (asyncio.ensure_future(gate.enter(soon)) for _ in range(2))
        await asyncio.sleep(0)
        gate.leave()
        first.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await first
        assert await second is True
        gate.leave()
        assert (gate.waiting, gate._free) == (0, 1)

    asyncio.run(run())


def test_a_gate_for_threads_lets_no_more_wait_than_may() -> None:
    gate = Gate(1, 0)
    assert gate.enter(0.0) and not gate.enter(float("inf"))
    gate.leave()
    assert gate.enter(0.0)


def given(flavour: str, port: int, **options: Any) -> tuple[Any, Callable[[], None]]:
    """A client that a service has, and what closes it."""
    if flavour == "threads":
        client = redis.Redis(port=port, **options)
        return client, client.close
    asynchronous: Any = redis.asyncio.Redis(port=port, **options)
    return asynchronous, lambda: asyncio.run(asynchronous.aclose())


OF_CLIENTS = [{}, {"decode_responses": True}, {"protocol": 2}, {"protocol": 3}, {"encoding": "latin-1"}]


@pytest.mark.parametrize("options", OF_CLIENTS)
def test_a_store_goes_where_a_client_goes_whatever_its_options(
    connect: Connector, server: Server, options: dict[str, Any]
) -> None:
    client, close = given(connect.flavour, server.port, **options)
    store = connect(client)
    session = store.create(user="ann", connection="ž", attributes={"a": "ž"}).session
    assert store.list(user="ann", size=1).sessions == [store.get(session.id)]
    assert store.session_by_connection("ž") == session
    node = cloakroom.NodeIdentity("n")
    store.heartbeat(node, "register")
    assert [each.name for each in store.nodes()] == ["n"]
    assert store.delete_user("ann").removed[0].id == session.id
    close()


@pytest.mark.parametrize("protocol", [2, 3])
def test_a_store_speaks_either_protocol(connect: Connector, server: Server, protocol: int) -> None:
    server.client.set(f"{connect.tag}:contract", "1 1 100")
    store = connect(f"{server.url}?protocol={protocol}")
    told = store.events("beginning")
    made = [store.create(user="ann").session for _ in range(3)]
    assert {session.id for session in store.list(user="ann").sessions} == {session.id for session in made}
    assert store.delete_user("ann", keep=made[0].id).removed
    assert next(told).id == made[0].id
    told.close()


def test_a_client_that_sends_again_by_itself_does_not_repeat_a_reap(connect: Connector, own_server: Server) -> None:
    """It would hide the list of the first."""
    cut = Cutting(own_server.port)
    options = {"retry": Retry(NoBackoff(), 5), "retry_on_error": [redis.ConnectionError]}
    if connect.flavour == "asyncio":
        options["retry"] = redis.asyncio.retry.Retry(NoBackoff(), 5)
    client, close = given(connect.flavour, cut.port, **options)
    now = 1_000_000
    store = connect(client, clock=lambda: now)
    store.create(ttl=1)
    now += 1000
    cut.at(bundle.load().scripts["reap"].sha1.encode())
    with pytest.raises(cloakroom.Ambiguous):
        store.reap()
    assert cut.seen == 1
    close()
    cut.stop()


class Cutting:
    """Passes traffic on, and ends the connection before the reply of a script."""

    def __init__(self, port: int) -> None:
        self._proxy = Proxy(port)
        self.port = int(self._proxy.url.rpartition(":")[2])
        self.seen = 0
        self._script = b""
        self._proxy.before = self._look

    def at(self, script: bytes) -> None:
        self._script = script

    def _look(self, request: bytes) -> None:
        if self._script and self._script in request:
            self.seen += 1
            self._proxy.to_lose = 1

    def stop(self) -> None:
        self._proxy.stop()


def test_options_beside_a_client_are_refused(connect: Connector, server: Server) -> None:
    client, close = given(connect.flavour, server.port)
    with pytest.raises(cloakroom.Invalid, match=r"^options are those of the client"):
        connect(client, socket_timeout=1)
    close()


def test_a_connection_is_kept_alive_by_the_system(connect: Connector, server: Server) -> None:
    store = connect()
    assert store.get("nobody") is None
    pool = connect.of(store)._servers.pool(SERVER)
    options = pool._pool.connection_kwargs
    assert options["socket_keepalive"] is True
    assert options["socket_keepalive_options"][socket.TCP_KEEPIDLE] == 30
    assert (options["socket_timeout"], options["socket_connect_timeout"]) == (2.0, 1.0)


def test_a_reply_of_a_cluster_is_waited_for_no_longer_than_of_a_server() -> None:
    for kind in (servers.Servers, async_servers.Servers):
        cluster = kind("redis+cluster://127.0.0.1:1", 16, 10, {})
        options = cluster.pool(Address("127.0.0.1", 1))._pool.connection_kwargs
        assert (options["socket_timeout"], options["socket_connect_timeout"]) == (2.0, 1.0)


def test_a_url_may_tell_how_many_connections_there_are(connect: Connector, server: Server) -> None:
    store = connect(f"{server.url}?max_connections=3&socket_timeout=7")
    pool = connect.of(store)._servers.pool(SERVER)._pool
    assert (pool.max_connections, pool.connection_kwargs["socket_timeout"]) == (3, 7.0)
    with pytest.raises(cloakroom.Invalid, match=r"^max_connections"):
        connect(f"{server.url}?max_connections=0")


def test_a_store_is_connected_over_a_socket_of_the_system(connect: Connector, tmp_path: Any) -> None:
    server = Server("--unixsocket", str(tmp_path / "s"))
    store = connect(f"unix://{tmp_path / 's'}")
    session = store.create(user="ann").session
    assert store.get(session.id) == session
    server.stop()


def replica_of(server: Server, *options: str) -> Server:
    """One that is in step."""
    replica = Server("--replicaof", "127.0.0.1", str(server.port), *options)
    while replica.client.info("replication")["master_link_status"] != "up":
        pass
    return replica


def test_a_demoted_master_is_noticed_though_it_answers(connect: Connector, own_server: Server) -> None:
    """A replica that is behind would answer that there is no such session, or that there still is one."""
    master, other = own_server, Server()
    store = connect(master.url)
    session = store.create(user="ann").session
    hurried(store, 0.5)
    connect.age(store)
    master.client.replicaof("127.0.0.1", other.port)
    calls: list[Callable[[], object]] = [
        lambda: store.get(session.id),
        lambda: store.list(user="ann"),
        lambda: store.count(user="ann"),
        lambda: store.patch(session, set={"a": 1}),
        lambda: store.delete(session),
    ]
    for call in calls:
        with pytest.raises(NotExecuted) as refused:
            call()
        assert "replica" in str(refused.value.__cause__ and refused.value.__cause__.__cause__)
    master.client.replicaof("no", "one")
    assert hurried(store, 20).get("nobody") is None
    other.stop()


def test_a_store_waits_for_a_master_when_it_starts(connect: Connector, own_server: Server) -> None:
    replica = replica_of(own_server)
    with pytest.raises(NotExecuted) as refused:
        connect(replica.url, deadline=0.3)
    assert "replica" in str(refused.value.__cause__ and refused.value.__cause__.__cause__)
    promoted = threading.Timer(0.2, lambda: redis.Redis(port=replica.port).replicaof("no", "one"))
    promoted.start()
    store = connect(replica.url, deadline=20)
    assert store.create(user="ann").session.user == "ann"
    promoted.join()
    replica.stop()


@pytest.mark.parametrize("user", ["", ":wrong@"])
def test_a_password_that_the_server_refuses_is_tried_once(
    through: Connector, proxy: Proxy, own_server: Server, user: str
) -> None:
    url = proxy.url.replace("redis://", f"redis://{user}")
    own_server.client.config_set("requirepass", "right")
    with pytest.raises(NotExecuted) as refused:
        through(url, deadline=1)
    assert isinstance(refused.value.__cause__ and refused.value.__cause__.__cause__, redis.AuthenticationError)
    assert proxy.accepted == 1


def test_a_call_tries_a_password_once_that_the_server_refuses_by_now(
    through: Connector, proxy: Proxy, own_server: Server
) -> None:
    own_server.client.config_set("requirepass", "right")
    store = hurried(through(proxy.url.replace("redis://", "redis://:right@")), 1)
    session = store.create(user="ann").session
    own_server.client.config_set("requirepass", "new")
    calls: list[Callable[[], Any]] = [lambda: store.get(session.id), lambda: store.patch(session, set={"a": 1})]
    for call in calls:
        proxy.cut()
        before = proxy.accepted
        with pytest.raises((NotExecuted, cloakroom.Ambiguous)):
            call()
        assert proxy.accepted == before + 1


def test_where_a_role_may_not_be_asked_it_is_looked_up_otherwise(connect: Connector, own_server: Server) -> None:
    own_server.client.execute_command("ACL", "SETUSER", "app", "on", ">password", "~*", "+@all", "-role")
    url = own_server.url.replace("redis://", "redis://app:password@")
    store = connect(url)
    assert store.create(user="ann").session.user == "ann"
    own_server.client.execute_command("ACL", "SETUSER", "app", "-info")
    with pytest.raises(cloakroom.Forbidden, match=r"\+role"):
        connect(url)


def test_a_read_only_server_is_known_from_within_a_script() -> None:
    wrapped = (
        "Error running script (call to f_1): @user_script:1: -READONLY You can't write against a read only replica."
    )
    assert is_of_wrong_server(redis.ResponseError(wrapped))
    assert is_of_wrong_server(redis.exceptions.ReadOnlyError("You can't write against a read only replica."))
    assert not is_of_wrong_server(redis.ResponseError("ERR something else"))
    assert not is_of_wrong_server(b"READONLY x")


def test_a_write_that_a_demoted_master_refuses_ends_its_connection(connect: Connector, own_server: Server) -> None:
    """It says so from within a script. The next call over that connection would be answered by it as well."""
    other = Server()
    store = connect(own_server.url, max_connections=1)
    session = store.create(user="ann").session
    hurried(store, 0.3)
    (connection,) = connect.of(store)._peers._known
    own_server.client.replicaof("127.0.0.1", other.port)
    with pytest.raises(NotExecuted):
        store.patch(session, set={"a": 1})
    assert not (connection.is_connected if connect.flavour == "asyncio" else connection._sock)
    other.stop()
