"""A client that finds its master by sentinels is handed in."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio
from support import Connector, Server, free_port


@pytest.fixture
def sentinel(own_server: Server, tmp_path: Path) -> Iterator[int]:
    """The port of one that watches `own_server`."""
    port = free_port()
    config = tmp_path / "sentinel.conf"
    config.write_text(
        f"port {port}\nbind 127.0.0.1\ndir {tmp_path}\nsentinel monitor shop 127.0.0.1 {own_server.port} 1\n"
    )
    command = ["redis-server", str(config), "--sentinel"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        with redis.Redis(port=port) as client:
            while True:
                try:
                    client.ping()
                    break
                except redis.ConnectionError:
                    assert process.poll() is None
        yield port
        process.terminate()


def test_a_store_finds_its_master_as_the_client_does(connect: Connector, sentinel: int, own_server: Server) -> None:
    found: Any = redis.asyncio if connect.flavour == "asyncio" else redis
    sentinels = found.Sentinel([("127.0.0.1", sentinel)])
    store = connect(sentinels.master_for("shop"))
    session = store.create(user="ann").session
    assert store.get(session.id) == session
    assert own_server.client.exists(f"{connect.tag}:session:{session.id}")
    for asked in sentinels.sentinels:
        connect.finish(asked.aclose() if connect.flavour == "asyncio" else asked.close())
