"""The store for threads: it sends the steps of an operation, and gets the replies."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import redis

from . import changing, clearing, events, link, making, migrating, nodes, reading, refreshing, starting
from .arguments import check_integer, check_kind, check_names, check_required
from .bundle import Command
from .call import Engine, NodeIdentity, Outcome, Parcel, Replies, Steps, Unreachable
from .cluster import Errand
from .duration import Duration
from .event_stream import Events
from .operation_id import OperationId
from .partitions import MOST
from .rules import Rules
from .servers import OwnServers, Servers
from .talk import Peers, Spoken, talk
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
        self._peers = Peers()

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
        max_connections: int = link.MOST_CONNECTIONS,
        max_waiting: int = link.MOST_WAITING,
        **options: Any,
    ) -> Store:
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
            store._engine = store._run(starting.start(engine, partitions))
        except BaseException:
            store.close()
            raise
        return store

    def close(self) -> None:
        """Closes the connections, and ends all readers of events. A client that the caller passed in stays open."""
        for told in tuple(self._servers.streams):
            told.close()
        self._servers.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def events(self, start: str = "now", *, interval: Duration = 0.05) -> Events:
        """Reads the events of all sessions, in order within each partition: from `now` on, from the `beginning` of the
        kept events, or from behind a stored `position`. It polls at each `interval`, over its own connection to each
        server. Raises `Invalid` if the namespace has no events, `Forbidden` if the user may not read them."""
        return self._events(None, start, interval)

    def events_of_node(self, node: str, start: str = "now", *, interval: Duration = 0.05) -> Events:
        """Reads the events of the sessions that a node has or had: for a gateway, at a cost that does not grow with
        the number of gateways."""
        check_required(node=node)
        return self._events(node, start, interval)

    def _events(self, node: str | None, start: str, interval: Duration) -> Events:
        reader, own = events.reader(self._engine, node, interval), copy.copy(self)
        own._servers = servers = OwnServers(self._servers)
        told = Events(reader, own._run, servers.close)
        try:
            own._run(reader.begin(start))
        except BaseException:
            told.close()
            raise
        self._servers.streams.add(told)
        return told

    def new_id(self, user: str = "") -> Id:
        """Makes an id for a new session of a user, or its token, in the partition of that user."""
        check_names(user=user)
        return self._engine.partitions.new_id(self._engine.operation_id or OperationId.random(), user)

    def with_operation_id(self, operation_id: OperationId) -> Store:
        """Returns the same store, which makes each call under this operation id (an idempotency key). Use it only to
        repeat a call that ended in `Ambiguous`, with the same arguments. If that call happened, it does not happen
        again, and the repeat returns its answer; if the stored data do not prove either, it raises `Ambiguous`
        again."""
        check_kind("operation_id", operation_id, OperationId)
        store = copy.copy(self)
        store._engine = replace(self._engine, operation_id=operation_id)
        return store

    def as_node(self, identity: NodeIdentity) -> Store:
        """Returns the same store, acting for a node while that node holds its lease; a later write raises `Fenced`.
        `create` and `bind` put sessions only on that node."""
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
        deliveries, became = cluster.deliver(parcels), None
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
            servers = self._servers
            exchanges = [_Exchange(servers.pool(each.address), self._peers, servers.asks_role) for each in errands]
            # By their addresses: two calls that each had what the other waits for would wait until their deadlines.
            by_address = sorted(zip(errands, exchanges, strict=True), key=lambda pair: pair[0].address)
            for errand, exchange in by_address:
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

    def __init__(self, pool: Any, peers: Peers, asks_role: bool) -> None:
        self._pool, self._peers, self._asks_role = pool, peers, asks_role
        self._connection: Any = None
        self._talk: Any = None
        self._sent: list[Command] = []
        self._spoken: Spoken | None = None

    def begin(self, errand: Errand) -> None:
        """Sends them. Connections, because they tell what was sent from what was not, and give replies as they came."""
        taken = self._pool.take(errand.until)
        if isinstance(taken, Unreachable):
            self._spoken = Spoken(taken, keeps=True)
            return
        self._connection = taken
        self._talk = talk(self._peers.of(taken), errand.commands, self._asks_role)
        self._say()

    def _say(self) -> None:
        """Says what comes before the commands, and those themselves, whose replies are waited for later."""
        try:
            said = next(self._talk)
            while True:
                self._sent = said.commands
                try:
                    self._connection.send_packed_command(self._connection.pack_commands(self._sent))
                    if said.is_last:
                        return
                    answers = self._replies()
                except link.BROKEN as error:
                    said = self._talk.throw(error)
                else:
                    said = self._talk.send(answers)
        except StopIteration as end:
            self._spoken = end.value

    def outcome(self) -> Outcome:
        """What became of them."""
        if self._spoken is None:
            try:
                try:
                    answers = self._replies()
                except link.BROKEN as error:
                    self._talk.throw(error)
                else:
                    self._talk.send(answers)
            except StopIteration as end:
                self._spoken = end.value
        assert self._spoken is not None
        return self._spoken.outcome

    def end(self) -> None:
        """Gives the connection back."""
        if self._connection is not None:
            self._pool.give_back(self._connection, keeps=self._spoken is not None and self._spoken.keeps)

    def _replies(self) -> Replies:
        return [self._reply(self._connection) for _ in self._sent]

    @staticmethod
    def _reply(connection: Any) -> Any:
        # An answer such as LOADING or NOAUTH ends no connection: other answers follow it.
        try:
            return connection.read_response(disable_decoding=True, disconnect_on_error=False)
        except link.ANSWERS as error:
            return error
