"""Events: what this client changes is told as the others tell it, and it reads what they tell."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from itertools import islice
from typing import Any

import pytest
from support import Clock, Connector, Proxy, Server

import cloakroom_sessions as cloakroom
from cloakroom_sessions import AsyncStore, Event, Lagged, NodeIdentity, Rules
from cloakroom_sessions.partitions import Partitions


def made_with(server: Server, connector: Connector, count: int, keep: int = 1000) -> None:
    """Notes that a namespace has events."""
    server.client.set(f"{connector.tag}:contract", f"1 {count} {keep}")


def entries(server: Server, key: str) -> list[dict[str, str]]:
    """The events of a stream, each by its fields that are not empty."""
    found = server.client.xrange(key)
    return [{name.decode(): value.decode() for name, value in fields.items() if value} for _, fields in found]


def words(told: list[Any]) -> list[str]:
    return [f"{event.what} {event.why}".strip() if isinstance(event, Event) else "lagged" for event in told]


@pytest.mark.parametrize("count", [1, 16])
def test_a_store_tells_what_it_changes_where_its_namespace_has_events(
    connect: Connector, server: Server, count: int
) -> None:
    partitions = Partitions(connect.namespace, count)
    made_with(server, connect, count)
    store: Any = connect()
    assert {server.client.get(f"{tag}:contract") for tag in partitions.tags} == {f"1 {count} 1000".encode()}
    session = store.create(user="ann", connection="c", node="n").session
    store.patch(session, set={"a": 1})
    store.delete_user("ann")
    tag = partitions.tags[partitions.of("ann")]
    names = {"id": session.id, "user": "ann", "connection": "c", "node": "n"}
    expected = [
        {"what": "begun", "version": "0"},
        {"what": "created", "version": "1", **names},
        {"what": "ended", "why": "deleted", "version": "3", **names},
    ]
    assert entries(server, f"{tag}:events") == entries(server, f"{tag}:node:n:events") == expected


def test_a_store_tells_nothing_where_its_namespace_has_no_events(connect: Connector, server: Server) -> None:
    store: Any = connect()
    store.delete(store.create(user="ann").session)
    assert not server.client.exists(f"{connect.tag}:events")
    with pytest.raises(cloakroom.Invalid, match="not turned on"):
        store.events()


@pytest.fixture(params=[1, 16])
def telling(connect: Connector, server: Server, clock: Clock, request: pytest.FixtureRequest) -> Any:
    """A store in a namespace that has events."""
    made_with(server, connect, request.param)
    return connect(clock=clock, rules=Rules(sessions_per_user=1, on_limit="evict_oldest"))


@pytest.fixture
def listening() -> Iterator[Any]:
    """Opens events, and closes them."""
    opened: list[Any] = []

    def listen(events: Any) -> Any:
        opened.append(events)
        return events

    yield listen
    for events in opened:
        events.close()


def test_every_kind_of_event_is_read(telling: Any, connect: Connector, clock: Clock, listening: Any) -> None:
    told = listening(telling.events("beginning"))
    assert telling.reap().sessions == []
    expected: dict[str, list[str]] = {}
    one = telling.create(user="ann", connection="c", node="n").session
    telling.bind(one, "d", node="n")
    telling.unbind(one.id, "d")
    telling.bind(one.id, "d", node="n")
    copy = telling.get(one.id)
    copy.status = "suspended"
    telling.update(copy)
    rotated = telling.rotate(copy).session
    expected[one.id] = ["created", "bound", "unbound", "bound", "updated", "rotated"]
    expected[rotated.id] = ["ended evicted"]
    second = telling.create(user="ann").session
    expected[second.id] = ["created", "ended deleted"]
    telling.delete(second)
    visitor = telling.create().session
    login = telling.rotate(visitor, user="bob").session
    spread = telling.get(login.id) is not None and len(told.position.split(",")) > 1
    lives_apart = spread and Partitions("x", 16).of(visitor.id) != Partitions("x", 16).of("bob")
    expected[visitor.id] = ["created", "ended login" if lives_apart else "rotated login"]
    expected[login.id] = ["arrived", "ended expired"] if lives_apart else ["ended expired"]
    task = b"the task"
    leaving = telling.create().session
    outgoing = telling.freeze(leaving, task, "east")
    assert telling.depart(leaving, task, outgoing.until_ms)
    expected[leaving.id] = ["created", "departed"]
    other = connect(namespace=f"{connect.namespace}-2", clock=clock)
    away = other.export(other.create(id=telling.new_id()).session.id)
    telling.import_(away)
    expected[away.session.id] = ["arrived", "ended expired"]
    count = sum(map(len, expected.values()))
    found = list(islice(told, count - 2))
    clock.now_ms += 10_000_000
    while telling.reap().more:
        pass
    found += islice(told, 2)
    assert not [event for event in found if isinstance(event, Lagged)]
    by_id: dict[str, list[Any]] = {}
    for event in found:
        by_id.setdefault(event.id, []).append(event)
    assert {id: words(events) for id, events in by_id.items()} == expected
    bound = by_id[one.id][1]
    assert (bound.user, bound.connection, bound.node, bound.version) == ("ann", "d", "n", 2)
    assert by_id[one.id][-1].new_id == rotated.id and by_id[visitor.id][-1].new_id == login.id
    assert one.id not in repr(bound) and rotated.id not in repr(by_id[one.id][-1])


def test_a_gateway_reads_what_concerns_its_node(telling: Any, listening: Any) -> None:
    identity = NodeIdentity("other")
    telling.heartbeat(identity, "register")
    told = listening(telling.events_of_node("n"))
    session = telling.create(user="ann", connection="c", node="n").session
    telling.create(user="bob", connection="e", node="m")
    claimed = telling.recover("n", "other", even_if_leased=True)
    assert [taken.id for taken in claimed.sessions] == [session.id]
    telling.delete(session.id)
    found = list(islice(told, 2))
    assert words(found) == ["created", "recovered"] and found[1].node == "other"
    for bad in ("", "x" * 257):
        with pytest.raises(cloakroom.Invalid):
            telling.events_of_node(bad)


def test_from_now_on_tells_nothing_of_before_and_a_position_goes_on(telling: Any, listening: Any) -> None:
    before = telling.create(user="ann").session
    told = listening(telling.events())
    made = [telling.create(user=f"user-{number}").session.id for number in range(20)]
    first = [next(told).id for _ in range(8)]
    # What was read already and not told yet is told again behind the position.
    rest = [event.id for event in islice(listening(telling.events(told.position)), 12)]
    assert sorted(first + rest) == sorted(made) and before.id not in made
    count = len(told.position.split(","))
    begun = listening(telling.events("," * (count - 1)))
    assert {event.id for event in islice(begun, 21)} == {before.id, *made}
    for bad in ("x", "1", "1-", "1-2-3", "-1", "1-1" + "," * count, "²-1"):
        with pytest.raises(cloakroom.Invalid, match="position"):
            telling.events(bad)


def test_who_falls_behind_the_trim_is_told_so(connect: Connector, server: Server, listening: Any) -> None:
    made_with(server, connect, 1)
    store: Any = connect()
    told = listening(store.events())
    first = store.create(user="ann").session
    assert next(told).id == first.id
    position = told.position
    second = store.create(user="ann").session
    server.client.xtrim(f"{connect.tag}:events", maxlen=1, approximate=False)
    assert next(told) == Lagged(0)
    assert next(told).id == second.id
    # A position too, and what is kept does not begin at the beginning.
    for start in (position, "beginning"):
        again = listening(store.events(start))
        assert next(again) == Lagged(0)
        assert next(again).id == second.id
    # A flush, with all that was noted: nothing is left, and what comes then begins anew.
    server.client.delete(f"{connect.tag}:events")
    assert next(told) == Lagged(0) and told.position == ""
    third = store.create(user="ann").session
    assert next(told).id == third.id


def test_what_is_told_and_trimmed_while_the_caller_reads_its_sessions_anew_is_not_missed_in_silence(
    connect: Connector, server: Server, listening: Any
) -> None:
    made_with(server, connect, 1)
    store: Any = connect()
    told = listening(store.events())
    store.create()
    next(told)
    second = falls_behind(store, server, connect)
    assert next(told) == Lagged(0)
    last = falls_behind(store, server, connect)
    assert [next(told) for _ in range(2)] == [second, Lagged(0)]
    assert next(told) == last
    # The same where nothing was left: what comes then begins with `begun`, or some was missed.
    server.client.delete(f"{connect.tag}:events")
    assert next(told) == Lagged(0)
    last = falls_behind(store, server, connect)
    assert [next(told) for _ in range(2)] == [Lagged(0), last]


def falls_behind(store: Any, server: Server, connect: Connector) -> Event:
    """More is told than is kept. The last of that, which is kept alone."""
    for _ in range(3):
        session = store.create().session
    server.client.xtrim(f"{connect.tag}:events", maxlen=1, approximate=False)
    return Event("created", "", session.id, "", "", "", 1, "")


def test_an_entry_that_another_master_gave_the_same_place_was_not_read(
    connect: Connector, server: Server, listening: Any
) -> None:
    made_with(server, connect, 1)
    store: Any = connect()
    told = listening(store.events())
    store.create(user="ann")
    next(told)
    key = f"{connect.tag}:events"
    (place, _fields), *_ = server.client.xrevrange(key, count=1)
    server.client.xdel(key, place)
    other = {"what": "created", "why": "", "id": "s", "user": "", "connection": "", "node": "", "version": "1"}
    server.client.execute_command("DEL", key)
    server.client.xadd(key, other, id=place)
    assert next(told) == Lagged(0)
    assert next(told).id == "s"


def test_what_tells_nothing_of_ours_is_passed_over(connect: Connector, server: Server, listening: Any) -> None:
    made_with(server, connect, 1)
    store: Any = connect()
    told = listening(store.events())
    key = f"{connect.tag}:events"
    whole = {"what": "created", "why": "", "id": "s", "user": "", "connection": "", "node": "", "version": "1"}
    server.client.xadd(key, {**whole, "what": "begun"})
    for odd in ({"what": "danced"}, {"id": b"\xff"}, {"id": ""}, {"version": "x"}, {"what": "ended", "why": "?"}):
        server.client.xadd(key, {**whole, **odd})
    server.client.xadd(key, {"x": "y"})
    server.client.xadd(key, {**whole, "later": "word"})
    assert next(told).id == "s"


def test_a_cut_connection_a_flush_of_scripts_and_an_outage_end_no_stream(
    through: Connector, own_server: Server, proxy: Proxy, listening: Any
) -> None:
    made_with(own_server, through, 16)
    store: Any = through()
    told = listening(store.events(interval=0.001))
    ids = []
    for number in range(6):
        ids.append(store.create(user=f"user-{number}").session.id)
        own_server.client.script_flush()
        if number % 2:
            proxy.cut()
        else:
            proxy.to_lose = 1
    proxy.to_lose = 0
    assert sorted(event.id for event in islice(told, 6)) == sorted(ids)


@pytest.mark.parametrize("forbidden", [[], ["-role"]])
def test_what_only_a_demoted_master_has_is_not_told(
    own_server: Server, proxy: Proxy, listening: Any, forbidden: list[str]
) -> None:
    own_server.client.acl_setuser("reader", enabled=True, nopass=True, keys=["*"], commands=["+@all", *forbidden])
    connector = Connector("threads", proxy.url.replace("redis://", "redis://reader:x@"))
    made_with(own_server, connector, 1)
    store = connector()
    told = listening(store.events(interval=0.001))
    reader, key = told._reader, f"{connector.tag}:events"
    whole = {"what": "created", "why": "", "user": "", "connection": "", "node": "", "version": "1"}
    own_server.client.replicaof("127.0.0.1", 1)
    own_server.client.config_set("replica-read-only", "no")
    connector.age(store)
    lost = own_server.client.xadd(key, {**whole, "id": "lost"})
    for _ in range(3):
        time.sleep(reader.wait_s())
        told._run(reader.look())
        assert reader.told() is None
    own_server.client.xdel(key, lost)
    own_server.client.replicaof("no", "one")
    own_server.client.xadd(key, {**whole, "id": "kept"})
    assert next(event.id for event in told if isinstance(event, Event)) == "kept"
    connector.close()


def test_who_may_not_read_streams_is_told_what_is_lacking(connect: Connector, server: Server) -> None:
    made_with(server, connect, 1)
    connect()
    server.client.acl_setuser("reader", enabled=True, nopass=True, keys=["*"], commands=["+@all", "-xrevrange"])
    store: Any = connect(server.url.replace("redis://", "redis://reader:x@"))
    with pytest.raises(cloakroom.Forbidden, match=r"\+xrevrange"):
        store.events()
    other: Any = connect()
    server.client.set(f"{connect.tag}:events", "x")
    with pytest.raises(cloakroom.Corrupt, match="events"):
        other.events()


def test_it_ends_when_it_is_closed_and_when_its_store_is(connect: Connector, server: Server) -> None:
    made_with(server, connect, 16)
    store: Any = connect()
    told, second, third = store.events(), store.events(), store.events_of_node("n")
    told.close()
    assert list(told) == []
    store.close()
    assert list(second) == list(third) == []


def test_it_reads_all_partitions_over_one_connection_of_its_own_and_lets_go_of_that(
    connect: Connector, server: Server
) -> None:
    made_with(server, connect, 16)
    store: Any = connect()
    store.create()
    # Those of other tests may end meanwhile, and none begins.
    before = connections(server)
    told = store.events("beginning")
    next(told)
    assert len(connections(server) - before) == 1
    told.close()
    while connections(server) - before:
        pass


def connections(server: Server) -> set[str]:
    return {client["id"] for client in server.client.client_list(_type="normal")}


def test_who_waits_in_another_thread_is_woken_by_the_close(server: Server) -> None:
    connector = Connector("threads", server.url)
    made_with(server, connector, 1)
    store: Any = connector()
    told, found = store.events(), []
    waiting = threading.Thread(target=lambda: found.extend(told))
    waiting.start()
    told.close()
    waiting.join()
    assert found == []
    connector.close()


def test_nothing_is_lost_where_a_task_is_cancelled_that_waits_for_the_next(server: Server) -> None:
    connector = Connector("asyncio", server.url)
    made_with(server, connector, 16)

    async def read() -> tuple[list[str], list[Any]]:
        made: list[str] = []
        found: list[Any] = []
        async with (
            await AsyncStore.connect(server.url, namespace=connector.namespace) as store,
            await store.events(interval=0.001) as told,
        ):
            for number in range(60):
                made.append((await store.create(user=f"user-{number}")).session.id)
                waiting = asyncio.ensure_future(anext(told))
                for _ in range(number % 20):
                    await asyncio.sleep(0)
                waiting.cancel()
                found += [one for one in await asyncio.gather(waiting, return_exceptions=True) if not is_cancelled(one)]
            while len(found) < len(made):
                found.append(await anext(told))
        return made, [event.id for event in found]

    made, found = asyncio.run(read())
    assert sorted(found) == sorted(made)
    connector.close()


def is_cancelled(outcome: Any) -> bool:
    return isinstance(outcome, asyncio.CancelledError)
