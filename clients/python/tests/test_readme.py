"""The examples run as they stand."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

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


def test_the_example_of_this_client_runs(own_server: Server) -> None:
    assert run_example(ROOT / "clients" / "python" / "README.md", own_server) == "ann ['umbrella', 'gloves'] socket-7\n"
