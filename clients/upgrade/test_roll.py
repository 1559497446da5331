"""A service that is rolled from one release to the next under load, and what becomes of a release that is no bridge."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import cloakroom_sessions as cloakroom
import pytest
from cloakroom_sessions import Store
from cloakroom_sessions.bundle import Bundle
from support import Server, fresh_namespace

from fleet import Fleet
from releases import Release
from stored import Stored

#: Of each process in each phase.
OPERATIONS = 200


class Roll:
    """A namespace in which a fleet is rolled."""

    def __init__(self, server: Server, releases: dict[str, Release]) -> None:
        self.server, self.namespace = server, fresh_namespace()
        self._bundle = Bundle(releases["next"].bundle)
        #: What was there before the roll, and goes on: it is no bridge.
        self.plain = Store.connect(server.url, namespace=self.namespace)

    def stored(self) -> Stored:
        return Stored(self.server.client, self._bundle, self.namespace)

    def noted(self) -> str:
        raw: bytes = self.server.client.get(f"{{{self.namespace}:0}}:contract")
        return raw.decode()

    def made(self, count: int, user: str) -> list[str]:
        return [self.plain.create(user=user, attributes={"by": "plain"}).session.id for _ in range(count)]

    def check(self, fleet: Fleet) -> Stored:
        """All that was acknowledged is there, and nothing else is in the indexes."""
        stored = self.stored()
        stored.check()
        own: dict[str, dict[str, Any]] = {}
        for at, state in enumerate(fleet.states):
            own |= state["own"]
            for id, value in state["shared"].items():
                assert values(stored, id).get(f"worker-{at}") == value
        for id, expected in own.items():
            record = stored.live[id]
            found = {"user": record.user, "connection": record.connection, "node": record.node}
            assert found | values(stored, id) == expected
        untouched = set(stored.live) - set(own) - set(fleet.states[0]["shared"])
        assert untouched == set(fleet.states[0]["idle"]), "a session was deleted, and is there"
        return stored


def values(stored: Stored, id: str) -> dict[str, Any]:
    return {entry.key: json.loads(entry.json) for entry in stored.live[id].entries}


def test_a_roll_to_the_next_release_and_one_step_back_loses_nothing(
    releases: dict[str, Release], server: Server
) -> None:
    roll = Roll(server, releases)
    shared, idle = roll.made(20, "shared"), roll.made(5, "idle")
    before = {id: roll.stored().raw[id] for id in idle}
    with Fleet(releases["bridge"], server.url, roll.namespace, shared, idle) as fleet:
        fleet.work(OPERATIONS)
        assert (roll.check(fleet).formats(), roll.noted()) == ({2}, "1")
        for at in range(3):
            fleet.replace(at, releases["next"])
            fleet.work(OPERATIONS)
            stored = roll.check(fleet)
            assert (stored.formats(), roll.noted()) == ({2, 3}, "2")
        assert {stored.raw[id][0] for id in shared} == {3}, "a write left a record in the format before"
        fleet.replace(2, releases["bridge"])
        fleet.work(OPERATIONS)
        stored = roll.check(fleet)
        assert (stored.formats(), roll.noted()) == ({2, 3}, "2")
        assert {id: stored.raw[id] for id in idle} == before, "a read wrote"


def test_a_process_that_is_no_bridge_does_not_start_once_the_next_contract_is_noted(
    releases: dict[str, Release], server: Server
) -> None:
    roll = Roll(server, releases)
    with Fleet(releases["next"], server.url, roll.namespace, [], []):
        assert roll.noted() == "2"
    with pytest.raises(cloakroom.OtherContract) as refused:
        Store.connect(server.url, namespace=roll.namespace)
    assert (refused.value.found, refused.value.known) == (2, 1)
    assert roll.noted() == "2"


def test_a_process_that_is_no_bridge_and_runs_changes_nothing_that_the_next_release_wrote(
    releases: dict[str, Release], server: Server
) -> None:
    roll = Roll(server, releases)
    shared = roll.made(1, "shared")
    copy = roll.plain.get(shared[0])
    assert copy
    with Fleet(releases["next"], server.url, roll.namespace, shared, []) as fleet:
        fleet.work(OPERATIONS)
        stored = roll.check(fleet)
        id, own = next(iter(fleet.states[0]["own"].items()))
    assert stored.raw[id][0] == stored.raw[shared[0]][0] == 3
    plain = roll.plain
    calls: list[Callable[[], object]] = [
        lambda: plain.get(id),
        lambda: plain.refresh(id),
        lambda: plain.patch(id, set={"a": 1}),
        lambda: plain.update(copy),
        lambda: plain.rotate(id, user="zoe"),
        lambda: plain.bind(id, "other"),
        lambda: plain.unbind(id, "other"),
        lambda: plain.delete(id),
    ]
    for call in calls:
        with pytest.raises(cloakroom.Corrupt):
            call()
    told = plain.delete_user(own["user"])
    assert (told.removed, id in told.corrupt) == ([], True)
    reaped = plain.reap()
    assert (reaped.sessions, reaped.corrupt) == ([], [])
    now = roll.stored()
    assert (now.strings, now.indexes) == (stored.strings, stored.indexes)
