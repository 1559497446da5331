"""Leases, recovery, and writes that a node makes as an owner."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from support import Clock

import cloakroom_sessions as cloakroom
from cloakroom_sessions import NodeIdentity

LEASE_MS = 10_000


def register(store: Any, node: str) -> NodeIdentity:
    identity = NodeIdentity(node)
    store.heartbeat(identity, "register", lease=LEASE_MS / 1000)
    return identity


def test_a_lease_is_held_renewed_and_released(store: Any, clock: Clock) -> None:
    identity = NodeIdentity("n")
    assert store.heartbeat(identity, "register", lease=LEASE_MS / 1000) == clock.now_ms + LEASE_MS
    with pytest.raises(cloakroom.Leased) as taken:
        store.heartbeat(NodeIdentity("n"), "register")
    assert taken.value.until_ms == clock.now_ms + LEASE_MS
    clock.now_ms += LEASE_MS - 1
    assert store.heartbeat(identity, lease=LEASE_MS / 1000) == clock.now_ms + LEASE_MS
    assert store.lapsed_nodes() == []
    assert store.heartbeat(identity, "release") == clock.now_ms
    assert store.lapsed_nodes() == ["n"]
    with pytest.raises(cloakroom.Fenced):
        store.heartbeat(identity)


def test_nodes_are_listed_with_their_sessions(store: Any, clock: Clock) -> None:
    register(store, "b")
    clock.now_ms += LEASE_MS
    register(store, "a")
    store.create(node="b")
    nodes = [(node.name, node.is_live, node.sessions) for node in store.nodes()]
    assert nodes == [("a", True, 0), ("b", False, 1)]
    # A lease that would be held for longer than it is long began by a clock that was set back since.
    clock.now_ms -= 600_000
    assert store.lapsed_nodes() == ["a", "b"]


def test_the_sessions_of_a_dead_node_go_to_another_once(store: Any, clock: Clock) -> None:
    dead = register(store, "dead")
    for number in range(5):
        store.create(id=f"s{number}", user="ann", connection=f"c{number}", node="dead")
    with pytest.raises(cloakroom.Fenced):
        store.recover("dead", "live", even_if_leased=True)
    live = register(store, "live")
    with pytest.raises(cloakroom.Leased):
        store.recover("dead", "live")
    clock.now_ms += LEASE_MS - 1
    store.heartbeat(live, lease=LEASE_MS / 1000)
    clock.now_ms += 1
    recoverer = store.as_node(live)
    first = recoverer.recover("dead", "live", batch=3)
    second = recoverer.recover("dead", "live", batch=3, after=first.next)
    assert [session.id for session in first.sessions + second.sessions] == [f"s{number}" for number in range(5)]
    assert second.next is None and store.lapsed_nodes() == []
    taken = first.sessions[0]
    assert (taken.version, taken.user, taken.connection) == (2, "ann", "c0")
    session = store.get("s0")
    assert (session.node, session.connection, session.status) == ("live", "", "suspended")
    with pytest.raises(cloakroom.Fenced):
        store.as_node(dead).patch("s0", set={"late": 1})
    assert store.get("s0") == session


def test_an_owner_writes_while_it_holds_its_lease_and_never_later(store: Any, clock: Clock) -> None:
    identity = register(store, "n")
    owner = store.as_node(identity)
    session = owner.create(user="ann", connection="c").session
    assert session.node == "n"
    owner.patch(session, set={"a": 1})
    owner.bind(session, "d")
    assert owner.refresh_and_get(session.id).node == "n"
    with pytest.raises(cloakroom.Invalid):
        owner.bind(session, "e", node="m")
    clock.now_ms += LEASE_MS
    register(store, "n")
    session = store.get(session.id)
    writes: list[Callable[[], Any]] = [
        lambda: owner.patch(session, set={"a": 2}),
        lambda: owner.update(session),
        lambda: owner.refresh(session.id),
        lambda: owner.rotate(session),
        lambda: owner.bind(session, "e"),
        lambda: owner.unbind(session, "d"),
        lambda: owner.delete(session),
        lambda: owner.create(user="ann"),
    ]
    for write in writes:
        with pytest.raises(cloakroom.Fenced):
            write()
    assert store.get(session.id) == session
    assert store.count(user="ann") == 1
