from __future__ import annotations

from collections.abc import Iterator

import pytest
from support import Server

from releases import Release, make


@pytest.fixture(scope="session")
def releases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Release]:
    return make(tmp_path_factory.mktemp("releases"))


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.stop()
