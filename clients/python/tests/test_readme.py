"""The examples run as they stand."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import redis
from support import Server

ROOT = Path(__file__).parents[3]


def run_example(document: Path, server: Server) -> str:
    section = re.split(r"^## In Python$", document.read_text(), flags=re.MULTILINE)[-1]
    example = re.search(r"^```python\n(.*?)^```$", section, flags=re.MULTILINE | re.DOTALL)
    assert example
    return subprocess.run(
        [sys.executable, "-c", example[1]],
        cwd=document.parent,
        env=os.environ | {"REDIS_URL": server.url},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
    ).stdout


def test_a_newcomer_gets_along_with_the_bundle_alone(own_server: Server) -> None:
    made, read = run_example(ROOT / "lua" / "README.md", own_server).splitlines()
    assert made.startswith("[b'ok', 1, ")
    assert read.startswith("b'ok' version 1 of b'ann")
    assert "theme" in read and "dark" in read


def test_the_example_of_the_page_for_other_languages_runs(own_server: Server) -> None:
    assert run_example(ROOT / "docs" / "other-languages.md", own_server) == "ann ['umbrella'] dark\n1 ended\n"


def section(heading: str) -> str:
    text = (ROOT / "lua" / "README.md").read_text()
    found = re.search(rf"^#+ {heading}\n(.*?)(?=^#|\Z)", text, flags=re.MULTILINE | re.DOTALL)
    assert found
    return found[1]


def rows(heading: str) -> dict[str, list[str]]:
    """The rows of the tables of a section, by each name in their first cell."""
    cells = [re.split(r"\s*\|\s*", line)[1:-1] for line in section(heading).splitlines() if line.startswith("| `")]
    return {name: row[1:] for row in cells for name in re.findall("`([^`]+)`", row[0])}


def test_the_page_tells_all_that_the_bundle_has() -> None:
    bundle = json.loads((ROOT / "lua" / "bundle.json").read_text())
    operations = bundle["operations"].values()
    assert set(bundle) - {"$schema"} - {"operations"} <= set(rows("The bundle"))
    told = set(re.findall(r"\.(\w+)`", section("The bundle"))) | {"summary"}
    assert set().union(*operations) <= told

    groups = [operation["group"] for operation in operations if "group" in operation]
    arguments = [argument for each in (*operations, *groups) for argument in each["arguments"]]
    assert {argument[key] for argument in arguments for key in ("role", "type")} == set(rows("A call"))


def test_the_page_tells_each_word_with_its_fields() -> None:
    bundle = json.loads((ROOT / "lua" / "bundle.json").read_text())
    replies = [reply for operation in bundle["operations"].values() for reply in operation["replies"]]
    told = rows("Replies")
    assert {reply["word"] for reply in replies} | {"need"} == set(told)
    for reply in replies:
        if reply["word"] not in ("ok", "again", "unchanged", "part"):
            names = [field["name"] for field in reply["fields"]]
            names += [f"{field['name']}?" for field in reply.get("optional", ())]
            of_page = told[reply["word"]][0].split(", ") if told[reply["word"]][0] else []
            assert names == [name for name in of_page if name in names or not name.endswith("?")], reply["word"]
    fields = [field for reply in replies for field in reply["fields"]]
    assert {field["type"] for field in fields} <= set(re.findall("`([a-z]+)`", section("Replies")))


def set_users(document: Path, server: Server) -> None:
    lines = re.findall(r"^```text\n(ACL SETUSER .*?)^```$", document.read_text(), flags=re.MULTILINE | re.DOTALL)
    assert len(lines) == 2
    for line in lines:
        server.client.execute_command(*line.split())


def test_the_users_of_the_page_may_do_what_it_says_and_no_more(own_server: Server) -> None:
    page, bundle = ROOT / "lua" / "README.md", json.loads((ROOT / "lua" / "bundle.json").read_text())
    set_users(page, own_server)
    # Of all commands, and the keys of one partition.
    start = bundle["start"]
    own_server.client.script_load(start["source"])
    sessions: Any = redis.Redis(port=own_server.port, username="sessions", password="password")
    keys = [pattern.replace("{ns:p}", "{shop:0}") for pattern in start["keys"]]
    assert sessions.evalsha(start["sha1"], len(keys), *keys, *start["commands"]) == []
    with pytest.raises(redis.exceptions.NoPermissionError):
        sessions.get("{other:0}:session:s")
    # Of sessions, to be read.
    viewer: Any = redis.Redis(port=own_server.port, username="viewer", password="password")
    get = viewer.script_load(bundle["operations"]["get"]["source"])
    assert viewer.execute_command("EVALSHA_RO", get, 1, "{shop:0}:session:s", "") == [b"missing"]
    assert viewer.get("{shop:0}:session:s") is None
    for forbidden in (("EVALSHA", get, 1, "{shop:0}:session:s", ""), ("DEL", "{shop:0}:session:s")):
        with pytest.raises(redis.exceptions.NoPermissionError):
            viewer.execute_command(*forbidden)


def test_the_example_of_this_client_runs(own_server: Server) -> None:
    assert run_example(ROOT / "clients" / "python" / "README.md", own_server) == "ann ['umbrella', 'gloves'] socket-7\n"
