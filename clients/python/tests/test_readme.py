"""The examples run as they stand."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

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
    sessions = redis.Redis(port=own_server.port, username="sessions", password="password")
    keys = [pattern.replace("{ns:p}", "{shop:0}") for pattern in start["keys"]]
    assert sessions.evalsha(start["sha1"], len(keys), *keys, *start["commands"]) == []
    with pytest.raises(redis.exceptions.NoPermissionError):
        sessions.get("{other:0}:session:s")
    # Of sessions, to be read.
    viewer = redis.Redis(port=own_server.port, username="viewer", password="password")
    get = viewer.script_load(bundle["operations"]["get"]["source"])
    assert viewer.execute_command("EVALSHA_RO", get, 1, "{shop:0}:session:s", "") == [b"missing"]
    assert viewer.get("{shop:0}:session:s") is None
    for forbidden in (("EVALSHA", get, 1, "{shop:0}:session:s", ""), ("DEL", "{shop:0}:session:s")):
        with pytest.raises(redis.exceptions.NoPermissionError):
            viewer.execute_command(*forbidden)


def test_the_example_of_this_client_runs(own_server: Server) -> None:
    assert run_example(ROOT / "clients" / "python" / "README.md", own_server) == "ann ['umbrella', 'gloves'] socket-7\n"
