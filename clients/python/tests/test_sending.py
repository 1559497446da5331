"""What happens around a script: what it needs, what the server does not have, and replies that are lost."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis
from support import Clock, Connector, Proxy, Server, hurried

import cloakroom_sessions as cloakroom
from cloakroom_sessions import OperationId, Rules, bundle, changing, link, starting
from cloakroom_sessions.call import Engine, Timed
from cloakroom_sessions.partitions import Partitions
from cloakroom_sessions.server_clock import ServerClock


def test_with_only_the_id_a_call_learns_whose_the_session_is(store: Any) -> None:
    made = [store.create(user="ann", connection=f"c{n}", node="n").session for n in range(4)]
    assert store.delete(made[0].id)
    assert store.rotate(made[1].id).session.connection == "c1"
    assert store.bind(made[2].id, "d").previous_connection == "c2"
    assert store.patch(made[3].id, ttl=0.001).changed
    assert store.count(user="ann") == 3


def test_with_an_old_copy_a_call_learns_whose_the_session_is_now(store: Any) -> None:
    session = store.create(user="ann", connection="c").session
    store.bind(session, "d", node="m")
    assert store.delete(session)
    assert store.session_by_connection("d") is None and store.count(node="m") == 0


def test_the_oldest_of_a_user_make_way_and_are_told_with_their_connections(connect: Connector, clock: Clock) -> None:
    store = connect(clock=clock, rules=Rules(sessions_per_user=2, on_limit="evict_oldest"))
    made = []
    for number in range(3):
        clock.now_ms += 1
        made.append(store.create(user="ann", connection=f"c{number}", node="n"))
    (evicted,) = made[2].evicted
    assert (evicted.id, evicted.connection, evicted.node) == (made[0].session.id, "c0", "n")
    visit = store.create().session
    assert [it.id for it in store.rotate(visit, user="ann").evicted] == [made[1].session.id]
    assert store.count(user="ann") == 2


def test_one_too_many_is_refused_if_that_is_the_policy(connect: Connector) -> None:
    store = connect(rules=Rules(sessions_per_user=1))
    store.create(user="ann")
    with pytest.raises(cloakroom.Limit) as refused:
        store.create(user="ann")
    assert refused.value.live == 1


def test_a_user_with_more_sessions_than_one_script_handles_is_brought_to_the_limit(connect: Connector) -> None:
    store = connect()
    made = {store.create(user="ann").session.id for _ in range(1201)}
    limited = connect(rules=Rules(sessions_per_user=3, on_limit="evict_oldest"))
    created = limited.create(user="ann")
    assert {evicted.id for evicted in created.evicted} < made
    assert len(created.evicted) == 1199 and store.count(user="ann") == 3


def test_an_expired_session_in_the_way_is_reaped_and_handed_out(store: Any, clock: Clock) -> None:
    old = store.create(id="s", user="ann", connection="c", node="n", ttl=1).session
    other = store.create(connection="d", ttl=1).session
    clock.now_ms += 1000
    assert store.create(id="s", user="bob").reaped == [old]
    session = store.create().session
    assert store.bind(session, "d").reaped == [other]


def test_a_call_that_others_are_always_faster_than_gives_up(connect: Connector) -> None:
    steps = changing.delete(Engine(bundle.load(), Partitions("x", 1), Rules(), deadline_s=60), "s")
    sent = next(steps)
    rounds = 1
    with pytest.raises(cloakroom.Contended):
        while True:
            user = b"%d" % rounds
            sent = steps.send([[[b"need", b"routing", user, b"", b""]]])
            assert isinstance(sent[0].commands[0], Timed)
            assert b"{x:0}:user:%s:sessions" % user in sent[0].commands[0].make(ServerClock())
            rounds += 1
    assert rounds == 128


def test_a_flushed_script_cache_is_not_noticed(through: Connector, own_server: Server) -> None:
    store = through()
    session = store.create(user="ann").session
    own_server.client.script_flush()
    assert store.patch(session, set={"a": 1}).version == 2
    own_server.client.script_flush()
    assert store.count(user="ann") == 1


def test_a_script_that_is_flushed_again_and_again_is_loaded_until_the_deadline() -> None:
    steps = changing.delete(Engine(bundle.load(), Partitions("x", 1), Rules(), deadline_s=60), "s")
    sent = next(steps)
    for _ in range(20):
        sent = steps.send([[*[b""] * (len(sent[0].commands) - 1), redis.exceptions.NoScriptError()]])
    load, call = sent[0].commands
    assert not isinstance(load, Timed) and load[:2] == ["SCRIPT", "LOAD"] and isinstance(call, Timed)


def test_a_call_whose_reply_was_lost_happens_once(through: Connector, proxy: Proxy) -> None:
    store = through()
    proxy.to_lose = 1
    session = store.create(user="ann", attributes={"a": 0}).session
    assert store.count(user="ann") == 1
    for version in range(2, 5):
        proxy.to_lose = 1
        assert store.patch(session, set={"a": version}).version == version
    proxy.to_lose = 1
    rotated = store.rotate(session).session
    assert rotated.version == 5
    proxy.to_lose = 1
    assert store.get(rotated.id) == rotated
    proxy.to_lose = 1
    assert store.delete(rotated).user == "ann"
    assert proxy.to_lose == 0


def test_a_call_that_may_have_happened_can_be_repeated_by_its_operation_id(
    through: Connector, proxy: Proxy, own_server: Server
) -> None:
    store = through()
    proxy.to_lose = 1000
    with pytest.raises(cloakroom.Ambiguous) as ambiguous:
        store.create(user="ann")
    with pytest.raises(cloakroom.NotExecuted):
        store.get("s")
    proxy.to_lose = 0
    (id,) = own_server.client.zrange(f"{through.tag}:user:ann:sessions", 0, -1)
    session = store.with_operation_id(ambiguous.value.operation_id).create(user="ann").session
    assert (session.id, session.version) == (id.decode(), 1)
    assert store.count(user="ann") == 1


def test_a_reap_whose_reply_was_lost_is_not_sent_again(through: Connector, proxy: Proxy, clock: Clock) -> None:
    store = through(clock=clock)
    store.create(ttl=1)
    clock.now_ms += 1000
    # What expired, and the record.
    proxy.to_pass, proxy.to_lose = 2, 1
    with pytest.raises(cloakroom.Ambiguous):
        store.reap()
    assert proxy.to_lose == 0
    assert store.expired() == [] and store.reap().sessions == []


def test_a_server_that_is_away_is_no_missing_session(through: Connector, own_server: Server) -> None:
    store = hurried(through(), 0.3)
    own_server.stop()
    calls: list[Callable[[], Any]] = [lambda: store.get("s"), lambda: store.create(), lambda: store.delete("s")]
    for call in calls:
        with pytest.raises((cloakroom.NotExecuted, cloakroom.Ambiguous)) as error:
            call()
        assert error.value.__cause__ is not None


def test_a_call_that_may_have_happened_stays_ambiguous_while_its_server_is_away(
    through: Connector, own_server: Server
) -> None:
    store = through()
    session = store.create(user="ann").session
    hurried(store, 0.3)
    own_server.stop()
    again = store.with_operation_id(cloakroom.OperationId.random().of_a_repeat())
    calls: list[Callable[[], Any]] = [
        lambda: again.create(),
        lambda: again.patch(session, set={"v": 1}),
        lambda: again.refresh(session.id),
        lambda: again.refresh_and_get(session.id),
        lambda: again.rotate(session),
        lambda: again.delete(session),
        lambda: again.delete_user("ann"),
        lambda: again.delete_user("ann", keep=session.id),
        lambda: again.recover("dead", "live"),
    ]
    for call in calls:
        with pytest.raises(cloakroom.Ambiguous):
            call()
    # Reads are no matter of doubt.
    with pytest.raises(cloakroom.NotExecuted):
        again.get(session.id)


def test_a_server_that_hangs_is_waited_for_until_the_deadline(through: Connector, own_server: Server) -> None:
    store = hurried(through(socket_timeout=0.1), 0.2)
    own_server.client.execute_command("CLIENT", "PAUSE", 60_000, "ALL")
    with pytest.raises(cloakroom.Ambiguous):
        store.delete("s")
    with pytest.raises(cloakroom.NotExecuted):
        store.get("s")


def test_an_error_of_the_server_means_not_executed(through: Connector, own_server: Server) -> None:
    store = through()
    own_server.client.config_set("maxmemory", "1")
    with pytest.raises(cloakroom.NotExecuted) as error:
        store.create()
    assert isinstance(error.value.__cause__, redis.ResponseError)
    own_server.client.config_set("maxmemory", "0")
    store.create()


def test_the_contract_is_noted_for_ten_years_and_renewed(connect: Connector, server: Server) -> None:
    key = f"{connect.tag}:contract"
    connect()
    assert server.client.get(key) == b"1"
    assert server.client.pttl(key) > 9 * 365 * 24 * 3600 * 1000
    server.client.pexpire(key, 100_000)
    connect()
    assert server.client.pttl(key) > 9 * 365 * 24 * 3600 * 1000


def test_where_a_later_contract_is_noted_no_store_starts(connect: Connector, server: Server) -> None:
    server.client.set(f"{connect.tag}:contract", "2")
    with pytest.raises(cloakroom.OtherContract, match="at contract 2, this client knows contract 1"):
        connect()
    for foreign in ("0", "x", ""):
        server.client.set(f"{connect.tag}:contract", foreign)
        with pytest.raises(cloakroom.Corrupt, match="contract"):
            connect()


def test_threads_share_a_store_and_patches_of_different_attributes_do_not_conflict(server: Server) -> None:
    with cloakroom.Store.connect(server.url, namespace=f"threads-{os.getpid()}") as store:
        session = store.create().session
        threads = [
            threading.Thread(target=store.patch, args=(session,), kwargs={"set": {str(n): n}}) for n in range(16)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        read = store.get(session.id)
        assert read and read.attributes == {str(n): n for n in range(16)}


def test_a_cancelled_call_leaves_no_reply_to_the_next(server: Server) -> None:
    async def run() -> None:
        namespace = f"cancel-{os.getpid()}"
        async with await cloakroom.AsyncStore.connect(server.url, namespace=namespace, max_connections=1) as store:
            in_use = store._servers.pool(link.SERVER)._pool._in_use_connections
            made = (await store.create(id="a")).session, (await store.create(id="b")).session
            for _ in range(20):
                call = asyncio.ensure_future(store.get("a"))
                while not call.done() and not in_use:
                    await asyncio.sleep(0)
                call.cancel()
                await asyncio.wait([call])
                assert await store.get("b") == made[1]
            await store.delete_user("nobody")
            for session in made:
                await store.delete(session)

    asyncio.run(run())


def test_a_store_loads_the_scripts_that_it_calls_and_no_others(connect: Connector, own_server: Server) -> None:
    source = "".join(file.read_text() for file in Path(cloakroom.__file__).parent.glob("*.py"))
    called = set(re.findall(r'(?:run|settle)\(\s*"(\w+)"', source))
    connect(own_server.url)
    scripts = bundle.load().scripts
    loaded = own_server.client.script_exists(*(script.sha1 for script in scripts.values()))
    assert {stem for stem, is_loaded in zip(scripts, loaded, strict=True) if is_loaded} == called


def test_operation_ids_make_the_same_session_id_and_do_not_show_it() -> None:
    operation = OperationId.random()
    assert operation.session_id() == operation.session_id()
    assert operation.session_id()[:8] not in repr(operation)


def test_a_store_starts_though_its_scripts_are_flushed_after_it_loaded_them(own_server: Server) -> None:
    steps, flushes = starting.start(Engine(bundle.load(), Partitions("t", 1), Rules(), 2.0, None), None), 0
    replies: Any = None
    with contextlib.suppress(StopIteration):
        while True:
            parcels, replies = next(steps) if replies is None else steps.send([replies]), []
            for made in parcels[0].commands:
                command: Any = made.make(ServerClock()) if isinstance(made, Timed) else made
                if command[0] == "EVALSHA" and flushes < 2:
                    own_server.client.script_flush()
                    flushes += 1
                try:
                    replies.append(own_server.client.execute_command(*command))
                except redis.RedisError as error:
                    replies.append(error)
    assert flushes == 2 and own_server.client.exists("{t:0}:contract")
