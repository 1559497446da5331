"""The server or servers of a store for asyncio, with the connections to each."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import redis.asyncio
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry

from . import link
from .call import Crowded, Unreachable
from .cluster import Address, Cluster, parse
from .errors import Invalid
from .gate import AsyncGate

if TYPE_CHECKING:
    from .event_stream import AsyncEvents


class Servers:
    """The server or servers of a store, with a pool of connections to each."""

    def __init__(
        self, source: str | redis.asyncio.Redis, max_connections: int, max_waiting: int, options: dict[str, Any]
    ) -> None:
        link.check_limits(max_connections, max_waiting)
        self._limits = (max_connections, max_waiting)
        self._pools: dict[Address, Pool] = {}
        #: A client that was handed in stays, for its pool may know the way to the master.
        self._source = source
        #: Where there are several.
        self.cluster: Cluster | None = None
        #: Whether each has to say that it is the master. Not in a cluster, where a node redirects what it does not own.
        self.asks_role = True
        #: Who reads there, until the store is closed.
        self.streams: weakref.WeakSet[AsyncEvents] = weakref.WeakSet()
        if isinstance(source, redis.asyncio.RedisCluster):
            raise Invalid("source", link.NO_CLUSTER_CLIENT)
        if isinstance(source, redis.asyncio.Redis):
            if options:
                raise Invalid("options", "are those of the client that was handed in")
            given = source.connection_pool
            self._pools[link.SERVER] = self._pool_of(given.connection_class, given.connection_kwargs)
            return
        if not isinstance(source, str):
            raise link.not_a_source()
        found = parse(source)
        try:
            if found:
                seeds, own = found
                self.cluster, self._options = Cluster(seeds), {**link.TIMEOUTS, **options, **own}
                self.asks_role = False
                self.pool(seeds[0])
            else:
                told: dict[str, Any] = dict(parse_url(source))
                kind = told.pop("connection_class", redis.asyncio.Connection)
                self._limits = (told.pop("max_connections", max_connections), max_waiting)
                link.check_limits(*self._limits)
                self._pools[link.SERVER] = self._pool_of(kind, {**options, **told})
        except TypeError as error:
            raise link.not_an_option(error) from None
        except Invalid:
            raise
        except (ValueError, redis.RedisError):
            raise link.not_a_source() from None

    def pool(self, address: Address) -> Pool:
        """The connections to one."""
        if address not in self._pools:
            client = redis.asyncio.Redis(host=address.host, port=address.port, **self._options)
            given = client.connection_pool
            self._pools.setdefault(address, self._pool_of(given.connection_class, given.connection_kwargs))
        return self._pools[address]

    def _pool_of(self, kind: Any, options: dict[str, Any]) -> Pool:
        """A pool of connections of a kind."""
        is_remote = not issubclass(kind, redis.asyncio.UnixDomainSocketConnection)
        options = link.options_at(Retry(*link.CONNECTS_ONCE), options, is_remote=is_remote)
        return Pool(kind, options, *self._limits)

    async def close(self) -> None:
        """Closes the connections."""
        for pool in self._pools.values():
            await pool.close()


class Pool:
    """Connections to one server: no more than so many, and who waits for one waits no longer than it may."""

    def __init__(self, kind: Any, options: dict[str, Any], max_connections: int, max_waiting: int) -> None:
        self._kind, self._options = kind, options
        self._pool: Any = redis.asyncio.ConnectionPool(kind, max_connections=max_connections, **options)
        self._gate = AsyncGate(max_connections, max_waiting)
        self.make()  # an option that it does not know it tells here

    def make(self) -> Any:
        """A connection beside the pool, not yet connected."""
        return self._kind(**self._pool.connection_kwargs)

    async def take(self, until: float) -> Any:
        """A connection that is connected, or why there is none: `Unreachable` is returned."""
        if not await self._gate.enter(until):
            return Crowded()
        try:
            return await self._pool.get_connection()
        except link.BROKEN as error:
            self._gate.leave()
            return link.because(Unreachable(), error)
        except BaseException:
            self._gate.leave()
            raise

    async def give_back(self, connection: Any, *, keeps: bool) -> None:
        """Takes a connection back. Replies that nobody read would be the next call's."""
        try:
            if not keeps:
                await connection.disconnect(nowait=True)
            await self._pool.release(connection)
        finally:
            self._gate.leave()

    async def close(self) -> None:
        """Closes the connections."""
        await self._pool.disconnect()


class OwnServers(Servers):
    """The same servers, over one connection to each, beside the pools: for who reads all the time."""

    def __init__(self, servers: Servers) -> None:
        self._shared, self.cluster, self.asks_role = servers, servers.cluster, servers.asks_role
        self._own: dict[Address, _OwnConnection] = {}

    def pool(self, address: Address) -> Any:
        """The connection to one."""
        if address not in self._own:
            self._own[address] = _OwnConnection(self._shared.pool(address))
        return self._own[address]

    async def close(self) -> None:
        """Ends the connections. One that is used again is made anew."""
        for own in self._own.values():
            await own.close()


class _OwnConnection:
    """A connection that one has alone, made as those of a pool are."""

    def __init__(self, pool: Pool) -> None:
        self._connection = pool.make()

    async def take(self, _until: float) -> Any:
        """The connection, connected, or why it is not."""
        try:
            await self._connection.connect()
        except link.BROKEN as error:
            return link.because(Unreachable(), error)
        return self._connection

    async def give_back(self, connection: Any, *, keeps: bool) -> None:
        """It stays whose it is."""
        if not keeps:
            await connection.disconnect(nowait=True)

    async def close(self) -> None:
        """Ends it."""
        await self._connection.disconnect()
