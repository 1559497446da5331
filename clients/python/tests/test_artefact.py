"""What a service has that installed this client."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from support import Server

import cloakroom_sessions

USER = Path(__file__).with_name("user.py")


def run(*command: str, where: Path) -> str:
    result = subprocess.run(command, cwd=where, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_what_is_tested_is_what_was_installed() -> None:
    where = Path(cloakroom_sessions.__file__)
    assert "site-packages" in where.parts
    files = {str(file) for file in metadata.files("cloakroom-sessions") or ()}
    assert {"cloakroom_sessions/bundle.json", "cloakroom_sessions/py.typed"} < files
    assert not where.with_name("bundle.json").is_symlink()
    assert not any(file.startswith(("tests", "test_")) for file in files)


def test_a_services_file_passes_a_strict_type_checker(tmp_path: Path) -> None:
    pytest.importorskip("mypy", reason="only the newest redis-py has all types")
    told = run(sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path), str(USER), where=tmp_path)
    assert told.startswith("Success")


def test_a_services_file_runs(own_server: Server, tmp_path: Path) -> None:
    assert run(sys.executable, str(USER), own_server.url, where=tmp_path) == "ann ['umbrella'] events 1 True\n"


def test_each_public_name_is_listed_and_there() -> None:
    names = cloakroom_sessions.__all__
    assert sorted(names) == names and len(set(names)) == len(names)
    for name in names:
        assert getattr(cloakroom_sessions, name).__doc__, name
