"""The store for threads: it sends the steps of an operation, and gets the replies."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import redis
from redis.retry import Retry

from . import changing, clearing, link, making, migrating, nodes, reading, refreshing, starting
from .bundle import Command
from .call import Commands, Engine, Lost, NodeIdentity, Replies, Steps, Unreachable, Unsent
from .operation_id import OperationId
from .partitions import MOST
from .rules import Rules, check_names, check_range
from .server_clock import ServerClock

P = ParamSpec("P")
T = TypeVar("T")


def _plain(operation: Callable[Concatenate[Engine, P], Steps[T]]) -> Callable[Concatenate[Store, P], T]:
    @wraps(operation)
    def method(store: Store, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return store._run(operation(store._engine, *args, **kwargs))

    return method


class Store:
    """Sessions in Redis, for threads: any number may use it."""

    def __init__(self, client: redis.Redis, engine: Engine, owned: bool) -> None:
        """Use `connect`."""
        self._client, self._engine, self._owned = client, engine, owned
        self._clocks = link.Clocks()

    @classmethod
    def connect(
        cls,
        source: str | redis.Redis,
        *,
        namespace: str = "cloakroom",
        partitions: int | None = None,
        rules: Rules | None = None,
        deadline_s: float = 2.0,
        clock: link.Clock | None = None,
        **options: Any,
    ) -> Store:
        """A store at a URL, with the options of redis-py's client; or on a client, of which it takes connections.

        A call whose reply was lost is sent again until the deadline, in seconds; how long each reply is waited for is
        the client's `socket_timeout`. The number of `partitions` is fixed when the namespace is made, 1 unless told;
        later clients read it there. A clock stands in for the server's, for tests of an application."""
        if partitions is not None:
            check_range("partitions", partitions, 1, MOST)
        engine = link.engine(namespace, rules, deadline_s, clock)
        if isinstance(source, str):
            options = {**link.TIMEOUTS, "retry": Retry(link.BACKOFF, link.RECONNECTS), **options}
            store = cls(redis.Redis.from_url(source, **options), engine, owned=True)
        else:
            store = cls(source, engine, owned=False)
        try:
            store._engine = store._run(starting.start(engine, partitions))
        except BaseException:
            store.close()
            raise
        return store

    def close(self) -> None:
        """Closes the connections, but not those of a client that was handed in."""
        if self._owned:
            self._client.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def new_id(self, user: str = "") -> str:
        """An id for a new session of a user: one in the partition of that user, as the store makes them."""
        check_names(user=user)
        return self._engine.partitions.new_id(self._engine.operation_id or OperationId.random(), user)

    def with_operation_id(self, operation_id: OperationId) -> Store:
        """The same store, with each call under this operation id: to repeat a call that ended in `Ambiguous`, with the
        same arguments, and that call only. If it happened, it does not happen again, and answers as it would have;
        where what is stored does not tell, it raises `Ambiguous` again."""
        store = copy.copy(self)
        store._engine = replace(self._engine, operation_id=operation_id)
        return store

    def as_node(self, identity: NodeIdentity) -> Store:
        """The same store for a node that writes as the owner of its sessions, while it holds its lease; a write that
        comes later raises `Fenced`. `create` and `bind` put sessions at that node and nowhere else."""
        store = copy.copy(self)
        store._engine = replace(self._engine, identity=identity)
        return store

    def _run(self, steps: Steps[T]) -> T:
        step: Callable[[Any], Commands] = steps.send
        answer: Any = None
        try:
            while True:
                commands = step(answer)
                try:
                    step, answer = steps.send, self._exchange(commands)
                except (Lost, Unsent, Unreachable) as error:
                    step, answer = steps.throw, error
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]

    def _exchange(self, commands: Commands) -> Replies:
        if (wait_s := link.left_to_wait(commands)) > 0:
            time.sleep(wait_s)
        # Connections, because they tell what was sent from what was not, and give replies as they came.
        pool: Any = self._client.connection_pool
        try:
            connection = pool.get_connection()
        except link.BROKEN as error:
            raise Unreachable from error
        clock, keep = self._clocks.of(connection), False
        try:
            if link.asks_time(commands, clock):
                self._ask_time(connection, clock)
            sent = link.made(commands, clock)
            replies = self._answers(connection, sent)
            link.note_times(clock, sent, replies)
            keep = not any(isinstance(reply, link.WRONG_SERVER) for reply in replies)
        except link.BROKEN as error:
            raise Lost from error
        finally:
            # Replies that nobody read would be the next call's.
            if not keep:
                connection.disconnect()
            pool.release(connection)
        return replies

    def _ask_time(self, connection: Any, clock: ServerClock) -> None:
        question: list[Command] = [["TIME"]]
        try:
            link.note_times(clock, question, self._answers(connection, question))
        except link.BROKEN as error:
            raise Unsent from error

    def _answers(self, connection: Any, commands: list[Command]) -> Replies:
        connection.send_packed_command(connection.pack_commands(commands))
        return [self._reply(connection) for _ in commands]

    @staticmethod
    def _reply(connection: Any) -> Any:
        try:
            return connection.read_response(disable_decoding=True)
        except link.ANSWERS as error:
            return error

    create = _plain(making.create)
    create_many = _plain(making.create_many)
    import_ = _plain(making.import_)
    get = _plain(reading.get)
    get_many = _plain(reading.get_many)
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
