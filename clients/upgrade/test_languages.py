"""Processes of two releases and of two languages at work in one namespace."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cloakroom_sessions.bundle import Bundle
from support import Server, fresh_namespace

from releases import ROOT, Release, environment
from stored import Stored

SECONDS = "3"


def in_python(release: Release) -> list[str]:
    return [sys.executable, str(ROOT / "clients" / "python" / "tests" / "worker.py")]


def in_node(release: Release) -> list[str]:
    worker: Path = release.directory / "node" / "tests" / "worker"
    return ["node", str(worker)]


@pytest.mark.parametrize("pair", [(in_python, in_node), (in_node, in_python)], ids=["python first", "node first"])
def test_a_bridge_in_one_language_works_beside_the_next_release_in_another(
    pair: tuple[Callable[[Release], list[str]], ...], releases: dict[str, Release], server: Server
) -> None:
    namespace = fresh_namespace()
    processes = []
    for seed, (command, name) in enumerate(zip(pair, ("bridge", "next"), strict=True)):
        release = releases[name]
        arguments = [server.url, namespace, str(seed), SECONDS]
        processes.append(subprocess.Popen(command(release) + arguments, env=environment(release)))
    assert [process.wait() for process in processes] == [0, 0]
    stored = Stored(server.client, Bundle(releases["next"].bundle), namespace)
    stored.check()
    assert server.client.get(f"{{{namespace}:0}}:contract") == b"2"
