from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from support import Server, fresh_namespace

from cloakroom_sessions import Store

WORDS = {"ok", "unchanged", "missing", "conflict", "taken", "exists", "gone", "moved", "limit", "contended"}
WORKER = str(Path(__file__).with_name("worker"))


def worker(*arguments: str, ids: str = "") -> list[Any]:
    result = subprocess.run([WORKER, *arguments], input=ids, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_two_workers_on_one_namespace_meet_nothing_but_refusals(server: Server) -> None:
    namespace = fresh_namespace()
    arguments = [[WORKER, server.url, namespace, seed, "2"] for seed in ("1", "2")]
    workers = [subprocess.Popen(it, stdout=subprocess.PIPE, text=True) for it in arguments]
    printed = [running.communicate(timeout=60)[0] for running in workers]
    assert [running.returncode for running in workers] == [0, 0]
    for done in map(json.loads, printed):
        assert done["operations"] == sum(done["by_word"].values())
        assert {"ok", "missing", "unchanged"} < set(done["by_word"]) < WORDS


def test_sessions_are_shown_with_the_json_text_of_their_attributes(server: Server) -> None:
    namespace = fresh_namespace()
    with Store.connect(server.url, namespace=namespace) as store:
        store.create(id="s", user="ann", connection="c", attributes={"b": 2**53 + 1, "a": []})
    read = worker("read", server.url, namespace, ids="s\nnobody\n")
    attributes = {"a": "[]", "b": "9007199254740993"}
    session = {"id": "s", "user": "ann", "connection": "c", "node": "", "version": 1, "attributes": attributes}
    assert read == [session, None]
