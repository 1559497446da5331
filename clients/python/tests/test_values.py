"""Attributes are any JSON, and come back as they were."""

from __future__ import annotations

from typing import Any

import pytest
from support import Connector, Server

from cloakroom_sessions import Entries, bundle
from cloakroom_sessions.record import Entry

ODD: list[Any] = [
    "",
    "\x00\x7f\ud7ff",
    None,
    True,
    [],
    {},
    [[]],
    {"a": {}},
    0,
    -1,
    2**53 + 1,
    10**300,
    1.5,
    "žluť 😀",
    "x" * 100000,
]


@pytest.mark.parametrize("value", ODD, ids=lambda value: repr(value)[:20])
def test_a_value_comes_back_equal(connect: Connector, value: Any) -> None:
    store = connect()
    session = store.create(attributes={"a": value}).session
    store.patch(session, set={"b": value})
    read = store.get(session.id)
    assert read.attributes["a"] == read.attributes["b"] == value
    assert type(read.attributes["a"]) is type(value)


def test_what_nobody_changed_here_is_saved_as_another_wrote_it(connect: Connector, server: Server) -> None:
    texts = {"a": "1.0e2", "b": "3.14159265358979323846", "c": ' { "x" : 1 } ', "d": '"\\u00e9"', "e": "1e400"}
    script = bundle.load().scripts["create"]
    entries = bundle.load().layout.encode_entries([Entry("attribute", key, json) for key, json in texts.items()])
    store = connect()
    server.client.execute_command(*script.command(connect.tag, {"id": "s", "entries": entries}))
    session = store.get("s")
    assert session.attributes["a"] == 100.0 and session.attributes["c"] == {"x": 1}
    session.attributes["new"] = 1
    store.update(session)
    read = store.get("s")
    assert {key: read.json(key) for key in texts} == texts


def test_a_value_that_was_changed_in_its_place_is_saved_as_it_is_now(connect: Connector) -> None:
    store = connect()
    session = store.create(attributes={"cart": ["umbrella"], "flags": [1, 1.0]}).session
    session.attributes["cart"].append("gloves")
    session.attributes["flags"][0] = True
    store.update(session)
    assert store.get(session.id).json("cart") == '["umbrella","gloves"]'
    assert store.get(session.id).json("flags") == "[true,1.0]"


def test_entries_are_a_mapping() -> None:
    entries = Entries({"a": [1], "b": 2})
    assert entries == {"a": [1], "b": 2} and len(entries) == 2 and list(entries) == ["a", "b"]
    assert entries.pop("a") == [1] and "a" not in entries
    assert repr(entries) == "Entries(['b'])"
    with pytest.raises(KeyError):
        entries.json("a")
