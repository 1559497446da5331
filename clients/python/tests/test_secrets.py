"""Nothing that is shown or logged has an id in it that is a secret; a token is not pickled either."""

from __future__ import annotations

import logging
import pickle
import traceback
from collections.abc import Callable
from typing import Any

import pytest
from support import Clock, Connector, Server

import cloakroom_sessions as cloakroom
from cloakroom_sessions import CloakroomError, Cursor, Incoming, NodeIdentity, OperationId, Rules, Token

TASK = b"the task"
#: What the ids of this test have in them.
SECRET = "s3cret"


class Shown:
    """All that was shown of what operations came to."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.errors: set[str] = set()

    def show(self, value: Any) -> Any:
        self.texts += [repr(value), str(value), f"{value}", repr([value]), repr({"value": value})]
        return value

    def refused(self, call: Callable[[], object]) -> None:
        with pytest.raises(CloakroomError) as refused:
            call()
        error = refused.value
        self.errors.add(type(error).__name__)
        self.show(error)
        self.texts += traceback.format_exception(error)


def walk(store: Any, shown: Shown, clock: Clock) -> None:
    """Each operation, and what it refuses."""
    show, id = shown.show, SECRET
    created = show(store.create(id=f"{id}-1", user="ann", connection="c", node="n", attributes={"a": SECRET}))
    session = show(created.session)
    show(store.create_many([{"id": f"{id}-{at}", "user": "ann"} for at in range(2, 8)]))
    show(store.patch(session, set={"a": SECRET}))
    show(store.refresh(f"{id}-2")), show(store.refresh_and_get(f"{id}-2"))
    (
        show(store.bind(f"{id}-2", "d")),
        show(store.bind(f"{id}-3", "d", take_over=True)),
        show(store.unbind(f"{id}-3", "d")),
    )
    page = show(store.list(user="ann", size=2))
    show(page.next), show(Cursor(1, f"{id}-1", 1))
    show(store.export(f"{id}-2")), show(store.explain(f"{id}-2"))
    rotated = show(store.rotate(session, new_id=f"{id}-new"))
    show(store.rotate(session))
    shown.refused(lambda: store.create(id=session.id))
    show(store.rotate(rotated.session, user="bob", new_id=f"{id}-bob"))
    shown.refused(lambda: store.get(f"{id}-new"))
    shown.refused(lambda: store.create(id=f"{id}-2"))
    shown.refused(lambda: store.patch(f"{id}-2", version=77))
    shown.refused(lambda: store.patch(f"{id}-none", set={"a": 1}))
    shown.refused(lambda: store.create(connection=store.create(connection="e").session.connection))
    show(store.delete(f"{id}-2")), show(store.delete_many([f"{id}-3"]))
    shown.refused(lambda: store.create(id=f"{id}-2"))
    show(store.freeze(f"{id}-4", TASK, "east")), show(store.migrations())
    shown.refused(lambda: store.patch(f"{id}-4", set={"a": 1}))
    show(store.heartbeat(NodeIdentity("live"), "register")), show(store.nodes())
    shown.refused(lambda: store.heartbeat(NodeIdentity("live"), "register"))
    shown.refused(lambda: store.as_node(NodeIdentity("live")).patch(f"{id}-5", set={"a": 1}))
    show(store.bind(f"{id}-6", "f", node="dead")), show(store.recover("dead", "live"))
    show(store.create(id=f"{id}-old", ttl=1))
    clock.now_ms += 1000
    show(store.expired()), show(store.reap()), show(store.delete_user("ann"))
    show(NodeIdentity("n")), show(OperationId.random()), show(Incoming(TASK, 1, "west"))
    bad: list[dict[str, Any]] = [{"a": object()}, {"a": float("nan")}, {"": SECRET}]
    for attributes in bad:
        shown.refused(lambda attributes=attributes: store.create(attributes=attributes))  # type: ignore[misc]
    shown.refused(lambda: store.get(SECRET * 100))
    shown.refused(lambda: store.create(user=SECRET * 100))
    shown.refused(lambda: store.list(user="ann", after=f"1.1.{SECRET}"))
    shown.refused(lambda: Cursor.parse(SECRET))


def test_no_id_is_shown_or_logged(
    connect: Connector, clock: Clock, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    shown = Shown()
    with caplog.at_level(logging.DEBUG):
        store = connect(clock=clock)
        walk(store, shown, clock)
        server.client.set(f"{connect.tag}:session:{SECRET}-broken", "x")
        server.client.zadd(f"{connect.tag}:user:cid:sessions", {f"{SECRET}-broken": 1})
        shown.refused(lambda: store.get(f"{SECRET}-broken"))
        shown.refused(lambda: store.patch(f"{SECRET}-broken", set={"a": 1}))
        shown.show(store.delete_user("cid"))
        shown.show(cloakroom.Corrupt("victim_record", f"{SECRET}-broken"))
        shown.show(store)
    expected = {"Invalid", "Missing", "Exists", "Gone", "Moved", "Conflict", "Frozen", "Taken", "Leased", "Fenced"}
    assert shown.errors == expected | {"Corrupt"}
    assert len(shown.texts) > 200 and not [text for text in shown.texts if SECRET in text]
    assert SECRET not in caplog.text


def test_a_session_that_does_not_fit_its_user_is_not_shown(connect: Connector) -> None:
    store, shown = connect(partitions=16), Shown()
    ids = [f"{SECRET}-{at}" for at in range(40)]
    refused = 0
    for id in ids:
        try:
            store.create(id=id, user="ann")
        except cloakroom.Invalid as error:
            shown.show(error)
            refused += 1
    assert refused > 20 and not [text for text in shown.texts if SECRET in text]


def test_no_token_is_shown_or_logged_or_pickled(
    connect: Connector, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    shown, secrets = Shown(), []
    with caplog.at_level(logging.DEBUG):
        server.client.set(f"{connect.tag}:contract", "1 1 token 100")
        store = connect(rules=Rules(id_scheme="token"))
        told = store.events("beginning")
        created = shown.show(store.create(user="ann"))
        rotated = shown.show(store.rotate(created.token, user="bob"))
        new = shown.show(store.new_id("ann"))
        many = shown.show(store.create_many([{"user": "ann"}, {"id": new}]))
        tokens = [created.token, rotated.token, new, *(made.token for made in many)]
        secrets = [token.expose() for token in tokens]
        shown.show(tokens), shown.show(next(told)), shown.show(store.get(rotated.token))
        for token in secrets:
            shown.refused(lambda token=token: store.get(token))  # type: ignore[misc]
            shown.refused(lambda token=token: Token.parse(token[:-1]))  # type: ignore[misc]
        told.close()
    assert len(set(secrets)) == 4
    for secret in secrets:
        digits = secret.removeprefix("ckt_")
        assert not [text for text in shown.texts if digits[:20] in text]
        assert digits[:20] not in caplog.text
    for value in (created, rotated, new, many):
        with pytest.raises(TypeError, match=r"^a token is not pickled"):
            pickle.dumps(value)
    assert pickle.loads(pickle.dumps(created.session)) == created.session


def test_a_session_and_its_cursor_go_through_a_pickle(store: Any) -> None:
    made = [store.create(user="ann", attributes={"a": [1]}).session for _ in range(2)]
    page = pickle.loads(pickle.dumps(store.list(user="ann", size=1)))
    assert page.sessions[0] in made
    assert len(store.list(user="ann", after=page.next).sessions) == 1


def test_a_password_is_not_shown_where_a_store_does_not_start(connect: Connector, own_server: Server) -> None:
    shown = Shown()
    port = own_server.port
    for url in (f"redis://u:{SECRET}@127.0.0.1:{port}", f"redis://u:{SECRET}@127.0.0.1:x/", f"bad://{SECRET}@h"):
        shown.refused(lambda url=url: connect(url, deadline=0.1))  # type: ignore[misc]
    own_server.stop()
    shown.refused(lambda: connect(f"redis://u:{SECRET}@127.0.0.1:{port}", deadline=0.1))
    assert shown.errors == {"Invalid", "NotExecuted"}
    assert not [text for text in shown.texts if SECRET in text]
