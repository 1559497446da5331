"""Whatever is bad in a call is `Invalid`, which names the argument, and nothing is sent."""

from __future__ import annotations

import asyncio
import inspect
import pickle
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from support import Connector, Server

import cloakroom_sessions as cloakroom
from cloakroom_sessions import (
    AsyncStore,
    Cursor,
    Entries,
    Export,
    Incoming,
    Invalid,
    NodeIdentity,
    OperationId,
    Rules,
    Session,
    Store,
    Token,
)

TASK = b"the task"
NAN, INFINITY = float("nan"), float("inf")
LONE = "\ud800"
CIRCLE: list[Any] = []
CIRCLE.append(CIRCLE)


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


NO_TEXT: list[Any] = [None, 42, True, 1.5, b"x", ["x"], object(), LONE]
NO_NAME = [*NO_TEXT, "x" * 257, "é" * 129]
NO_ID = [*NO_TEXT, "", "x" * 129, "é" * 65, "ckt_" + "A" * 43, Token.random()]
NO_INTEGER: list[Any] = [True, False, "1", 1.5, NAN, -1, 2**70, 10**5000, [1]]
NO_DURATION: list[Any] = [True, "1", b"1", [1], NAN, INFINITY, -INFINITY, -1, timedelta(-1), 1e300, timedelta.max]
NO_WORD: list[Any] = [42, True, "", "perhaps", b"active", ["active"], LONE]
NO_FLAG: list[Any] = [None, 0, 1, "yes", []]
NO_BYTES: list[Any] = [None, "12345678", b"", b"7 bytes", b"nine byte", bytes(8), 42, bytearray(8)]
NO_KEY: list[Any] = ["", "x" * 256, LONE]
NO_VALUE = [NAN, INFINITY, object(), {1}, b"x", 1j, timedelta(1), {1: "a"}, {None: "a"}, [{True: 1}], LONE, {LONE: 1}]
NO_VALUE += [nested(128), nested(100_000), CIRCLE, {"a": CIRCLE}, "x" * 300_000, 10**5000]
SMALL_BUT_NO_VALUE = [value for value in NO_VALUE if not isinstance(value, str) or len(value) < 10]
NO_MAPPING: list[Any] = [42, "text", [1], {1: 1}, {None: 1}, *({key: 1} for key in NO_KEY)]
NO_MAPPING += [{"a": value} for value in NO_VALUE]
NO_KEYS: list[Any] = [None, 42, "text", {"a": 1}, [1], [None], *([key] for key in NO_KEY)]
NO_LIST: list[Any] = [None, 42, "text", b"bytes", {"a": 1}]

Call = Callable[[Any, Any], object]


def session_with(**fields: Any) -> Session:
    session = Session("s", ttl=timedelta(seconds=1), version=1)
    for name, value in fields.items():
        setattr(session, name, value)
    return session


def no(values: list[Any], *others: Any) -> list[Any]:
    """Those and others; with `None` left out, where it means that nothing is given."""
    return [value for value in values if value is not None] + list(others)


def export_with(**fields: Any) -> Export:
    return Export(session_with(**fields), bytes(32))


#: By method and argument: what is bad for it. A `dict` has the bad values by the field that the error names.
BAD: dict[str, dict[str, list[Any] | dict[str, list[Any]]]] = {
    "create": {
        "id": no(NO_ID),
        "user": NO_NAME,
        "connection": NO_NAME,
        "node": NO_NAME,
        "status": [None, *NO_WORD, "migrating"],
        "ttl": no(NO_DURATION, 0),
        "lifetime": no(NO_DURATION, 0),
        "attributes": NO_MAPPING,
        "extensions": NO_MAPPING,
    },
    "create_many": {"sessions": NO_LIST},
    "import_": {
        "export": {
            "export": [None, 42, Session("s"), Export(None, bytes(32)), Export(session_with(), b"x")],  # type: ignore[arg-type]
            "id": [export_with(id=id) for id in NO_ID],
            "user": [export_with(user=name) for name in NO_NAME],
            "created_at_ms": [export_with(created_at_ms=value) for value in [None, *NO_INTEGER]],
            "expires_at_ms": [export_with(expires_at_ms=value) for value in [None, *NO_INTEGER]],
            "deadline_ms": [export_with(deadline_ms=value) for value in [None, *NO_INTEGER]],
            "last_active_ms": [export_with(last_active_ms=value) for value in [None, *NO_INTEGER]],
            "version": [export_with(version=value) for value in [None, *NO_INTEGER]],
        },
        "replaces": NO_INTEGER,
        "incoming": [42, "west", TASK],
    },
    "update": {
        "session": {
            "session": [None, "s", 42, Token.random()],
            "id": [session_with(id=id) for id in NO_ID],
            "user": [session_with(user=name) for name in NO_NAME],
            "connection": [session_with(connection=name) for name in NO_NAME],
            "node": [session_with(node=name) for name in NO_NAME],
            "status": [session_with(status=status) for status in [None, *NO_WORD]],
            "ttl": [session_with(ttl=value) for value in [None, *NO_DURATION, 0]],
            "version": [session_with(version=value) for value in [None, *NO_INTEGER]],
            "attributes": [session_with(attributes=value) for value in [None, *NO_MAPPING]],
            "extensions": [session_with(extensions=value) for value in [None, *NO_MAPPING]],
        }
    },
    "get": {"id": NO_ID},
    "get_many": {"ids": NO_LIST},
    "export": {"id": NO_ID},
    "explain": {"id": NO_ID},
    "knows": {"id": NO_ID},
    "session_by_connection": {"connection": [*NO_NAME, ""]},
    "list": {"user": NO_NAME, "node": NO_NAME, "size": [None, *NO_INTEGER, 0, 501], "after": [42, "1.1.s"]},
    "count": {"user": NO_NAME, "node": NO_NAME},
    "expired": {"before_ms": NO_INTEGER, "skip": [None, *NO_INTEGER], "limit": [None, *NO_INTEGER, 0, 1001]},
    "patch": {
        "session": {"id": NO_ID},
        "set": NO_MAPPING,
        "remove": NO_KEYS,
        "set_extensions": NO_MAPPING,
        "remove_extensions": NO_KEYS,
        "status": NO_WORD,
        "ttl": [*NO_DURATION, 0],
        "lifetime": [*NO_DURATION, 0],
        "version": NO_INTEGER,
    },
    "refresh": {"session": {"id": NO_ID}},
    "refresh_many": {"sessions": NO_LIST},
    "refresh_and_get": {"session": {"id": NO_ID}},
    "rotate": {
        "session": {"id": NO_ID},
        "user": no(NO_NAME, ""),
        "anonymous": NO_FLAG,
        "new_id": no(NO_ID),
        "ttl": [*NO_DURATION, 0],
        "lifetime": [*NO_DURATION, 0],
        "keep_deadline": NO_FLAG,
        "set": NO_MAPPING,
        "remove": NO_KEYS,
        "set_extensions": NO_MAPPING,
        "remove_extensions": NO_KEYS,
    },
    "bind": {
        "session": {"id": NO_ID},
        "connection": [*NO_NAME, ""],
        "node": NO_NAME,
        "take_over": NO_FLAG,
    },
    "unbind": {"session": {"id": NO_ID}, "connection": [*NO_NAME, ""]},
    "delete": {"session": {"id": NO_ID}},
    "delete_many": {"sessions": NO_LIST},
    "delete_user": {"user": [*NO_NAME, ""], "keep": no(NO_ID)},
    "reap": {"batch": [None, *NO_INTEGER, 0, 201]},
    "freeze": {
        "session": {"id": NO_ID},
        "task": NO_BYTES,
        "place": NO_NAME,
        "node": NO_NAME,
        "span": [None, *NO_DURATION, 0, 3601],
    },
    "depart": {"session": {"id": NO_ID}, "task": NO_BYTES, "until_ms": [None, *NO_INTEGER]},
    "thaw": {"session": {"id": NO_ID}, "task": NO_BYTES, "direction": [None, *NO_WORD]},
    "clean": {
        "session": {"id": NO_ID},
        "task": NO_BYTES,
        "what": [None, *NO_WORD],
        "until_ms": [None, *NO_INTEGER],
    },
    "migrations": {"skip": [None, *NO_INTEGER], "limit": [None, *NO_INTEGER, 0, 201]},
    "heartbeat": {
        "identity": [None, "node", 42],
        "want": [None, *NO_WORD],
        "lease": [None, *NO_DURATION, 0, timedelta(days=2)],
        "keep": [None, *NO_DURATION, 0.5],
    },
    "recover": {
        "node": [*NO_NAME, ""],
        "to": [*NO_NAME, ""],
        "batch": [None, *NO_INTEGER, 0, 201],
        "reconnect": [None, *NO_DURATION, 0],
        "even_if_leased": NO_FLAG,
        "after": [42, "1.1.s", Cursor(-1, "s", 1), Cursor(1, "", 1), Cursor(1, "s", 70_000), Cursor(None, "s", 1)],  # type: ignore[arg-type]
    },
    "lapsed_nodes": {},
    "nodes": {},
    "events": {"start": [*NO_TEXT, "later"], "interval": [None, *NO_DURATION, 0, 61]},
    "events_of_node": {"node": [*NO_NAME, ""], "start": [*NO_TEXT, "later"], "interval": [None, *NO_DURATION, 0]},
    "new_id": {"user": NO_NAME},
    "with_operation_id": {"operation_id": [None, 42, TASK, "id"]},
    "as_node": {"identity": [None, "node", 42]},
}

#: What else a call has to be given, so that one argument alone is bad.
GOOD: dict[str, dict[str, Any]] = {
    "import_": {"export": export_with()},
    "bind": {"session": "s", "connection": "c"},
    "unbind": {"session": "s", "connection": "c"},
    "patch": {"session": "s"},
    "rotate": {"session": "s"},
    "delete_user": {"user": "ann"},
    "freeze": {"session": "s", "task": TASK, "place": "west"},
    "depart": {"session": "s", "task": TASK, "until_ms": 1},
    "thaw": {"session": "s", "task": TASK, "direction": "outgoing"},
    "clean": {"session": "s", "task": TASK, "what": "copy", "until_ms": 1},
    "heartbeat": {"identity": NodeIdentity("n")},
    "recover": {"node": "dead", "to": "live"},
    "events_of_node": {"node": "n"},
}
#: Where one of two is to be given.
GOOD_BESIDE = {("list", "size"): {"user": "ann"}, ("list", "after"): {"user": "ann"}}


def methods() -> dict[str, inspect.Signature]:
    """All that a store does."""
    left_out = {"connect", "close"}
    found = inspect.getmembers(Store, inspect.isfunction)
    return {
        name: inspect.signature(method) for name, method in found if not name.startswith("_") and name not in left_out
    }


def test_the_table_has_each_argument_of_each_method() -> None:
    by_name = {
        name: {argument for argument in signature.parameters if argument not in ("self", "store", "engine")}
        for name, signature in methods().items()
    }
    assert by_name == {name: set(arguments) for name, arguments in BAD.items()}


class Sent:
    """How many commands a server ran."""

    def __init__(self, server: Server) -> None:
        self._client = server.client

    def count(self) -> int:
        """Those before this question."""
        return int(self._client.info("stats")["total_commands_processed"])


def refused(call: Callable[[], object], field: str) -> None:
    try:
        answer = call()
    except Invalid as error:
        assert error.field == field, error
        assert str(error).startswith(field + " ") and len(str(error)) < 400
    else:
        raise AssertionError(f"{field}: taken, and answered {answer!r}")


@pytest.fixture
def telling(connect: Connector, server: Server) -> Any:
    """A store of a namespace with events."""
    server.client.set(f"{connect.tag}:contract", "1 1 100")
    return connect()


@pytest.mark.parametrize("method", BAD)
def test_a_bad_argument_is_named_and_nothing_is_sent(telling: Any, server: Server, method: str) -> None:
    sent = Sent(server)
    before = sent.count()
    for argument, bad in BAD[method].items():
        for field, values in (bad if isinstance(bad, dict) else {argument: bad}).items():
            beside = GOOD.get(method, {}) | GOOD_BESIDE.get((method, argument), {})
            for value in values:
                given = {**beside, argument: value}
                refused(lambda given=given: getattr(telling, method)(**given), field)  # type: ignore[misc]
    assert sent.count() == before + 1


def test_what_is_bad_in_a_list_is_answered_in_its_place(telling: Any) -> None:
    for method in (telling.get_many, telling.refresh_many, telling.delete_many):
        answers = method([*NO_ID, "nobody"])
        assert [type(answer) for answer in answers] == [*(Invalid for _ in NO_ID), type(None)]
        assert {answer.field for answer in answers[:-1]} == {"id"}
    bad = [{"ttl": True}, {"other": 1}, 42, {"attributes": {"a": NAN}}, None, {"user": 42}]
    *answers, made = telling.create_many([*bad, {"user": "ann"}])
    assert [answer.field for answer in answers] == [
        "ttl",
        "sessions",
        "sessions",
        "attributes",
        "sessions",
        "user",
    ]
    assert made.session.user == "ann"


RULES: dict[str, list[Any]] = {
    "id_scheme": [None, *NO_WORD],
    "ttl": [*NO_DURATION, 0],
    "max_lifetime": [*NO_DURATION, 0],
    "idle_timeout": [*NO_DURATION, 0],
    "refresh_threshold": [True, "0.5", 0, 0.0, 1.1, 500, NAN, -0.5, [1]],
    "touch_interval": [*NO_DURATION, 1801],
    "grace": [None, *NO_DURATION, 0.5],
    "rotation_grace": [None, *NO_DURATION, 0],
    "tombstone": [None, *NO_DURATION, 0],
    "sessions_per_user": [*NO_INTEGER, 0, 501],
    "on_limit": [None, *NO_WORD],
    "value_bytes": [None, *NO_INTEGER, 0, 15 * 1024 * 1024 + 1],
    "session_bytes": [None, *NO_INTEGER, 0, 15 * 1024 * 1024 + 1],
    "session_entries": [None, *NO_INTEGER, 0, 1_000_001],
}


def test_a_bad_rule_is_named() -> None:
    assert set(RULES) == {name for name in inspect.signature(Rules).parameters}
    for field, values in RULES.items():
        for value in values:
            refused(lambda field=field, value=value: Rules(**{field: value}), field)  # type: ignore[misc]
    for beside in ("ttl", "touch_interval", "refresh_threshold"):
        refused(lambda beside=beside: Rules(idle_timeout=60, **{beside: 1}), "idle_timeout")  # type: ignore[misc, arg-type]


def test_what_a_call_is_given_is_checked_where_it_is_made() -> None:
    made: list[tuple[str, list[Any], Callable[[Any], object]]] = [
        ("node", [*NO_NAME, ""], NodeIdentity),
        ("lease", NO_BYTES, lambda value: NodeIdentity("n", value)),
        ("task", NO_BYTES, lambda value: Incoming(value, 1, "west")),
        ("until_ms", [None, *NO_INTEGER], lambda value: Incoming(TASK, value, "west")),
        ("place", NO_NAME, lambda value: Incoming(TASK, 1, value)),
        ("node", NO_NAME, lambda value: Incoming(TASK, 1, "west", value)),
        ("token", [*NO_TEXT, "", "x", "ckt_", "ckt_" + "A" * 42, "ckt_" + "A" * 44, "ckt_" + "B" * 43], Token.parse),
        ("stored", NO_BYTES, lambda value: OperationId(value, bytes(31) + b"1")),
        ("seed", [None, b"", bytes(32), 42], lambda value: OperationId(TASK, value)),
        ("after", [*NO_TEXT, "", "1.1", "1.1.", "a.1.s", "1.b.s", "-1.1.s", "1.70000.s"], Cursor.parse),
        ("attributes", NO_MAPPING[: -len(NO_VALUE)], Entries),
        ("attributes", SMALL_BUT_NO_VALUE, lambda value: Entries({"a": value})),
        ("extensions", SMALL_BUT_NO_VALUE, lambda value: session_with().extensions.__setitem__("a", value)),
        ("patched", [None, 42, "s"], lambda value: session_with().apply(value)),
    ]
    for field, values, call in made:
        for value in values:
            refused(lambda call=call, value=value: call(value), field)  # type: ignore[misc]


CONNECT: dict[str, list[Any]] = {
    "source": [None, 42, True, "", "nonsense", "http://127.0.0.1/", "redis://127.0.0.1:port/", "redis+cluster://"],
    "namespace": [*NO_TEXT, "", "x" * 65, "a{b", "a}b"],
    "partitions": [*NO_INTEGER, 0, 1025],
    "rules": [42, {}, "rules"],
    "deadline": [None, *NO_DURATION, 0],
    "clock": [42, "now"],
    "max_connections": [None, *NO_INTEGER, 0, 10_001],
    "max_waiting": [None, *NO_INTEGER],
    "options": [{"bogus": 1}],
}


@pytest.mark.parametrize("flavour", ["threads", "asyncio"])
def test_a_store_is_not_connected_by_bad_arguments(flavour: str, server: Server) -> None:
    def connect(**given: Any) -> object:
        given = {"source": server.url, **given}
        source = given.pop("source")
        if flavour == "threads":
            return Store.connect(source, **given)
        return asyncio.run(AsyncStore.connect(source, **given))

    sent = Sent(server)
    before = sent.count()
    assert set(CONNECT) == set(inspect.signature(Store.connect).parameters)
    for field, values in CONNECT.items():
        for value in values:
            given = value if field == "options" else {field: value}
            refused(lambda given=given: connect(**given), field)  # type: ignore[misc]
    assert sent.count() == before + 1


def test_a_value_got_and_changed_in_its_place_is_refused_where_it_cannot_be_saved(connect: Connector) -> None:
    store = connect()
    session = store.create(attributes={"cart": ["umbrella"]}).session
    session.attributes["cart"].append(object())
    refused(lambda: store.update(session), "attributes")
    session.attributes["cart"][1] = NAN
    refused(lambda: store.update(session), "attributes")
    session.attributes["cart"][1] = "gloves"
    store.update(session)
    assert store.get(session.id).attributes["cart"] == ["umbrella", "gloves"]


def test_what_is_nested_as_deep_as_may_be_comes_back(connect: Connector) -> None:
    store = connect()
    made = store.create(attributes={"a": nested(127)}).session
    assert store.get(made.id).attributes["a"] == nested(127)


def test_an_error_is_the_same_in_another_process() -> None:
    errors = [Invalid("user", "is empty"), cloakroom.Missing(), cloakroom.Conflict(7), cloakroom.Moved("new")]
    errors += [cloakroom.Ambiguous(OperationId.random()), cloakroom.Forbidden(["+del"]), cloakroom.TooLarge(1, 2)]
    for error in errors:
        copy = pickle.loads(pickle.dumps(error))
        assert (type(copy), str(copy), copy.__dict__) == (type(error), str(error), error.__dict__)
