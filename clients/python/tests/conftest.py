from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import pytest
from support import Clock, Connector, Proxy, Server


def pytest_collection_finish() -> None:
    """What is loaded by now stays: `nothing_left_open` need not walk it after every test."""
    gc.freeze()


@pytest.fixture(autouse=True)
def nothing_left_open() -> Iterator[None]:
    """A socket that a test leaves open is that test's failure, not that of whichever runs when it is collected."""
    yield
    gc.collect()


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.stop()


@pytest.fixture
def own_server() -> Iterator[Server]:
    """For tests that flush."""
    server = Server()
    yield server
    server.stop()


@pytest.fixture
def proxy(own_server: Server) -> Iterator[Proxy]:
    """Leads to `own_server`."""
    proxy = Proxy(own_server.port)
    yield proxy
    proxy.stop()


@pytest.fixture(params=["threads", "asyncio"])
def through(request: pytest.FixtureRequest, proxy: Proxy) -> Iterator[Connector]:
    """Makes stores of each flavour that lead through the proxy."""
    connector = Connector(request.param, proxy.url)
    yield connector
    connector.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["threads", "asyncio"])
def connect(request: pytest.FixtureRequest, server: Server) -> Iterator[Connector]:
    """What makes stores, of each flavour in turn."""
    connector = Connector(request.param, server.url)
    yield connector
    connector.close()


@pytest.fixture
def store(connect: Connector, clock: Clock) -> Any:
    return connect(clock=clock)
