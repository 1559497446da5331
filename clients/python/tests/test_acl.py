"""Users who may not run all that a store needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support import Connector, Server

import cloakroom_sessions as cloakroom
from cloakroom_sessions import bundle


def limited(server: Server, *rules: str) -> str:
    """The URL of a user with these rules."""
    server.client.execute_command("ACL", "SETUSER", "limited", "reset", "on", ">p", *rules)
    return server.url.replace("redis://", "redis://limited:p@")


def told(error: BaseException | None) -> str:
    """An error with its causes."""
    return f"{error}: {told(error.__cause__)}" if error else ""


def test_a_store_does_not_start_without_any_of_its_commands(connect: Connector, server: Server) -> None:
    for command in [*bundle.load().start.commands, "MULTI", "EXEC"]:
        with pytest.raises(cloakroom.Forbidden, match=f"lacks .{command.lower()}$"):
            connect(limited(server, "~*", "+@all", f"-{command}"))
    for rules, lacking in (
        (("~*", "+@all", "-evalsha"), "+evalsha"),
        (("~*", "+@all", "-script"), "+script|load"),
        (("~other:*", "+@all"), f"~{connect.tag}:*"),
    ):
        with pytest.raises(cloakroom.Forbidden) as refused:
            connect(limited(server, *rules))
        assert refused.value.lacking == [lacking]
    assert list(server.client.scan_iter(match=f"{connect.tag}:*")) == []


def test_the_acl_user_of_the_page_may_do_what_a_store_does(connect: Connector, server: Server) -> None:
    page = Path(__file__).parents[3].joinpath("docs/production.md").read_text(encoding="utf-8")
    line = page.split("ACL SETUSER ")[1].split("\n```")[0].replace("{shop:0}", connect.tag)
    server.client.execute_command("ACL", "SETUSER", *line.split())
    url = server.url.replace("redis://", "redis://cloakroom:password@")
    for at in (url, f"{url}/2"):
        store: Any = connect(at)
        made = store.create(user="ann", connection=f"c{at}", node="n").session
        rotated = store.rotate(made, user="bob").session
        assert store.list(user="bob").sessions == [rotated]
        assert store.delete_user("bob").removed[0].id == rotated.id
        assert store.reap().sessions == []


def test_a_command_that_is_refused_later_leaves_no_half(connect: Connector, server: Server) -> None:
    store: Any = connect(limited(server, "~*", "+@all"))
    session = store.create(user="ann", connection="c").session
    limited(server, "~*", "+@all", "-set")
    with pytest.raises(cloakroom.Ambiguous) as stopped:
        store.patch(session, set={"color": "red"})
    assert "patch at SET" in str(stopped.value)
    for call in (store.delete, store.rotate):
        with pytest.raises((cloakroom.NotExecuted, cloakroom.Ambiguous)) as refused:
            call(session)
        assert "SET" in told(refused.value)
    limited(server, "~*", "+@all")
    again = store.with_operation_id(stopped.value.operation_id).patch(session, set={"color": "red"})
    assert again.version == 2
    assert [one.id for one in store.list(user="ann").sessions] == [session.id]
    assert store.delete(session) and store.list(user="ann").sessions == []
