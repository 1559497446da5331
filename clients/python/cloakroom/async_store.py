"""The store for asyncio: it sends the steps of an operation, and gets the replies."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable, Coroutine
from dataclasses import replace
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import redis.asyncio
from redis.asyncio.retry import Retry

from . import changing, clearing, link, making, migrating, nodes, reading, refreshing, starting
from .bundle import Command
from .call import Commands, Engine, Lost, NodeIdentity, Replies, Steps, Unreachable, Unsent
from .operation_id import OperationId
from .partitions import MOST
from .rules import Rules, check_names, check_range
from .server_clock import ServerClock

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

    def __init__(self, client: redis.asyncio.Redis, engine: Engine, owned: bool) -> None:
        """Use `connect`."""
        self._client, self._engine, self._owned = client, engine, owned
        self._clocks = link.Clocks()

    @classmethod
    async def connect(
        cls,
        source: str | redis.asyncio.Redis,
        *,
        namespace: str = "cloakroom",
        partitions: int | None = None,
        rules: Rules | None = None,
        deadline_s: float = 2.0,
        clock: link.Clock | None = None,
        **options: Any,
    ) -> AsyncStore:
        """A store at a URL, with the options of redis-py's client; or on a client, of which it takes connections.

        A call whose reply was lost is sent again until the deadline, in seconds; how long each reply is waited for is
        the client's `socket_timeout`. The number of `partitions` is fixed when the namespace is made, 1 unless told;
        later clients read it there. A clock stands in for the server's, for tests of an application."""
        if partitions is not None:
            check_range("partitions", partitions, 1, MOST)
        engine = link.engine(namespace, rules, deadline_s, clock)
        if isinstance(source, str):
            options = {**link.TIMEOUTS, "retry": Retry(link.BACKOFF, link.RECONNECTS), **options}
            store = cls(redis.asyncio.Redis.from_url(source, **options), engine, owned=True)
        else:
            store = cls(source, engine, owned=False)
        try:
            store._engine = await store._run(starting.start(engine, partitions))
        except BaseException:
            await store.close()
            raise
        return store

    async def close(self) -> None:
        """Closes the connections, but not those of a client that was handed in."""
        if self._owned:
            await self._client.aclose()

    async def __aenter__(self) -> AsyncStore:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    def new_id(self, user: str = "") -> str:
        """An id for a new session of a user: one in the partition of that user, as the store makes them."""
        check_names(user=user)
        return self._engine.partitions.new_id(self._engine.operation_id or OperationId.random(), user)

    def with_operation_id(self, operation_id: OperationId) -> AsyncStore:
        """The same store, with each call under this operation id: to repeat a call that ended in `Ambiguous`, with the
        same arguments, and that call only. If it happened, it does not happen again, and answers as it would have;
        where what is stored does not tell, it raises `Ambiguous` again."""
        store = copy.copy(self)
        store._engine = replace(self._engine, operation_id=operation_id)
        return store

    def as_node(self, identity: NodeIdentity) -> AsyncStore:
        """The same store for a node that writes as the owner of its sessions, while it holds its lease; a write that
        comes later raises `Fenced`. `create` and `bind` put sessions at that node and nowhere else."""
        store = copy.copy(self)
        store._engine = replace(self._engine, identity=identity)
        return store

    async def _run(self, steps: Steps[T]) -> T:
        step: Callable[[Any], Commands] = steps.send
        answer: Any = None
        try:
            while True:
                commands = step(answer)
                try:
                    step, answer = steps.send, await self._exchange(commands)
                except (Lost, Unsent, Unreachable) as error:
                    step, answer = steps.throw, error
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]

    async def _exchange(self, commands: Commands) -> Replies:
        if (wait_s := link.left_to_wait(commands)) > 0:
            await asyncio.sleep(wait_s)
        # Connections, because they tell what was sent from what was not, and give replies as they came.
        pool: Any = self._client.connection_pool
        try:
            connection = await pool.get_connection()
        except link.BROKEN as error:
            raise Unreachable from error
        clock, keep = self._clocks.of(connection), False
        try:
            if link.asks_time(commands, clock):
                await self._ask_time(connection, clock)
            sent = link.made(commands, clock)
            replies = await self._answers(connection, sent)
            link.note_times(clock, sent, replies)
            keep = not any(isinstance(reply, link.WRONG_SERVER) for reply in replies)
        except link.BROKEN as error:
            raise Lost from error
        finally:
            # Replies that nobody read would be the next call's.
            if not keep:
                await connection.disconnect(nowait=True)
            await pool.release(connection)
        return replies

    async def _ask_time(self, connection: Any, clock: ServerClock) -> None:
        question: list[Command] = [["TIME"]]
        try:
            link.note_times(clock, question, await self._answers(connection, question))
        except link.BROKEN as error:
            raise Unsent from error

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
