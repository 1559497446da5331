"""Sessions that go from one store to another."""

from __future__ import annotations

from typing import Any

import pytest
from support import Clock, Connector, fresh_namespace

import cloakroom_sessions as cloakroom
from cloakroom_sessions import Imported, Incoming, Migration, Rules, Thawed

TASK = b"the task"


@pytest.fixture
def west(connect: Connector, clock: Clock) -> Any:
    return connect(clock=clock)


@pytest.fixture
def east(connect: Connector, clock: Clock) -> Any:
    return connect(clock=clock, namespace=fresh_namespace())


def send_copy(west: Any, east: Any, session: Any) -> int:
    """Freezes a session and brings its copy in: the end of the freeze."""
    outgoing = west.freeze(session, TASK, "east")
    assert outgoing.export.session == session
    incoming = Incoming(TASK, outgoing.until_ms, "west")
    assert east.import_(outgoing.export, incoming=incoming) == Imported.IMPORTED
    until_ms: int = outgoing.until_ms
    return until_ms


def on_their_way(store: Any) -> list[Migration]:
    page = store.migrations()
    assert page.next is None
    migrations: list[Migration] = page.migrations
    return migrations


def test_a_session_goes_to_another_store_and_is_changed_in_one_at_a_time(west: Any, east: Any, clock: Clock) -> None:
    session = west.create(user="ann", connection="c", node="n", attributes={"a": 1}).session
    until_ms = send_copy(west, east, session)
    assert until_ms == clock.now_ms + 30_000
    for store in (west, east):
        assert store.get(session.id).status == "migrating"
        with pytest.raises(cloakroom.Frozen):
            store.patch(session.id, set={"a": 2})
    with pytest.raises(cloakroom.Frozen):
        west.freeze(session, b"another!", "north")
    assert on_their_way(west) == [Migration(session.id, TASK, "east", "outgoing", until_ms)]
    assert on_their_way(east) == [Migration(session.id, TASK, "west", "incoming", until_ms)]

    with pytest.raises(cloakroom.Conflict):
        west.depart(session, TASK, until_ms - 1)
    for _ in range(2):
        assert west.depart(session.id, TASK, until_ms) is True
    assert on_their_way(west) == [Migration(session.id, TASK, "east", "departed", None)]
    with pytest.raises(cloakroom.Departed) as departed:
        west.get(session.id)
    assert departed.value.place == "east" and west.count(user="ann") == 0

    assert east.thaw(session, TASK, "incoming") == Thawed.THAWED
    assert east.thaw(session, TASK, "incoming") == Thawed.UNCHANGED
    assert west.clean(session, TASK, "departed") is True
    assert west.clean(session, TASK, "departed") is False
    assert on_their_way(west) == on_their_way(east) == []
    assert east.get(session.id) == east.session_by_connection("c") == session
    assert east.patch(session, set={"a": 2}).version == session.version + 1
    clock.now_ms += 30_000
    assert west.get(session.id) is None


def test_a_session_that_is_deleted_at_its_source_goes_nowhere(west: Any, east: Any) -> None:
    session = west.create(user="ann", connection="c").session
    until_ms = send_copy(west, east, session)
    assert west.delete(session).id == session.id
    assert west.depart(session, TASK, until_ms) is False
    assert east.clean(session.id, TASK, "copy", until_ms=until_ms - 1) is False
    assert east.clean(session.id, TASK, "copy", until_ms=until_ms) is True
    assert west.get(session.id) is east.get(session.id) is None
    assert east.count(user="ann") == 0 and east.session_by_connection("c") is None
    assert on_their_way(west) == on_their_way(east) == []


def test_what_ends_a_session_leaves_word_for_as_long_as_a_copy_may_wait(west: Any, east: Any, clock: Clock) -> None:
    ended = [west.create(user="ann").session for _ in range(3)]
    for session in ended:
        send_copy(west, east, session)
    clock.now_ms += 60_000
    assert west.get(ended[0].id) == ended[0] and on_their_way(east) != []
    assert west.patch(ended[0], set={"a": 1}).version == 2
    west.delete(ended[0])
    renamed = west.rotate(ended[1]).session
    assert west.get(ended[1].id) == renamed
    assert len(west.delete_user("ann").removed) == 2
    clock.now_ms += 10 * 60_000
    for session in ended:
        assert west.get(session.id) is None and west.knows(session.id) is True
    assert west.knows("never") is False
    assert west.create(id=ended[1].id).session.id == ended[1].id
    assert west.list(user="ann").sessions == []


def test_a_freeze_that_began_by_a_clock_that_was_set_back_since_is_over(west: Any, clock: Clock) -> None:
    session = west.create().session
    outgoing = west.freeze(session, TASK, "east")
    clock.now_ms -= 600_000
    assert west.get(session.id) == session
    with pytest.raises(cloakroom.Conflict):
        west.depart(session, TASK, outgoing.until_ms)
    refreshed = west.refresh(session)
    assert refreshed.expires_at_ms == clock.now_ms + Rules().ttl_ms


def test_a_copy_that_is_deleted_is_not_to_be_when_its_session_departs(west: Any, east: Any) -> None:
    session = west.create(user="ann").session
    until_ms = send_copy(west, east, session)
    assert east.delete(session).id == session.id
    (deleted,) = on_their_way(east)
    assert deleted == Migration(session.id, TASK, "west", "deleted", None)
    assert west.depart(session, TASK, until_ms) is True
    assert east.thaw(session, TASK, "incoming") == Thawed.MISSING
    assert west.clean(session, TASK, "departed") and east.clean(session, TASK, "deleted")
    assert on_their_way(west) == on_their_way(east) == []


def test_a_session_that_is_thawed_at_its_source_stays(west: Any) -> None:
    session = west.create().session
    west.freeze(session, TASK, "east")
    with pytest.raises(cloakroom.Frozen):
        west.thaw(session, TASK, "incoming")
    assert west.thaw(session, TASK, "outgoing") == Thawed.THAWED
    assert west.get(session.id) == session
    assert west.thaw("none", TASK, "outgoing") == Thawed.MISSING
    assert west.freeze("none", TASK, "east") is None


def test_a_session_goes_to_the_node_that_is_noted(west: Any, east: Any) -> None:
    session = west.create(user="ann", connection="c", node="n").session
    outgoing = west.freeze(session, TASK, "east", node="m")
    assert on_their_way(west) == [Migration(session.id, TASK, "east", "outgoing", outgoing.until_ms, "m")]
    incoming = Incoming(TASK, outgoing.until_ms, "west", "m")
    for _ in range(2):
        assert east.import_(outgoing.export, incoming=incoming) == Imported.IMPORTED
    assert west.depart(session, TASK, outgoing.until_ms) is True
    assert east.thaw(session.id, TASK, "incoming") == Thawed.THAWED
    found = east.get(session.id)
    assert (found.node, found.connection, found.status) == ("m", "", "suspended")
    assert found.version == session.version + 1
    assert (east.count(node="m"), east.count(node="n")) == (1, 0)


def test_the_list_of_those_on_their_way_has_pages(west: Any) -> None:
    for number in range(3):
        west.create(id=f"s{number}")
        west.freeze(f"s{number}", TASK, "east", span=(1000 + number) / 1000)
    first = west.migrations(limit=2)
    assert [migration.id for migration in first.migrations] == ["s0", "s1"] and first.next == 2
    second = west.migrations(skip=first.next, limit=2)
    assert [migration.id for migration in second.migrations] == ["s2"] and second.next is None


def test_what_is_no_step_of_a_migration_is_not_sent(west: Any) -> None:
    session = west.create().session
    export = west.export(session.id)
    for task in (bytes(8), b"short", "the task"):
        with pytest.raises(cloakroom.Invalid):
            west.freeze(session, task, "east")
    with pytest.raises(cloakroom.Invalid):
        west.freeze(session, TASK, "east", node="x" * 257)
    with pytest.raises(cloakroom.Invalid):
        west.clean(session, TASK, "copy")
    with pytest.raises(cloakroom.Invalid):
        west.clean(session, TASK, "departed", until_ms=1)
    with pytest.raises(cloakroom.Invalid):
        west.import_(export, replaces=1, incoming=Incoming(TASK, 1, "west"))
    assert west.get(session.id) == session
