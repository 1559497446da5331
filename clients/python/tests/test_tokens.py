"""Sessions whose clients hold a token, of which the id is the hash."""

from __future__ import annotations

import copy
import json
import pickle
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from support import Connector, Server, unless_left

import cloakroom_sessions as cloakroom
from cloakroom_sessions import Created, OperationId, Rules, Session, Token
from cloakroom_sessions.partitions import Partitions

TOKENS = Rules(id_scheme="token")
CASES: Any = json.loads((Path(__file__).parents[3] / "lua" / "tokens.json").read_text())


@pytest.fixture(params=[1, 16])
def tokens(connect: Connector, request: pytest.FixtureRequest) -> Any:
    """A store whose ids are the hashes of tokens."""
    return connect(rules=TOKENS, partitions=request.param)


@pytest.mark.parametrize("case", CASES["tokens"])
def test_a_token_has_the_id_that_all_languages_compute(case: dict[str, str]) -> None:
    token = Token.parse(case["token"])
    assert (token.id, token.expose()) == (case["id"], case["token"])
    with pytest.raises(cloakroom.Invalid) as refused:
        Token.parse(token.id)
    assert token.id not in str(refused.value)


@pytest.mark.parametrize("text", CASES["refused"])
def test_what_is_no_token_is_refused(text: str) -> None:
    with pytest.raises(cloakroom.Invalid, match='token must be "ckt_" and 43 digits of base64url'):
        Token.parse(text)


def test_a_token_shows_itself_nowhere_but_where_it_is_asked_to() -> None:
    token = Token.random()
    secret = token.expose()[4:]
    for shown in (repr(token), str(token), f"{token}", repr(Created(Session("s"), [], [], token))):
        assert secret not in shown and token.id in shown
    for kept in (json.dumps, pickle.dumps):
        with pytest.raises(TypeError):
            kept(token)
    assert copy.deepcopy(token) == copy.copy(token) == Token.parse(token.expose()) != Token.random()
    assert len({token, Token.parse(token.expose())}) == 1


def test_a_session_that_is_made_comes_with_the_token_of_its_id(tokens: Any) -> None:
    created = [tokens.create(user="ann"), *tokens.create_many([{"user": "ann"}, {}, {"user": "bob"}])]
    for made in created:
        assert made.token.id == made.session.id
        assert tokens.get(made.token) == made.session
    assert len({made.token for made in created}) == 4
    given = Token.random()
    made = tokens.create(id=given)
    assert (made.session.id, made.token) == (given.id, given)
    fitting = tokens.new_id("ann")
    assert tokens.create(id=fitting, user="ann").token == fitting
    # Who names an id has the token, if there is one.
    assert tokens.create(id="device-7").token is None


def test_a_token_is_taken_where_an_id_is(tokens: Any) -> None:
    token = tokens.create(user="ann").token
    assert tokens.patch(token, set={"color": "red"}).version == 2
    assert tokens.bind(token, "c").changed
    assert tokens.refresh(token).version == 3
    assert tokens.refresh_and_get(token).attributes["color"] == "red"
    assert tokens.unbind(token, "c") is cloakroom.Unbound.DETACHED
    assert [found.id for found in tokens.get_many([token])] == [token.id]
    assert [found.id for found in tokens.refresh_many([token])] == [token.id]
    assert tokens.export(token).session.id == token.id and tokens.knows(token)
    assert tokens.delete_user("ann", keep=token).removed == []
    frozen = tokens.freeze(token, b"the task", "east")
    assert tokens.thaw(token, b"the task", "outgoing") is cloakroom.Thawed.THAWED
    assert frozen.export.session.id == token.id
    rotated = tokens.rotate(token)
    assert tokens.get(rotated.token).id == rotated.session.id == rotated.token.id
    assert [removed.id for removed in tokens.delete_many([rotated.token])] == [rotated.token.id]
    assert tokens.get(token) is None and tokens.get(rotated.token) is None


def test_a_rotation_gives_a_token_to_the_one_that_made_it_alone(tokens: Any) -> None:
    visitor = tokens.create().session
    first = tokens.rotate(visitor)
    assert first.token.id == first.session.id
    # Who is second could not hand its client the new token: it is told that there is one.
    with pytest.raises(cloakroom.Moved) as refused:
        tokens.rotate(visitor)
    assert refused.value.new_id is None
    # A login, which with several partitions is made in steps.
    for number in range(8):
        before = tokens.create()
        login = tokens.rotate(before.token, user=f"user-{number}")
        assert tokens.get(login.token).user == f"user-{number}"
        assert unless_left(tokens, before.token) is None


def test_a_call_that_is_repeated_answers_the_same_token(tokens: Any) -> None:
    visitor = tokens.create().session
    create, login = (tokens.with_operation_id(OperationId.random()) for _ in range(2))
    assert create.create(user="ann").token == create.create(user="ann").token
    assert login.rotate(visitor, user="ann").token == login.rotate(visitor, user="ann").token
    many = tokens.with_operation_id(OperationId.random())
    assert [each.token for each in many.create_many([{}] * 3)] == [each.token for each in many.create_many([{}] * 3)]


def test_nothing_that_is_stored_or_told_has_the_token_in_it(tokens: Any, server: Server, connect: Connector) -> None:
    login = tokens.rotate(tokens.create().token, user="ann")
    secret = login.token.expose()[4:]
    assert secret not in repr(login)
    keys = [*server.client.scan_iter(match=f"{{{connect.namespace}:*")]
    assert len(keys) > 3
    for key in keys:
        assert secret.encode() not in key + (server.client.dump(key) or b"")
    # A page of a user's devices may show the ids, and end one of them by it.
    (session,) = tokens.list(user="ann").sessions
    assert tokens.delete(session.id)
    assert tokens.get(login.token) is None


@pytest.mark.parametrize("count", [1, 16])
def test_a_store_of_another_scheme_does_not_start(connect: Connector, server: Server, count: int) -> None:
    connect(rules=TOKENS, partitions=count)
    assert server.client.get(f"{connect.tag}:contract") == f"1 {count} token".encode()
    with pytest.raises(cloakroom.OtherIdScheme, match="the scheme token, not uuid") as refused:
        connect(partitions=count)
    assert (refused.value.found, refused.value.wanted) == ("token", "uuid")
    with pytest.raises(cloakroom.OtherPartitions):
        connect(partitions=2)
    connect(rules=TOKENS)
    for noted, events in ((f"1 {count}", 0), (f"1 {count} uuid 7", 7), (f"1 {count} token 7", 7)):
        for tag in Partitions(connect.namespace, count).tags:
            server.client.set(f"{tag}:contract", noted)
        scheme = "token" if "token" in noted else "uuid"
        store: Any = connect(rules=Rules(id_scheme=scheme))  # type: ignore[arg-type]
        engine = getattr(store, "_store", store)._engine
        assert (engine.partitions.count, engine.partitions.events) == (count, events)
        with pytest.raises(cloakroom.OtherIdScheme):
            connect(rules=Rules(id_scheme="uuid" if scheme == "token" else "token"))


def create(store: Any, id: Any) -> Any:
    return store.create(id=id)


def test_a_token_is_no_id_and_an_id_no_token(tokens: Any, connect: Connector) -> None:
    token = tokens.create().token
    uuids = connect(namespace=f"{connect.namespace}-uuid")
    for store in (tokens, uuids):
        for call in (store.get, store.refresh, store.delete, store.knows, store.export, partial(create, store)):
            with pytest.raises(cloakroom.Invalid, match=r"^id is a token") as refused:
                call(token.expose())
            assert token.expose() not in str(refused.value)
    for call in (uuids.get, uuids.patch, uuids.rotate, partial(create, uuids)):
        with pytest.raises(cloakroom.Invalid, match="whose ids are none of tokens"):
            call(token)
    with pytest.raises(cloakroom.Invalid, match="id_scheme"):
        Rules(id_scheme="both")  # type: ignore[arg-type]
