"""How long a call takes at most, and what it waits for meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import redis
from support import Connector, Proxy, Server, fresh_namespace

import cloakroom_sessions as cloakroom
from cloakroom_sessions import (
    NodeIdentity,
    NotExecuted,
    Rules,
    bundle,
    changing,
    clearing,
    link,
    making,
    nodes,
    reading,
)
from cloakroom_sessions.call import Crowded, Engine, Outcome, Parcel, Steps, Timed, Unreachable
from cloakroom_sessions.cluster import Address, Cluster, Errand
from cloakroom_sessions.partitions import Partitions
from cloakroom_sessions.server_clock import ServerClock


def engine(namespace: str = "x", partitions: int = 1, deadline_s: float = 2.0) -> Engine:
    return Engine(bundle.load(), Partitions(namespace, partitions), Rules(), deadline_s)


def result(steps: Steps[Any], answer: Callable[[Parcel], Any]) -> Any:
    """What a call returns whose parcels get such answers."""
    outcomes = None
    try:
        while True:
            outcomes = [answer(parcel) for parcel in steps.send(outcomes)]  # type: ignore[arg-type]
    except StopIteration as end:
        return end.value


def noting(instants: list[float], answer: Callable[[Parcel], Any]) -> Callable[[Parcel], Any]:
    """The same answers, which note until when each parcel may be sent."""

    def noted(parcel: Parcel) -> Any:
        instants.append(parcel.until)
        return answer(parcel)

    return noted


def instants(steps: Steps[Any], answer: Callable[[Parcel], Any]) -> list[float]:
    """Until when each parcel of a call may be sent."""
    instants: list[float] = []
    result(steps, noting(instants, answer))
    return instants


def at(server: Server) -> Callable[[Parcel], Any]:
    """What a server answers to a parcel."""
    clock = ServerClock()
    clock.saw(server.client.time())

    def answer(parcel: Parcel) -> Any:
        pipeline = server.client.pipeline(transaction=False)
        for command in parcel.commands:
            pipeline.execute_command(*(command.make(clock) if isinstance(command, Timed) else command))
        return pipeline.execute(raise_on_error=False)

    return answer


def test_all_rounds_of_a_call_have_one_deadline() -> None:
    steps = changing.delete(engine(), "s")
    first = next(steps)[0].until
    for round in range(20):
        assert steps.send([[[b"need", b"routing", b"%d" % round, b"", b""]]])[0].until == first


def test_a_call_whose_session_keeps_changing_ends_by_its_deadline() -> None:
    steps = changing.delete(engine(deadline_s=0.1), "s")
    with pytest.raises(NotExecuted) as late:
        instants(steps, lambda _: threading.Event().wait(0.02) or [[b"need", b"routing", b"ann", b"", b""]])
    assert not isinstance(late.value, cloakroom.Contended)
    assert isinstance(late.value.__cause__, TimeoutError)


def test_a_look_at_a_connection_that_keeps_changing_its_session_ends_by_its_deadline() -> None:
    """Its pointer leads to another id each time, and no session is there."""
    ids = (b"s%d" % number for number in range(1_000_000))

    def answer(parcel: Parcel) -> Any:
        return [next(ids)] if len(parcel.commands) == 1 else [[b"1", b"0"], None]

    with pytest.raises(NotExecuted):
        instants(reading.session_by_connection(engine(deadline_s=0.05), "c"), answer)


def test_the_partitions_that_a_call_asks_have_one_deadline() -> None:
    steps = reading.session_by_connection(engine(partitions=16), "c")
    assert len(set(instants(steps, lambda _: [None]))) == 1


def test_each_batch_of_a_log_out_everywhere_has_a_deadline_of_its_own(connect: Connector, server: Server) -> None:
    """However many sessions a user has, it comes to an end, and a server that is away ends it."""
    connect()
    own = engine(connect.namespace, deadline_s=60)
    instants(making.create_many(own, [{"user": "ann"}] * 401), at(server))
    assert len(set(instants(clearing.delete_user(own, "ann"), at(server)))) == 3
    assert server.client.zcard(f"{connect.tag}:user:ann:sessions") == 0


def test_each_batch_of_new_sessions_has_a_deadline_of_its_own(connect: Connector, server: Server) -> None:
    connect()
    steps = making.create_many(engine(connect.namespace, deadline_s=60), [{"user": "ann"}] * 250)
    assert len(set(instants(steps, at(server)))) == 3


def test_each_partition_of_a_recovery_has_a_deadline_of_its_own(connect: Connector, server: Server) -> None:
    """However many partitions there are, it comes to an end, though it asks one after the other."""
    connect(partitions=16)
    own = engine(connect.namespace, partitions=16, deadline_s=60)
    result(nodes.heartbeat(own, NodeIdentity("live"), "register"), at(server))
    assert len(set(instants(nodes.recover(own, "dead", "live"), at(server)))) == 16


def test_a_lease_that_was_taken_in_vain_has_time_to_be_given_back(connect: Connector, server: Server) -> None:
    """However long it took to find out that another process holds the lease elsewhere."""
    connect(partitions=16)
    own, identity, told = engine(connect.namespace, 16, deadline_s=60), NodeIdentity("n"), list[float]()
    result(nodes.heartbeat(own, NodeIdentity("n"), "register"), at(server))
    for tag in own.partitions.tags[1:]:
        server.client.delete(f"{tag}:node:n:lease")
    with pytest.raises(cloakroom.Leased):
        result(nodes.heartbeat(own, identity, "register"), noting(told, at(server)))
    beats, releases = told[:16], told[16:]
    assert len(set(beats)) == 1 and len(releases) == 15 and min(releases) > beats[0]
    assert identity.held == set()


@pytest.mark.parametrize(("per_user", "count"), [(None, 250), (10, 3)])
def test_sessions_whose_turn_comes_late_are_not_taken_for_those_of_a_repeat(
    server: Server, per_user: int | None, count: int
) -> None:
    """The tombstone of a session that an earlier call made would be gone by then, but there was no earlier call."""
    rules = Rules(tombstone=1.0, sessions_per_user=per_user)
    own = replace(engine(fresh_namespace(), deadline_s=60), rules=rules)
    waits, told = iter((1.2,)), at(server)
    # Loads the script.
    result(making.create_many(own, [{"user": "bob"}]), told)

    def answer(parcel: Parcel) -> Any:
        replies = told(parcel)
        threading.Event().wait(next(waits, 0.0))
        return replies

    answers = result(making.create_many(own, [{"user": "ann"}] * count), answer)
    assert {type(each) for each in answers} == {cloakroom.Created}


def in_a_cluster(outcome: Outcome, not_before: float = 0.0) -> tuple[list[Errand], list[Outcome]]:
    """The errands of a call in a cluster whose nodes all answer so, and what became of it."""
    call = Parcel("{t:0}", [["GET", "k"], ["GET", "l"]], time.monotonic() + 1, not_before)
    deliveries, sent = Cluster([Address("one", 1)]).deliver([call]), list[Errand]()
    try:
        (errand,) = next(deliveries)
        while True:
            sent.append(errand)
            (errand,) = deliveries.send([outcome])
    except StopIteration as end:
        return sent, end.value


def test_a_call_that_is_to_wait_waits_in_a_cluster_too() -> None:
    later = time.monotonic() + 0.5
    sent, _ = in_a_cluster([redis.ResponseError("ERR unknown")] * 2, not_before=later)
    assert [errand.not_before for errand in sent] == [later, later]


def test_a_call_that_gets_no_connection_in_a_cluster_ends_at_once() -> None:
    crowded = Crowded()
    sent, outcomes = in_a_cluster(crowded)
    # The map is read before.
    assert len(sent) == 2 and outcomes == [crowded]


def test_a_call_whose_password_a_cluster_refuses_is_tried_again_by_a_new_map_alone() -> None:
    refused = link.because(Unreachable(), redis.AuthenticationError("invalid password"))
    sent, outcomes = in_a_cluster(refused)
    # The map is read before each of two attempts.
    assert len(sent) == 4 and outcomes == [refused]


def test_a_server_that_was_away_is_waited_for(through: Connector, proxy: Proxy, own_server: Server) -> None:
    store, back = through(), list[Proxy]()
    session = store.create(user="ann").session
    proxy.stop()
    begins = threading.Timer(0.3, lambda: back.append(Proxy(own_server.port, at=proxy.port)))
    begins.start()
    assert store.patch(session, set={"a": 1}).version == 2
    begins.join()
    through.close_stores()
    back[0].stop()


def test_a_write_that_a_demoted_master_refuses_is_taken_to_the_next_master(
    connect: Connector, own_server: Server
) -> None:
    store = connect(own_server.url)
    session = store.create(user="ann").session
    own_server.client.replicaof("127.0.0.1", 1)
    promoted = threading.Timer(0.2, lambda: redis.Redis(port=own_server.port).replicaof("no", "one"))
    promoted.start()
    assert store.patch(session, set={"a": 1}).version == 2
    promoted.join()
