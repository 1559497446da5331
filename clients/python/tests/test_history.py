"""What becomes of a call that may have happened: an answer counts only if what is stored proves it."""

from __future__ import annotations

import json
import pickle
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support import Clock, Connector, Proxy, Server

import cloakroom_sessions as cloakroom
from cloakroom_sessions import OperationId, Rules, Session, Store, Unbound, bundle
from cloakroom_sessions.server_clock import ServerClock

LOGINS: Any = json.loads((Path(__file__).parents[3] / "lua" / "logins.json").read_text())

Change = Callable[[Any, Session], Any]


def patch(store: Any, session: Session) -> Any:
    return store.patch(session, set={"v": "mine"})


def bind(store: Any, session: Session) -> Any:
    return store.bind(session, "d", node="n")


def unbind(store: Any, session: Session) -> Any:
    return store.unbind(session, "c")


def update(store: Any, session: Session) -> Any:
    session.attributes["v"] = "mine"
    store.update(session)
    return session


every_change = pytest.mark.parametrize("change", [patch, bind, unbind, update])


@pytest.fixture
def others(through: Connector, own_server: Server) -> Iterator[Store]:
    """A store that leads around the proxy, into the same namespace."""
    with Store.connect(own_server.url, namespace=through.namespace) as store:
        yield store


def lose_one(proxy: Proxy, meanwhile: Callable[[], object]) -> None:
    """Lets the next call be executed, then something else happen, then its reply be lost."""
    proxy.meanwhile, proxy.to_lose = meanwhile, 1


def before_one(proxy: Proxy, script: str, happens: Callable[[], object]) -> None:
    """Lets something happen before the next call of a script gets through; or a transaction that reads what `list`
    does."""
    calls = [bundle.load().scripts[script].sha1.encode()] + ([b"MULTI"] if script == "list" else [])

    def before(request: bytes) -> None:
        if any(call in request for call in calls):
            proxy.before = lambda _: None
            happens()

    proxy.before = before


@pytest.mark.parametrize("case", LOGINS["copies"])
def test_the_copy_of_a_login_has_the_id_that_all_languages_compute(case: dict[str, Any]) -> None:
    login = OperationId(bytes.fromhex(case["operation_id"]), bytes.fromhex(case["seed"]))
    assert login.nth(case["version"]).stored.hex() == case["copy"]


def four_changes(store: Store, id: str) -> None:
    for value in range(1, 5):
        store.patch(id, set={"v": value})


def answer_to(server: Server, request: bytes) -> bytes:
    """What the server answers to a request as it was caught."""
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(request)
        return connection.recv(1000)


def overtake(proxy: Proxy, server: Server, script: str, meanwhile: Callable[[], object]) -> None:
    """Holds up the first attempt at a script until others have acted before the third."""
    sha1 = bundle.load().scripts[script].sha1.encode()
    attempts: list[bytes] = []

    def before(request: bytes) -> None:
        if sha1 not in request:
            return
        attempts.append(request)
        if len(attempts) == 1:
            proxy.cut()
        elif len(attempts) == 3:
            meanwhile()
            assert b"$2\r\nok\r\n" in answer_to(server, attempts[0])

    proxy.before = before


def later(server: Server, ms: int) -> None:
    """Waits until the server's clock is past the time within which a call is taken for the first of its kind."""
    seconds, micros = server.client.time()
    until = seconds * 1000 + micros // 1000 + ms
    while True:
        seconds, micros = server.client.time()
        if seconds * 1000 + micros // 1000 > until:
            return


@every_change
def test_what_four_others_followed_is_not_done_twice(
    through: Connector, proxy: Proxy, others: Store, change: Change
) -> None:
    store = through()
    session = others.create(connection="c").session
    lose_one(proxy, lambda: four_changes(others, session.id))
    with pytest.raises(cloakroom.Ambiguous):
        change(store, session)
    left = others.get(session.id)
    assert left and (left.version, left.attributes["v"]) == (6, 4)


@every_change
def test_what_a_deletion_followed_has_happened(through: Connector, proxy: Proxy, others: Store, change: Change) -> None:
    store = through()
    session = others.create(connection="c").session
    lose_one(proxy, lambda: others.delete(session.id))
    answer = change(store, session)
    assert answer is Unbound.DETACHED or answer.version == 2
    assert others.get(session.id) is None


@every_change
def test_what_a_rotation_followed_has_happened_and_names_the_new_id(
    through: Connector, proxy: Proxy, others: Store, change: Change
) -> None:
    store = through()
    session = others.create(connection="c").session
    lose_one(proxy, lambda: others.rotate(session.id, new_id="new"))
    answer = change(store, session)
    assert answer is Unbound.DETACHED or (answer.version, answer.id) == (2, "new")


def test_a_session_that_was_made_and_deleted_since_was_made(through: Connector, proxy: Proxy, others: Store) -> None:
    store = through()
    lose_one(proxy, lambda: others.delete("s"))
    assert store.create(id="s").session.version == 1
    assert others.get("s") is None


def test_of_many_made_sessions_each_answers_for_itself(through: Connector, proxy: Proxy, others: Store) -> None:
    store = through()

    def meanwhile() -> None:
        others.delete("s0")
        four_changes(others, "s1")

    lose_one(proxy, meanwhile)
    made = store.create_many([{"id": f"s{number}"} for number in range(3)])
    assert made[0].session.version == made[2].session.version == 1
    assert isinstance(made[1], cloakroom.Ambiguous)
    again = store.with_operation_id(made[1].operation_id)
    with pytest.raises(cloakroom.Ambiguous):
        again.create(id="s1")
    left = others.get("s1")
    assert left and left.version == 5


def test_a_first_attempt_that_comes_last_is_not_executed(
    through: Connector, proxy: Proxy, others: Store, own_server: Server
) -> None:
    store = through()
    session = others.create().session
    first = []

    def before(request: bytes) -> None:
        first.append(request)
        proxy.before = lambda _: None
        proxy.cut()

    proxy.before = before
    assert patch(store, session).version == 2
    four_changes(others, session.id)
    assert answer_to(own_server, first[0]).startswith(b"*2\r\n$6\r\nunsure\r\n")
    left = others.get(session.id)
    assert left and (left.version, left.attributes["v"]) == (6, 4)


def test_a_bind_that_an_earlier_attempt_made_does_not_tell_what_the_last_one_declared(
    through: Connector, proxy: Proxy, others: Store, own_server: Server
) -> None:
    store = through()
    session = others.create(connection="a", node="n").session
    others.bind(session, "c", node="n")
    overtake(proxy, own_server, "bind", lambda: others.unbind(session.id, "c"))
    with pytest.raises(cloakroom.Ambiguous) as ambiguous:
        store.bind(session.id, "d")
    again = store.with_operation_id(ambiguous.value.operation_id).bind(session.id, "d")
    assert (again.version, again.previous_connection, again.previous_node, again.changed) == (4, "", "", True)


def test_a_bind_that_is_repeated_under_its_operation_id_does_not_tell_what_its_caller_names(others: Store) -> None:
    session = others.create(connection="a", node="n").session
    mine = others.with_operation_id(OperationId.random())
    assert mine.bind(session, "c").previous_connection == "a"
    again = mine.bind(session, "c")
    assert (again.version, again.previous_connection, again.previous_node) == (2, "", "")


def test_a_rotation_that_another_change_followed_is_ambiguous(through: Connector, proxy: Proxy, others: Store) -> None:
    store = through()
    session = others.create().session
    lose_one(proxy, lambda: others.patch(session.id, set={"v": 1}))
    with pytest.raises(cloakroom.Ambiguous) as ambiguous:
        store.rotate(session)
    with pytest.raises(cloakroom.Ambiguous):
        store.with_operation_id(ambiguous.value.operation_id).rotate(session)
    left = others.get(session.id)
    assert left and left.version == 3


def test_that_nothing_is_there_proves_nothing_once_a_reply_was_lost(
    through: Connector, proxy: Proxy, others: Store, own_server: Server
) -> None:
    store = through()
    session = others.create().session
    key = f"{through.tag}:session:{session.id}"
    lose_one(proxy, lambda: own_server.client.delete(key))
    with pytest.raises(cloakroom.Ambiguous):
        store.delete(session.id)
    with pytest.raises(cloakroom.Missing):
        store.patch(session, set={"v": 1})


def test_what_four_others_came_before_is_done_once_it_is_known_not_to_have_happened(
    through: Connector, proxy: Proxy, others: Store, own_server: Server
) -> None:
    store = through()
    session = others.create().session

    def meanwhile() -> None:
        later(own_server, 150)
        four_changes(others, session.id)

    before_one(proxy, "patch", meanwhile)
    assert store.patch(session, set={"v": "mine"}).version == 6
    # Under an id of the caller it may have happened before.
    before_one(proxy, "patch", meanwhile)
    with pytest.raises(cloakroom.Ambiguous):
        store.with_operation_id(OperationId.random()).patch(session, set={"v": "mine"})
    left = others.get(session.id)
    assert left and (left.version, left.attributes["v"]) == (10, 4)


def test_a_repeated_call_is_proved_or_ambiguous(store: Any, clock: Clock) -> None:
    session = store.create().session
    operation_id = OperationId.random()
    assert patch(store.with_operation_id(operation_id), session).version == 2
    for same in (operation_id.of_a_repeat(), pickle.loads(pickle.dumps(operation_id))):
        again = store.with_operation_id(same)
        assert same == operation_id and patch(again, session).version == 2
        with pytest.raises(cloakroom.Ambiguous):
            again.patch("nobody", set={"v": 1})
        with pytest.raises(cloakroom.Ambiguous):
            again.delete("nobody")
    clock.now_ms += 1
    four_changes(store, session.id)
    with pytest.raises(cloakroom.Ambiguous):
        patch(store.with_operation_id(operation_id.of_a_repeat()), session)
    assert store.get(session.id).version == 6


def test_a_call_is_sent_again_once_nobody_takes_it_for_the_first_and_by_the_server_s_time(
    through: Connector, proxy: Proxy, others: Store
) -> None:
    store = through()
    session = others.create().session
    seen: list[tuple[float, bytes]] = []
    proxy.before = lambda request: seen.append((time.monotonic(), request))
    began = time.monotonic()
    lose_one(proxy, lambda: None)
    assert patch(store, session).version == 2
    asked = [at for at, request in seen if b"TIME" in request]
    sent = [at for at, request in seen if b"EVALSHA" in request]
    assert len(asked) == 1 and len(sent) == 2
    assert sent[0] < asked[0] < sent[1] and asked[0] >= began + 0.11


def test_a_new_connection_is_asked_for_its_server_s_time(through: Connector, proxy: Proxy, others: Store) -> None:
    store = through()
    session = others.create().session
    seen: list[bytes] = []
    patch(store, session)
    proxy.before = seen.append
    store.bind(session, "c")
    assert not any(b"TIME" in request for request in seen)
    proxy.cut()
    store.unbind(session, "c")
    assert any(b"TIME" in request for request in seen)


def test_a_bound_is_never_behind_what_the_server_told_and_its_clock_may_have_run_slow() -> None:
    clock = ServerClock()
    assert clock.no_later_than(time.monotonic()) is None
    clock.saw([b"1000", b"0"])
    now = time.monotonic()

    def bound(instant: float) -> int:
        return clock.no_later_than(instant) or 0

    assert bound(now) // 1000 == 1000
    assert 1_999_000 <= bound(now + 1000) <= 1_999_100
    assert 899_800 <= bound(now - 100) <= 899_999
    # A clock that was set back is believed.
    clock.saw([b"400", b"0"])
    assert 400_000 <= bound(time.monotonic()) < 500_000


def test_a_listing_shows_what_came_before_what_it_shows(through: Connector, proxy: Proxy, others: Store) -> None:
    store = through()
    first = others.create(user="ann").session

    def meanwhile() -> None:
        others.create(id="second", user="ann")
        others.patch(first.id, set={"v": 1})
        others.rotate(first.id, new_id="rotated")

    before_one(proxy, "list", meanwhile)
    page = store.list(user="ann")
    assert {(session.id, session.version) for session in page.sessions} == {("second", 1), ("rotated", 3)}
    assert page.next is None


def test_a_page_that_changes_all_the_time_is_listed_in_part_and_read_on(
    through: Connector, proxy: Proxy, others: Store
) -> None:
    store = through()
    ids = [others.create(user="ann").session.id for _ in range(3)]
    rounds = 0

    def always() -> None:
        nonlocal rounds
        others.create(user="ann")
        before_one(proxy, "list", always)
        rounds += 1

    before_one(proxy, "list", always)
    page = store.list(user="ann")
    assert rounds == 17
    proxy.before = lambda _: None
    rest = store.list(user="ann", after=page.next)
    assert {session.id for session in page.sessions + rest.sessions} >= set(ids)
    assert len(page.sessions) + len(rest.sessions) == 3 + 17


def test_a_page_ends_where_its_records_are_too_large(connect: Connector, clock: Clock) -> None:
    store = connect(clock=clock, rules=Rules(value_bytes=600_000, session_bytes=600_000))
    ids = []
    for _ in range(7):
        clock.now_ms += 1
        ids.append(store.create(user="ann", attributes={"v": "x" * 500_000}).session.id)
    first = store.list(user="ann", size=6)
    assert [session.id for session in first.sessions] == ids[:4]
    second = store.list(user="ann", after=first.next)
    assert [session.id for session in second.sessions] == ids[4:]
