"""The store for asyncio: it sends the steps of an operation, and gets the replies."""

from __future__ import annotations

import asyncio
import copy
import weakref
from collections.abc import Callable, Coroutine
from dataclasses import replace
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import redis.asyncio
from redis.asyncio.retry import Retry

from . import changing, clearing, events, link, making, migrating, nodes, reading, refreshing, starting
from .arguments import check_integer, check_kind, check_names, check_required
from .bundle import Command
from .call import Engine, Lost, NodeIdentity, Outcome, Parcel, Replies, Steps, Unreachable, Unsent
from .cluster import Address, Cluster, Errand, parse
from .duration import Duration
from .errors import Invalid
from .event_stream import AsyncEvents
from .operation_id import OperationId
from .partitions import MOST
from .rules import Rules
from .server_clock import ServerClock
from .token import Id

P = ParamSpec("P")
T = TypeVar("T")


def _asynchronous(
    operation: Callable[Concatenate[Engine, P], Steps[T]],
) -> Callable[Concatenate[AsyncStore, P], Coroutine[Any, Any, T]]:
    @wraps(operation)
    def method(store: AsyncStore, /, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, T]:
        return store._run(operation(store._engine, *args, **kwargs))

    return method


class AsyncStore:
    """Sessions in Redis, for asyncio."""

    def __init__(self, servers: Servers, engine: Engine) -> None:
        """Use `connect`."""
        self._servers, self._engine = servers, engine
        self._clocks = link.Clocks()

    @classmethod
    async def connect(
        cls,
        source: str | redis.asyncio.Redis,
        *,
        namespace: str = "cloakroom",
        partitions: int | None = None,
        rules: Rules | None = None,
        deadline: Duration = 2.0,
        clock: link.Clock | None = None,
        **options: Any,
    ) -> AsyncStore:
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
            store._engine = await store._run(starting.start(engine, partitions))
        except BaseException:
            await store.close()
            raise
        return store

    async def close(self) -> None:
        """Closes the connections, but not those of a client that was handed in, and ends the events that are read."""
        for told in tuple(self._servers.streams):
            await told.aclose()
        await self._servers.close()

    async def __aenter__(self) -> AsyncStore:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    async def events(self, start: str = "now", *, interval: Duration = 0.05) -> AsyncEvents:
        """What becomes of the sessions of all partitions, in order within each: from `now` on, from the `beginning` of
        what is kept, or behind a `position` that was kept. It looks each `interval`, over a connection of its own to
        each server. Raises `Invalid` where the namespace has no events, `Forbidden` where they may not be read."""
        return await self._events(None, start, interval)

    async def events_of_node(self, node: str, start: str = "now", *, interval: Duration = 0.05) -> AsyncEvents:
        """The same of the sessions that a node has, or had before: for a gateway, at a cost that does not grow with the
        other gateways."""
        check_required(node=node)
        return await self._events(node, start, interval)

    async def _events(self, node: str | None, start: str, interval: Duration) -> AsyncEvents:
        reader, own = events.reader(self._engine, node, interval), copy.copy(self)
        own._servers = servers = OwnServers(self._servers)
        told = AsyncEvents(reader, own._run, servers.close)
        try:
            await own._run(reader.begin(start))
            own._engine = replace(own._engine, deadline_s=events.LOOK_S)
        except BaseException:
            await told.aclose()
            raise
        self._servers.streams.add(told)
        return told

    def new_id(self, user: str = "") -> Id:
        """An id for a new session of a user, or the token of one: in the partition of that user, as the store makes
        them."""
        check_names(user=user)
        return self._engine.partitions.new_id(self._engine.operation_id or OperationId.random(), user)

    def with_operation_id(self, operation_id: OperationId) -> AsyncStore:
        """The same store, with each call under this operation id: to repeat a call that ended in `Ambiguous`, with the
        same arguments, and that call only. If it happened, it does not happen again, and answers as it would have;
        where what is stored does not tell, it raises `Ambiguous` again."""
        check_kind("operation_id", operation_id, OperationId)
        store = copy.copy(self)
        store._engine = replace(self._engine, operation_id=operation_id)
        return store

    def as_node(self, identity: NodeIdentity) -> AsyncStore:
        """The same store for a node that writes as the owner of its sessions, while it holds its lease; a write that
        comes later raises `Fenced`. `create` and `bind` put sessions at that node and nowhere else."""
        check_kind("identity", identity, NodeIdentity)
        store = copy.copy(self)
        store._engine = replace(self._engine, identity=identity)
        return store

    async def _run(self, steps: Steps[T]) -> T:
        outcomes: Any = None
        try:
            while True:
                outcomes = await self._exchange(steps.send(outcomes))
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]

    async def _exchange(self, parcels: list[Parcel]) -> list[Outcome]:
        cluster = self._servers.cluster
        if not cluster:
            (outcome,) = await self._run_errands([link.errand_of(parcels)])
            return link.outcomes_of(parcels, outcome)
        deliveries, became = cluster.deliver(parcels, self._engine.deadline_s), None
        try:
            while True:
                became = await self._run_errands(deliveries.send(became))  # type: ignore[arg-type]
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]

    async def _run_errands(self, errands: list[Errand]) -> list[Outcome]:
        if (wait_s := link.left_to_wait(errands)) > 0:
            await asyncio.sleep(wait_s)
        if len(errands) == 1:
            return [await self._run_errand(errands[0])]
        return await asyncio.gather(*map(self._run_errand, errands))

    async def _run_errand(self, errand: Errand) -> Outcome:
        # Connections, because they tell what was sent from what was not, and give replies as they came.
        pool = self._servers.pool(errand.address)
        try:
            connection = await pool.get_connection()
        except link.BROKEN as error:
            return link.because(Unreachable(), error)
        clock, keep = self._clocks.of(connection), False
        try:
            if link.asks_time(errand.commands, clock) and (unsent := await self._ask_time(connection, clock)):
                return unsent
            sent = link.made(errand.commands, clock)
            replies = await self._answers(connection, sent)
            link.note_times(clock, sent, replies)
            keep = not any(isinstance(reply, link.WRONG_SERVER) for reply in replies)
        except link.BROKEN as error:
            return link.because(Lost(), error)
        finally:
            # Replies that nobody read would be the next call's.
            if not keep:
                await connection.disconnect(nowait=True)
            await pool.release(connection)
        return replies

    async def _ask_time(self, connection: Any, clock: ServerClock) -> Unsent | None:
        question: list[Command] = [["TIME"]]
        try:
            link.note_times(clock, question, await self._answers(connection, question))
        except link.BROKEN as error:
            return link.because(Unsent(), error)
        return None

    async def _answers(self, connection: Any, commands: list[Command]) -> Replies:
        await connection.send_packed_command(connection.pack_commands(commands))
        return [await self._reply(connection) for _ in commands]

    @staticmethod
    async def _reply(connection: Any) -> Any:
        try:
            return await connection.read_response(disable_decoding=True)
        except link.ANSWERS as error:
            return error

    create = _asynchronous(making.create)
    create_many = _asynchronous(making.create_many)
    import_ = _asynchronous(making.import_)
    get = _asynchronous(reading.get)
    get_many = _asynchronous(reading.get_many)
    explain = _asynchronous(reading.explain)
    export = _asynchronous(reading.export)
    session_by_connection = _asynchronous(reading.session_by_connection)
    list = _asynchronous(reading.list_)
    count = _asynchronous(reading.count)
    expired = _asynchronous(reading.expired)
    update = _asynchronous(changing.update)
    patch = _asynchronous(changing.patch)
    refresh = _asynchronous(refreshing.refresh)
    refresh_many = _asynchronous(refreshing.refresh_many)
    refresh_and_get = _asynchronous(refreshing.refresh_and_get)
    rotate = _asynchronous(changing.rotate)
    bind = _asynchronous(changing.bind)
    unbind = _asynchronous(changing.unbind)
    delete = _asynchronous(changing.delete)
    delete_many = _asynchronous(changing.delete_many)
    delete_user = _asynchronous(clearing.delete_user)
    reap = _asynchronous(clearing.reap)
    freeze = _asynchronous(migrating.freeze)
    depart = _asynchronous(migrating.depart)
    thaw = _asynchronous(migrating.thaw)
    clean = _asynchronous(migrating.clean)
    migrations = _asynchronous(migrating.migrations)
    knows = _asynchronous(migrating.knows)
    heartbeat = _asynchronous(nodes.heartbeat)
    lapsed_nodes = _asynchronous(nodes.lapsed_nodes)
    recover = _asynchronous(nodes.recover)
    nodes = _asynchronous(nodes.nodes)


class Servers:
    """The server or servers of a store, with connections to each."""

    def __init__(self, source: str | redis.asyncio.Redis, options: dict[str, Any]) -> None:
        self._given = None if isinstance(source, str) else source
        self._options = {**link.TIMEOUTS, "retry": Retry(link.BACKOFF, link.RECONNECTS), **options}
        self._own: dict[Address, redis.asyncio.Redis] = {}
        #: Where there are several.
        self.cluster: Cluster | None = None
        #: Who reads there, until the store is closed.
        self.streams: weakref.WeakSet[AsyncEvents] = weakref.WeakSet()
        if isinstance(source, redis.asyncio.RedisCluster):
            raise Invalid("source", link.NO_CLUSTER_CLIENT)
        if isinstance(source, str):
            if found := parse(source):
                seeds, own = found
                self.cluster, self._options = Cluster(seeds), {**self._options, **own}
            else:
                self._own[link.SERVER] = redis.asyncio.Redis.from_url(source, **self._options)

    def pool(self, address: Address) -> Any:
        """The connections to one."""
        if self._given is not None:
            return self._given.connection_pool
        if address not in self._own:
            self._own[address] = redis.asyncio.Redis(host=address.host, port=address.port, **self._options)
        return self._own[address].connection_pool

    async def close(self) -> None:
        """Closes the connections, but not those of a client that was handed in."""
        for client in self._own.values():
            await client.aclose()


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

    async def close(self) -> None:
        """Ends the connections. One that is used again is made anew."""
        for pool in self._own_pools.values():
            await pool.close()


class _OwnConnection:
    """A connection that one has alone, made as those of a pool are."""

    def __init__(self, pool: Any) -> None:
        self._connection = pool.connection_class(**pool.connection_kwargs)

    async def get_connection(self) -> Any:
        """The connection, connected."""
        await self._connection.connect()
        return self._connection

    async def release(self, connection: Any) -> None:
        """It stays whose it is."""

    async def close(self) -> None:
        """Ends it."""
        await self._connection.disconnect()
