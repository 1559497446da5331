"""Events, in a namespace that was made with them: what this client changes is told as the others tell it."""

from __future__ import annotations

from typing import Any

import pytest
from support import Connector, Server

from cloakroom.partitions import Partitions


def told(server: Server, key: str) -> list[dict[str, str]]:
    """The events of a stream, each by its fields that are not empty."""
    entries = server.client.xrange(key)
    return [{name.decode(): value.decode() for name, value in fields.items() if value} for _, fields in entries]


@pytest.mark.parametrize("count", [1, 16])
def test_a_store_tells_what_it_changes_where_its_namespace_has_events(
    connect: Connector, server: Server, count: int
) -> None:
    partitions = Partitions(connect.namespace, count)
    server.client.set(f"{connect.tag}:contract", f"1 {count} 1000")
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
    assert told(server, f"{tag}:events") == told(server, f"{tag}:node:n:events") == expected


def test_a_store_tells_nothing_where_its_namespace_has_no_events(connect: Connector, server: Server) -> None:
    store: Any = connect()
    store.delete(store.create(user="ann").session)
    assert not server.client.exists(f"{connect.tag}:events")
