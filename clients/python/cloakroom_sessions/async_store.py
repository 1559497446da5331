"""The store for asyncio: it sends the steps of an operation, and gets the replies."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable, Coroutine, Generator
from dataclasses import replace
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import redis.asyncio

from . import changing, clearing, events, link, making, migrating, nodes, reading, refreshing, starting
from .arguments import check_integer, check_kind, check_names, check_required
from .async_servers import OwnServers, Servers
from .bundle import Command
from .call import Engine, NodeIdentity, Outcome, Parcel, Replies, Steps, Unreachable
from .cluster import Errand
from .duration import Duration
from .event_stream import AsyncEvents
from .operation_id import OperationId
from .partitions import MOST
from .rules import Rules
from .talk import Peers, Said, Spoken, talk
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
        self._peers = Peers()

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
        max_connections: int = link.MOST_CONNECTIONS,
        max_waiting: int = link.MOST_WAITING,
        **options: Any,
    ) -> AsyncStore:
        """Connects to a URL, with the options of redis-py's client; or to the server of a redis-py client, with that
        client's options. A URL of a cluster names some of its nodes:
        `redis+cluster://[user:password@]host[:port],host[:port]`. It starts once there is a master, within the
        deadline.

        A call is sent again until the deadline, where its reply was lost or there is no master; each reply is waited
        for as long as the `socket_timeout` says. There are at most `max_connections` to a server. A call waits for one
        until its deadline, at most `max_waiting` calls do, and else it raises `Busy`. The number of `partitions` is
        fixed when the namespace is made, 1 unless told; later clients read it there. A clock stands in for the
        server's, for tests of an application."""
        if partitions is not None:
            check_integer("partitions", partitions, 1, MOST)
        engine = link.engine(namespace, rules, deadline, clock)
        servers = Servers(source, max_connections, max_waiting, options)
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
        """Closes the connections, and ends all readers of events. A client that the caller passed in stays open."""
        for told in tuple(self._servers.streams):
            await told.aclose()
        await self._servers.close()

    async def __aenter__(self) -> AsyncStore:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    async def events(self, start: str = "now", *, interval: Duration = 0.05) -> AsyncEvents:
        """Reads the events of all sessions, in order within each partition: from `now` on, from the `beginning` of the
        kept events, or from behind a stored `position`. It polls at each `interval`, over its own connection to each
        server. Raises `Invalid` if the namespace has no events, `Forbidden` if the user may not read them."""
        return await self._events(None, start, interval)

    async def events_of_node(self, node: str, start: str = "now", *, interval: Duration = 0.05) -> AsyncEvents:
        """Reads the events of the sessions that a node has or had: for a gateway, at a cost that does not grow with
        the number of gateways."""
        check_required(node=node)
        return await self._events(node, start, interval)

    async def _events(self, node: str | None, start: str, interval: Duration) -> AsyncEvents:
        reader, own = events.reader(self._engine, node, interval), copy.copy(self)
        own._servers = servers = OwnServers(self._servers)
        told = AsyncEvents(reader, own._run, servers.close)
        try:
            await own._run(reader.begin(start))
        except BaseException:
            await told.aclose()
            raise
        self._servers.streams.add(told)
        return told

    def new_id(self, user: str = "") -> Id:
        """Makes an id for a new session of a user, or its token, in the partition of that user."""
        check_names(user=user)
        return self._engine.partitions.new_id(self._engine.operation_id or OperationId.random(), user)

    def with_operation_id(self, operation_id: OperationId) -> AsyncStore:
        """Returns the same store, which makes each call under this operation id (an idempotency key). Use it only to
        repeat a call that ended in `Ambiguous`, with the same arguments. If that call happened, it does not happen
        again, and the repeat returns its answer; if the stored data do not prove either, it raises `Ambiguous`
        again."""
        check_kind("operation_id", operation_id, OperationId)
        store = copy.copy(self)
        store._engine = replace(self._engine, operation_id=operation_id)
        return store

    def as_node(self, identity: NodeIdentity) -> AsyncStore:
        """Returns the same store, acting for a node while that node holds its lease; a later write raises `Fenced`.
        `create` and `bind` put sessions only on that node."""
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
        deliveries, became = cluster.deliver(parcels), None
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
        connection = await pool.take(errand.until)
        if isinstance(connection, Unreachable):
            return connection
        keeps = False
        try:
            conversation = talk(self._peers.of(connection), errand.commands, self._servers.asks_role)
            outcome, keeps = await self._converse(connection, conversation)
        finally:
            await pool.give_back(connection, keeps=keeps)
        return outcome

    async def _converse(self, connection: Any, conversation: Generator[Said, Replies, Spoken]) -> Spoken:
        try:
            said = next(conversation)
            while True:
                try:
                    answers = await self._answers(connection, said.commands)
                except link.BROKEN as error:
                    said = conversation.throw(error)
                else:
                    said = conversation.send(answers)
        except StopIteration as end:
            spoken: Spoken = end.value
            return spoken

    async def _answers(self, connection: Any, commands: list[Command]) -> Replies:
        await connection.send_packed_command(connection.pack_commands(commands))
        return [await self._reply(connection) for _ in commands]

    @staticmethod
    async def _reply(connection: Any) -> Any:
        # An answer such as LOADING or NOAUTH ends no connection: other answers follow it.
        try:
            return await connection.read_response(disable_decoding=True, disconnect_on_error=False)
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
