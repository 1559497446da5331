"""Servers that a test starts and stops by their handles, and what stands between them and a store."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from cloakroom_sessions import AsyncEvents, AsyncStore, Moved, NodeIdentity, OperationId, Store, Token

_namespaces = itertools.count()


def fresh_namespace() -> str:
    return f"python-{os.getpid()}-{next(_namespaces)}"


def unless_left(store: Any, id: Any) -> Any:
    """What a read finds under an id that a login may have left."""
    try:
        return store.get(id)
    except Moved:
        return None


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class Server:
    """A redis-server of our own."""

    def __init__(self, *more: str) -> None:
        self._directory = tempfile.TemporaryDirectory()
        # Another process may take the port first: then the server ends at once.
        while True:
            self.port = free_port()
            options = [
                "--port",
                str(self.port),
                "--bind",
                "127.0.0.1",
                "--save",
                "",
                "--dir",
                self._directory.name,
                *more,
            ]
            self._process = subprocess.Popen(["redis-server", *options], stdout=subprocess.DEVNULL)
            if self._answers():
                break
        self.url = f"redis://127.0.0.1:{self.port}"
        # redis-py leaves much of its own untyped.
        self.client: Any = redis.Redis(port=self.port)

    def _answers(self) -> bool:
        while self._process.poll() is None:
            try:
                with redis.Redis(port=self.port, retry=Retry(NoBackoff(), 0)) as client:
                    pid = client.info("server")["process_id"]
                return bool(pid == self._process.pid)
            except redis.ConnectionError:
                continue
        return False

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        self.client.close()
        self._process.terminate()
        self._process.wait()
        self._directory.cleanup()


class Proxy:
    """Passes a server's traffic on, but loses replies when it is told to: it ends the connection instead."""

    def __init__(self, port: int, at: int = 0) -> None:
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", at))
        self._open: list[socket.socket] = []
        self._pumps: list[threading.Thread] = []
        self.port = int(self._listener.getsockname()[1])
        self.url = f"redis://127.0.0.1:{self.port}"
        #: How many connections it has passed on.
        self.accepted = 0
        #: How many replies to lose, and how many to pass on before.
        self.to_lose = self.to_pass = 0
        #: What happens between a request and the loss of its reply.
        self.meanwhile: Callable[[], object] = lambda: None
        #: What happens before a request is passed on.
        self.before: Callable[[bytes], object] = lambda request: None
        self._accepts = threading.Thread(target=self._accept)
        self._accepts.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._port))
            except OSError:
                client.close()
                continue
            self.accepted += 1
            self._open += [client, server]
            for pump in ((client, server, False), (server, client, True)):
                self._pumps.append(threading.Thread(target=self._pump, args=pump))
                self._pumps[-1].start()

    def _pump(self, source: socket.socket, target: socket.socket, replies: bool) -> None:
        try:
            while data := source.recv(1 << 16):
                if not replies:
                    self.before(data)
                elif self._loses():
                    self.meanwhile()
                    break
                target.sendall(data)
        except OSError:
            pass
        for end in (source, target):
            _shut(end)

    def _loses(self) -> bool:
        if self.to_pass > 0:
            self.to_pass -= 1
        elif self.to_lose > 0:
            self.to_lose -= 1
            return True
        return False

    def cut(self) -> None:
        """Ends the connections that there are."""
        for end in self._open:
            _shut(end)

    def stop(self) -> None:
        """Ends its threads before it closes what they use."""
        _shut(self._listener)
        self._accepts.join()
        for end in self._open:
            _shut(end)
        for pump in self._pumps:
            pump.join()
        for end in (self._listener, *self._open):
            end.close()


def _shut(end: socket.socket) -> None:
    """Wakes whoever waits for it; to close it would not."""
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)


class Plainly:
    """An AsyncStore with the methods of a Store, so that one test holds both."""

    def __init__(self, loop: asyncio.AbstractEventLoop, store: AsyncStore) -> None:
        self._loop, self._store = loop, store

    def with_operation_id(self, operation_id: OperationId) -> Plainly:
        return Plainly(self._loop, self._store.with_operation_id(operation_id))

    def as_node(self, identity: NodeIdentity) -> Plainly:
        return Plainly(self._loop, self._store.as_node(identity))

    def new_id(self, user: str = "") -> str | Token:
        return self._store.new_id(user)

    def events(self, *args: Any, **options: Any) -> PlainEvents:
        return PlainEvents(self._loop, self._loop.run_until_complete(self._store.events(*args, **options)))

    def events_of_node(self, *args: Any, **options: Any) -> PlainEvents:
        return PlainEvents(self._loop, self._loop.run_until_complete(self._store.events_of_node(*args, **options)))

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        return lambda *args, **options: self._loop.run_until_complete(method(*args, **options))


def hurried(store: Any, deadline_s: float) -> Any:
    """A store whose calls have no more than so long, though it had all the time that it needed to start."""
    own = store._store if isinstance(store, Plainly) else store
    own._engine = replace(own._engine, deadline_s=deadline_s)
    return store


class PlainEvents:
    """The events of an AsyncStore, as those of a Store."""

    def __init__(self, loop: asyncio.AbstractEventLoop, told: AsyncEvents) -> None:
        self._loop, self._told = loop, told

    @property
    def position(self) -> str:
        return self._told.position

    def __iter__(self) -> PlainEvents:
        return self

    def __next__(self) -> Any:
        try:
            return self._loop.run_until_complete(self._told.__anext__())
        except StopAsyncIteration:
            raise StopIteration from None

    def close(self) -> None:
        self._loop.run_until_complete(self._told.aclose())


class Connector:
    """Makes stores of one flavour, in a namespace of their own, and closes them."""

    def __init__(self, flavour: str, url: str) -> None:
        self.namespace = fresh_namespace()
        self.tag = f"{{{self.namespace}:0}}"
        self.flavour, self._url = flavour, url
        self._loop = asyncio.new_event_loop() if flavour == "asyncio" else None
        self._stores: list[Any] = []

    def __call__(self, url: str | None = None, **options: Any) -> Any:
        # A busy machine is no failure.
        options = {"namespace": self.namespace, "deadline": 20, **options}
        store: Any
        if self._loop:
            connected = self._loop.run_until_complete(AsyncStore.connect(url or self._url, **options))
            store = Plainly(self._loop, connected)
        else:
            store = Store.connect(url or self._url, **options)
        self._stores.append(store)
        return store

    @staticmethod
    def of(store: Any) -> Any:
        """The store itself."""
        return store._store if isinstance(store, Plainly) else store

    def finish(self, outcome: Any) -> Any:
        """What something comes to of this flavour."""
        return self._loop.run_until_complete(outcome) if self._loop else outcome

    def age(self, store: Any) -> None:
        """Makes what a store knows of its servers' roles old."""
        for peer in self.of(store)._peers._known.values():
            peer.role._told_at -= 60

    def close_stores(self) -> None:
        while self._stores:
            self._stores.pop().close()

    def close(self) -> None:
        self.close_stores()
        if self._loop:
            self._loop.close()


class Clock:
    """Stands in for the server's."""

    def __init__(self) -> None:
        self.now_ms = 1_000_000

    def __call__(self) -> int:
        return self.now_ms
