"""The store for threads: it sends the steps of an operation, and gets the replies."""

from __future__ import annotations

import copy
import time
import weakref
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import redis
from redis.retry import Retry

from . import changing, clearing, events, link, making, migrating, nodes, reading, refreshing, starting
from .arguments import check_integer, check_kind, check_names, check_required
from .bundle import Command
from .call import Engine, Lost, NodeIdentity, Outcome, Parcel, Replies, Steps, Unreachable, Unsent
from .cluster import Address, Cluster, Errand, parse
from .duration import Duration
from .errors import Invalid
from .event_stream import Events
from .operation_id import OperationId
from .partitions import MOST
from .rules import Rules
from .server_clock import ServerClock
from .token import Id

P = ParamSpec("P")
T = TypeVar("T")


def _plain(operation: Callable[Concatenate[Engine, P], Steps[T]]) -> Callable[Concatenate[Store, P], T]:
    @wraps(operation)
    def method(store: Store, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return store._run(operation(store._engine, *args, **kwargs))

    return method


class Store:
    """Sessions in Redis, for threads: any number may use it."""

    def __init__(self, servers: Servers, engine: Engine) -> None:
        """Use `connect`."""
        self._servers, self._engine = servers, engine
        self._clocks = link.Clocks()

    @classmethod
    def connect(
        cls,
        source: str | redis.Redis,
        *,
        namespace: str = "cloakroom",
        partitions: int | None = None,
        rules: Rules | None = None,
        deadline: Duration = 2.0,
        clock: link.Clock | None = None,
        **options: Any,
    ) -> Store:
        """A store at a URL, with the options of redis-py's client; or on a client, of which it takes connections. A URL
        of a cluster is `redis+cluster://[user:password@]host[:port],host[:port]`, which names some of its nodes.

        A call whose reply was lost is sent again until the deadline; how long each reply is waited for is
        the client's `socket_timeout`. The number of `partitions` is fixed when the namespace is made, 1 unless told;
        later clients read it there. A clock stands in for the server's, for tests of an application."""
        if partitions is not None:
            check_integer("partitions", partitions, 1, MOST)
        engine = link.engine(namespace, rules, deadline, clock)
        servers = Servers(source, options)
        if servers.cluster:
            engine = replace(engine, homes=servers.cluster.homes)
        store = cls(servers, engine)
        try:
            store._engine = store._run(starting.start(engine, partitions))
        except BaseException:
            store.close()
            raise
        return store

    def close(self) -> None:
        """Closes the connections, but not those of a client that was handed in, and ends the events that are read."""
        for told in tuple(self._servers.streams):
            told.close()
        self._servers.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def events(self, start: str = "now", *, interval: Duration = 0.05) -> Events:
        """What becomes of the sessions of all partitions, in order within each: from `now` on, from the `beginning` of
        what is kept, or behind a `position` that was kept. It looks each `interval`, over a connection of its own to
        each server. Raises `Invalid` where the namespace has no events, `Forbidden` where they may not be read."""
        return self._events(None, start, interval)

    def events_of_node(self, node: str, start: str = "now", *, interval: Duration = 0.05) -> Events:
        """The same of the sessions that a node has, or had before: for a gateway, at a cost that does not grow with the
        other gateways."""
        check_required(node=node)
        return self._events(node, start, interval)

    def _events(self, node: str | None, start: str, interval: Duration) -> Events:
        reader, own = events.reader(self._engine, node, interval), copy.copy(self)
        own._servers = servers = OwnServers(self._servers)
        told = Events(reader, own._run, servers.close)
        try:
            own._run(reader.begin(start))
            own._engine = replace(own._engine, deadline_s=events.LOOK_S)
        except BaseException:
            told.close()
            raise
        self._servers.streams.add(told)
        return told

    def new_id(self, user: str = "") -> Id:
        """An id for a new session of a user, or the token of one: in the partition of that user, as the store makes
        them."""
        check_names(user=user)
        return self._engine.partitions.new_id(self._engine.operation_id or OperationId.random(), user)

    def with_operation_id(self, operation_id: OperationId) -> Store:
        """The same store, with each call under this operation id: to repeat a call that ended in `Ambiguous`, with the
        same arguments, and that call only. If it happened, it does not happen again, and answers as it would have;
        where what is stored does not tell, it raises `Ambiguous` again."""
        check_kind("operation_id", operation_id, OperationId)
        store = copy.copy(self)
        store._engine = replace(self._engine, operation_id=operation_id)
        return store

    def as_node(self, identity: NodeIdentity) -> Store:
        """The same store for a node that writes as the owner of its sessions, while it holds its lease; a write that
        comes later raises `Fenced`. `create` and `bind` put sessions at that node and nowhere else."""
        check_kind("identity", identity, NodeIdentity)
        store = copy.copy(self)
        store._engine = replace(self._engine, identity=identity)
        return store

    def _run(self, steps: Steps[T]) -> T:
        outcomes: Any = None
        try:
            while True:
                outcomes = self._exchange(steps.send(outcomes))
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]

    def _exchange(self, parcels: list[Parcel]) -> list[Outcome]:
        cluster = self._servers.cluster
        if not cluster:
            (outcome,) = self._run_errands([link.errand_of(parcels)])
            return link.outcomes_of(parcels, outcome)
        deliveries, became = cluster.deliver(parcels, self._engine.deadline_s), None
        try:
            while True:
                became = self._run_errands(deliveries.send(became))  # type: ignore[arg-type]
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]

    def _run_errands(self, errands: list[Errand]) -> list[Outcome]:
        """All of them are sent before a reply is waited for."""
        if (wait_s := link.left_to_wait(errands)) > 0:
            time.sleep(wait_s)
        with ExitStack() as open_exchanges:
            exchanges = [_Exchange(self._servers.pool(errand.address), self._clocks) for errand in errands]
            for exchange, errand in zip(exchanges, errands, strict=True):
                open_exchanges.callback(exchange.end)
                exchange.begin(errand)
            return [exchange.outcome() for exchange in exchanges]

    create = _plain(making.create)
    create_many = _plain(making.create_many)
    import_ = _plain(making.import_)
    get = _plain(reading.get)
    get_many = _plain(reading.get_many)
    explain = _plain(reading.explain)
    export = _plain(reading.export)
    session_by_connection = _plain(reading.session_by_connection)
    list = _plain(reading.list_)
    count = _plain(reading.count)
    expired = _plain(reading.expired)
    update = _plain(changing.update)
    patch = _plain(changing.patch)
    refresh = _plain(refreshing.refresh)
    refresh_many = _plain(refreshing.refresh_many)
    refresh_and_get = _plain(refreshing.refresh_and_get)
    rotate = _plain(changing.rotate)
    bind = _plain(changing.bind)
    unbind = _plain(changing.unbind)
    delete = _plain(changing.delete)
    delete_many = _plain(changing.delete_many)
    delete_user = _plain(clearing.delete_user)
    reap = _plain(clearing.reap)
    freeze = _plain(migrating.freeze)
    depart = _plain(migrating.depart)
    thaw = _plain(migrating.thaw)
    clean = _plain(migrating.clean)
    migrations = _plain(migrating.migrations)
    knows = _plain(migrating.knows)
    heartbeat = _plain(nodes.heartbeat)
    lapsed_nodes = _plain(nodes.lapsed_nodes)
    recover = _plain(nodes.recover)
    nodes = _plain(nodes.nodes)


class _Exchange:
    """Commands on their way, over one connection."""

    def __init__(self, pool: Any, clocks: link.Clocks) -> None:
        self._pool, self._clocks = pool, clocks
        self._connection: Any = None
        self._clock = ServerClock()
        self._sent: list[Command] = []
        self._failed: Outcome | None = None
        self._keeps = False

    def begin(self, errand: Errand) -> None:
        """Sends them. Connections, because they tell what was sent from what was not, and give replies as they came."""
        try:
            self._connection = self._pool.get_connection()
        except link.BROKEN as error:
            self._failed = link.because(Unreachable(), error)
            return
        self._clock = self._clocks.of(self._connection)
        try:
            if link.asks_time(errand.commands, self._clock):
                self._sent = [["TIME"]]
                self._send()
                link.note_times(self._clock, self._sent, self._replies())
        except link.BROKEN as error:
            self._failed = link.because(Unsent(), error)
            return
        self._sent = link.made(errand.commands, self._clock)
        try:
            self._send()
        except link.BROKEN as error:
            self._failed = link.because(Lost(), error)

    def outcome(self) -> Outcome:
        """What became of them."""
        if self._failed is not None:
            return self._failed
        try:
            replies = self._replies()
        except link.BROKEN as error:
            return link.because(Lost(), error)
        link.note_times(self._clock, self._sent, replies)
        self._keeps = not any(isinstance(reply, link.WRONG_SERVER) for reply in replies)
        return replies

    def end(self) -> None:
        """Gives the connection back. Replies that nobody read would be the next call's."""
        if self._connection is None:
            return
        if not self._keeps:
            self._connection.disconnect()
        self._pool.release(self._connection)

    def _send(self) -> None:
        self._connection.send_packed_command(self._connection.pack_commands(self._sent))

    def _replies(self) -> Replies:
        return [self._reply(self._connection) for _ in self._sent]

    @staticmethod
    def _reply(connection: Any) -> Any:
        try:
            return connection.read_response(disable_decoding=True)
        except link.ANSWERS as error:
            return error


class Servers:
    """The server or servers of a store, with connections to each."""

    def __init__(self, source: str | redis.Redis, options: dict[str, Any]) -> None:
        self._given = None if isinstance(source, str) else source
        self._options = {**link.TIMEOUTS, "retry": Retry(link.BACKOFF, link.RECONNECTS), **options}
        self._own: dict[Address, redis.Redis] = {}
        #: Where there are several.
        self.cluster: Cluster | None = None
        #: Who reads there, until the store is closed.
        self.streams: weakref.WeakSet[Events] = weakref.WeakSet()
        if isinstance(source, redis.RedisCluster):
            raise Invalid("source", link.NO_CLUSTER_CLIENT)
        if isinstance(source, str):
            if found := parse(source):
                seeds, own = found
                self.cluster, self._options = Cluster(seeds), {**self._options, **own}
            else:
                self._own[link.SERVER] = redis.Redis.from_url(source, **self._options)

    def pool(self, address: Address) -> Any:
        """The connections to one."""
        if self._given is not None:
            return self._given.connection_pool
        if address not in self._own:
            client = redis.Redis(host=address.host, port=address.port, **self._options)
            self._own.setdefault(address, client)
        return self._own[address].connection_pool

    def close(self) -> None:
        """Closes the connections, but not those of a client that was handed in."""
        for client in self._own.values():
            client.close()


class OwnServers(Servers):
    """The same servers, over one connection to each, beside the pools: for who reads all the time."""

    def __init__(self, servers: Servers) -> None:
        self._shared, self.cluster = servers, servers.cluster
        self._own_pools: dict[Address, _OwnConnection] = {}

    def pool(self, address: Address) -> Any:
        """The connection to one."""
        if address not in self._own_pools:
            self._own_pools[address] = _OwnConnection(self._shared.pool(address))
        return self._own_pools[address]

    def close(self) -> None:
        """Ends the connections. One that is used again is made anew."""
        for pool in self._own_pools.values():
            pool.close()


class _OwnConnection:
    """A connection that one has alone, made as those of a pool are."""

    def __init__(self, pool: Any) -> None:
        self._connection = pool.connection_class(**pool.connection_kwargs)

    def get_connection(self) -> Any:
        """The connection, connected."""
        self._connection.connect()
        return self._connection

    def release(self, connection: Any) -> None:
        """It stays whose it is."""

    def close(self) -> None:
        """Ends it."""
        self._connection.disconnect()
