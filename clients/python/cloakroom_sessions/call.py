"""One call of a store, sent until there is an answer.

Nothing here touches a socket. The steps are generators that yield commands, to be sent in one pipeline, and get the
replies, a server's error in the place of a reply; or `Lost`, `Unsent` or `Unreachable` is raised in them.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from redis.exceptions import AuthenticationError, NoScriptError

from . import errors
from .arguments import check_bytes, check_id, check_required
from .bundle import Bundle, Command, Reply, Script, Values
from .history import History
from .operation_id import OperationId
from .partitions import Partitions
from .rules import Rules
from .server_clock import ServerClock, time_ms
from .server_errors import commands_at, is_of_replica, may_have_written

T = TypeVar("T")

#: How often one execution is sent at most.
_ATTEMPTS = 10
#: Between two attempts while there is no master: at first, each next one twice as long, and at most, in seconds.
_PAUSES_S = (0.02, 0.25)
#: How often a call begins anew because four others changed its session since it began.
_BEGINNINGS = 32
#: What proves, of a call that may have happened, that it has, or that it cannot any more. Another refusal may turn, and
#: a first attempt that comes late would be executed then.
_PROOFS = frozenset(("ok", "again", "conflict", "exists", "gone", "moved", "rotated", "departed", "need"))
_UNSURE = "the session has changed too often since then to prove it"
_NOT_EXECUTED = "not executed: the cause says why"
KEPT_CHANGING = "not executed: the session or its indexes kept changing"


@dataclass(frozen=True)
class Timed:
    """A command that is made when its connection is there, by what is known of the clock of the server at its end."""

    make: Callable[[ServerClock], Command]
    #: Whether that server is asked for its time before.
    asks: Callable[[ServerClock], bool]
    #: When it may be sent, by the steady clock.
    not_before: float | None = None


Commands = list[Command | Timed]
Replies = list[Any]


@dataclass(frozen=True)
class Parcel:
    """Commands of a call that go to one server in one pipeline: to that which has the keys of a tag."""

    tag: str
    commands: Commands
    #: Until when a connection is waited for, and when they may be sent, by the steady clock.
    until: float
    not_before: float = 0.0
    #: Whether keys that have left the server are followed to the next. Else the replies are those of the slot's owner.
    follows_keys: bool = True


class Lost(Exception):
    """The commands were sent, and the connection broke before all replies were there."""


class Unsent(Exception):
    """The connection broke before the commands were sent."""


class Unreachable(Exception):
    """There is no connection to the server. Nothing was sent."""


class Crowded(Unreachable):
    """All connections to the server were in use for as long as the call could wait, or too many calls wait for one."""


def is_for_good(failure: Exception) -> bool:
    """Whether another attempt has no better chance: the server refused the user or the password."""
    return isinstance(failure.__cause__, AuthenticationError)


#: What became of a parcel.
Outcome = Replies | Lost | Unsent | Unreachable
Steps = Generator[list[Parcel], list[Outcome], T]


@dataclass(frozen=True)
class NodeIdentity:
    """A process that goes by the name of a node, for as long as one lease: of one partition, or of each of several."""

    node: str
    #: What tells this lease from those that the node had before and will have.
    lease: bytes = field(default_factory=lambda: os.urandom(8), repr=False)
    #: Of several partitions: in which of them it holds a lease, and how often one was lost there.
    held: set[str] = field(default_factory=set, repr=False, compare=False)
    lost: dict[str, int] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_required(node=self.node)
        check_bytes("lease", self.lease, 8)

    def lease_in(self, engine: Engine) -> bytes:
        """The id of its lease in a partition: each of several has its own, and another once one was lost there."""
        if engine.is_one:
            return self.lease
        text = f"{engine.tag} {self.lost.get(engine.tag, 0)}"
        return hashlib.sha256(self.lease + text.encode()).digest()[:8]

    def lose(self, engine: Engine, lease: bytes) -> None:
        """Notes that a lease is lost: it is never renewed, and the next one there has another id."""
        self.held.discard(engine.tag)
        if lease == self.lease_in(engine):
            self.lost[engine.tag] = self.lost.get(engine.tag, 0) + 1


@dataclass(frozen=True)
class Engine:
    """What all calls of a store share."""

    bundle: Bundle
    partitions: Partitions
    rules: Rules
    #: How long after its beginning a call is retried at most, in seconds.
    deadline_s: float = 2.0
    #: Stands in for the server's clock, for tests of an application.
    clock: Callable[[], int] | None = None
    #: That of a call which is repeated.
    operation_id: OperationId | None = None
    #: The node that makes the calls as the owner of what it writes.
    identity: NodeIdentity | None = None
    #: What reads told of the server's clock, by whatever connection.
    told: ServerClock = field(default_factory=ServerClock)
    #: The one in which a call works.
    partition: int = 0
    #: When the calls of one operation end, by the steady clock. `None`: each has a deadline of its own.
    until: float | None = None
    #: One partition of each server that has some, of all tags of a namespace.
    homes: Callable[[list[str]], list[int]] = lambda tags: [0]

    @property
    def tag(self) -> str:
        """What all keys of a call begin with."""
        return self.partitions.tags[self.partition]

    @property
    def is_one(self) -> bool:
        """Whether there is one partition, in which all is."""
        return self.partitions.count == 1

    def at(self, partition: int) -> Engine:
        """The same in a partition."""
        return self if partition == self.partition else replace(self, partition=partition)

    def of_session(self, id: str) -> Engine:
        """The same in the partition of a session, by its id."""
        check_id(id)
        return self.at(self.partitions.of(id))

    def of_user(self, user: str) -> Engine:
        """The same in that of a user."""
        check_required(user=user)
        return self.at(self.partitions.of(user))

    def everywhere(self) -> list[Engine]:
        """The same in each, by one deadline."""
        bounded = self.bounded()
        return [bounded.at(partition) for partition in range(self.partitions.count)]

    def bounded(self) -> Engine:
        """The same for calls that end by one deadline."""
        return replace(self, until=self.ends())

    def ends(self) -> float:
        """When a call ends that begins now, by the steady clock."""
        return time.monotonic() + self.deadline_s if self.until is None else self.until

    def named(self, node: str) -> str:
        """Where a session comes that is put at a node, or at none in particular."""
        if self.identity and node not in ("", self.identity.node):
            raise errors.Invalid("node", "is not the node that makes the call")
        return node or (self.identity.node if self.identity else "")

    def key(self, name: str, **values: str) -> str:
        """A key by its name."""
        return self.bundle.key(name, self.tag, **values)

    def now(self, time: Any) -> int:
        """The time that a pipeline read, unless a test set another."""
        self.told.saw(time)
        return self.clock() if self.clock else time_ms(time)

    def known_time(self) -> int | None:
        """A time that the server's clock has passed, as far as that is known without asking."""
        return self.clock() if self.clock else self.told.no_later_than(time.monotonic())


class Call:
    """One call."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.id = engine.operation_id or OperationId.random()
        self._history = History(engine.operation_id)
        self._is_change = False
        #: Whether what it does is noted in a session, so that it may be asked for.
        self._is_noted = False
        #: When it ends, and when it is sent next, by the steady clock.
        self._until, self._not_before = engine.ends(), 0.0
        self._pause_s, self._was_sent = _PAUSES_S[0], False

    def changes(self) -> None:
        """It is to change something: what reads first says so before, for if a call under its operation id may have
        happened already, a server that cannot be asked proves nothing."""
        self._is_change = True

    def run(self, stem: str, values: dict[str, Any], members: Iterable[dict[str, str]] = ()) -> Steps[Reply]:
        """Runs a script once, though it may be sent more often: it is loaded where the server does not have it, and
        what is sent again after a lost connection does not happen again."""
        script = self.engine.bundle.scripts[stem]
        self._is_change = self._is_change or script.effect != "reads"
        self._is_noted = self._is_noted or script.effect == "noted"
        with self.doubting():
            return (yield from self._settled(script, values, list(members)))

    def _settled(self, script: Script, values: dict[str, Any], members: list[dict[str, str]]) -> Steps[Reply]:
        """Runs a script until it tells whether the call has happened, or proves not to be able to."""
        for _ in range(_BEGINNINGS):
            reply = yield from self._deliver(script, values, members)
            if script.effect != "noted":
                return reply
            doubt = self._history.doubt
            if reply.word != "unsure":
                if doubt is not None and reply.word not in _PROOFS:
                    raise self.ambiguous() from doubt
                return reply
            if not self._history.begin_anew():
                raise self.ambiguous(_UNSURE) from doubt
        raise errors.Contended(KEPT_CHANGING)

    def _deliver(self, script: Script, values: dict[str, Any], members: list[dict[str, str]]) -> Steps[Reply]:
        """Sends a script until there is an answer, and reads that."""
        call = self._timed(script, values, members)
        commands: Commands = [call]
        lost: Lost | None = None
        unsent: Exception = _late()
        for _ in self._attempts():
            if script.effect == "noted":
                commands[-1] = replace(call, not_before=self._history.not_before())
            try:
                reply = (yield from self._send(commands))[-1]
            except Lost as error:
                lost = error
                if script.effect != "reads":
                    self._history.lost(error)
                if script.effect == "reported_once":
                    break
                continue
            except Crowded as error:
                raise self._failed(script.effect, lost, errors.Busy()) from error
            except (Unsent, Unreachable) as error:
                unsent = error
                if not self._waits_for_a_server(error):
                    break
                continue
            if isinstance(reply, NoScriptError):
                # Not executed. Somebody may flush the scripts again, between the load and the call.
                self._was_sent = False
                if len(commands) > 1:
                    self._pause()
                unsent = reply
                commands = [["SCRIPT", "LOAD", script.source], call]
            elif is_of_replica(reply):
                # Not executed. The next connection is one to the master, or there is none.
                unsent = reply
                self._pause()
            elif isinstance(reply, Exception):
                written = may_have_written(reply, self.engine.bundle.nothing_written)
                if written and script.effect != "reads":
                    raise self.ambiguous(_stopped(script, reply)) from reply
                # What was lost before may have happened.
                raise self._failed(script.effect, lost) from reply
            else:
                return script.read(reply)
        raise self._failed(script.effect, lost) from lost or unsent

    def _send(self, commands: Commands, follows_keys: bool = True) -> Steps[Replies]:
        (outcome,) = yield [Parcel(self.engine.tag, commands, self._until, self._not_before, follows_keys)]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def _timed(self, script: Script, values: dict[str, Any], members: list[dict[str, str]]) -> Timed:
        """The command of a script. Each attempt makes it anew, for it carries a bound."""
        test_clock, identity, history = self.engine.clock, self.engine.identity, self._history
        owner: Values = {}
        if identity:
            owner = {"as_node": identity.node, "lease_id": identity.lease_in(self.engine)}

        def make(clock: ServerClock) -> Command:
            now = test_clock() if test_clock else None
            if now is None:
                history.bound_by(clock.no_later_than)
            else:
                history.bound_by_test_clock(now)
            own: Values = {"now_ms": now, "op_id": self.id.stored, "bound_ms": history.bound_ms, **owner}
            own = {**own, "events": self.engine.partitions.events}
            return script.command(self.engine.tag, {**self.engine.rules.arguments, **own, **values}, members)

        def asks(clock: ServerClock) -> bool:
            if test_clock or not script.takes_bound:
                return False
            return not clock.is_known or (script.effect == "noted" and history.asks_time)

        return Timed(make, asks)

    def _attempts(self) -> Iterator[None]:
        """Each attempt at an execution, until the deadline: at most so many, and any number at which nothing was
        sent."""
        made, self._not_before, self._pause_s = 0, 0.0, _PAUSES_S[0]
        while made < _ATTEMPTS:
            if max(time.monotonic(), self._not_before, self._history.not_before() or 0) >= self._until:
                return
            self._was_sent = True
            yield
            made += self._was_sent

    def _waits_for_a_server(self, error: Unsent | Unreachable) -> bool:
        """Whether another attempt follows one at which nothing was sent. That does not count as an attempt."""
        self._was_sent = False
        self._pause()
        return not is_for_good(error)

    def _pause(self) -> None:
        """Before the next attempt, for the server is away, or it is not the master."""
        self._not_before = time.monotonic() + self._pause_s
        self._pause_s = min(2 * self._pause_s, _PAUSES_S[1])

    def _failed(self, effect: str, lost: Lost | None, error: errors.NotExecuted | None = None) -> errors.CloakroomError:
        """The error of a call without an answer."""
        if lost is not None and effect != "reads":
            return self.ambiguous()
        return error or errors.NotExecuted(_NOT_EXECUTED)

    def ambiguous(self, why: str = errors.NO_REPLY) -> errors.Ambiguous:
        """The error of a call that may have happened."""
        return errors.Ambiguous(self.id.of_a_repeat(), why)

    def id_of_part(self, id: OperationId) -> OperationId:
        """An id of a part of the call. If that may have happened, the part may have."""
        return id if self._history.doubt is None else id.of_a_repeat()

    @property
    def doubt(self) -> Exception | None:
        """Why the call may have happened, if it may."""
        return self._history.doubt

    @property
    def is_the_only_one(self) -> bool:
        """Whether all attempts under its operation id are its own."""
        return self._history.is_of_own_id

    def check_sure(self) -> None:
        """Raises `Ambiguous` if the call may have happened."""
        if self._is_noted and self._history.doubt is not None:
            raise self.ambiguous() from self._history.doubt

    @contextmanager
    def doubting(self) -> Iterator[None]:
        """Raises `Ambiguous` for an error, if the call may have happened and the error does not prove what became of
        it."""
        try:
            yield
        except errors.CloakroomError as error:
            doubt = self._history.doubt
            if isinstance(error, errors.NotExecuted) and self._is_change and doubt is not None:
                raise self.ambiguous() from doubt
            if isinstance(error, (errors.Corrupt, errors.Missing)):
                self.check_sure()
            raise

    def exchange(self, *commands: Command, follows_keys: bool = True) -> Steps[list[Any]]:
        """Runs commands that may run any number of times. The replies may be errors of the server."""
        trouble: Exception = _late()
        with self.doubting():
            for _ in self._attempts():
                try:
                    return (yield from self._send([*commands], follows_keys))
                except Crowded as error:
                    raise errors.Busy from error
                except Lost as error:
                    trouble = error
                except (Unsent, Unreachable) as error:
                    trouble = error
                    if not self._waits_for_a_server(error):
                        break
            raise errors.NotExecuted(_NOT_EXECUTED) from trouble

    def read_at_once(self, *commands: Command) -> Steps[tuple[int, list[Any]] | None]:
        """What commands that only read answer at one instant, and that time. `None`: the server refuses that. It does
        so where a key is of a foreign type, and where its memory is full, though it would run each by itself."""
        executed = (yield from self.exchange(["MULTI"], ["TIME"], *commands, ["EXEC"]))[-1]
        if not isinstance(executed, list) or any(isinstance(reply, Exception) for reply in executed):
            return None
        time, *replies = executed
        return self.engine.now(time), replies

    def read(self, what: str, *commands: Command) -> Steps[list[Any]]:
        """Runs commands that only read, the key `what` among them."""
        replies = yield from self.exchange(*commands)
        with self.doubting():
            for reply in replies:
                check_reply(what, reply)
        return replies


def _late() -> TimeoutError:
    """Why nothing was sent, where nothing else is known."""
    return TimeoutError("the deadline has passed")


def check_reply(what: str, reply: Any) -> None:
    """Raises the error that came in the place of a reply, of commands to the key `what`."""
    if isinstance(reply, Exception) and str(reply).startswith("WRONGTYPE"):
        raise errors.Corrupt(what)
    if isinstance(reply, Exception):
        raise errors.NotExecuted(_NOT_EXECUTED) from reply


def _stopped(script: Script, error: Exception) -> str:
    """What an error out of the middle of a script says."""
    commands = commands_at(script.source, error)
    at = f" at {' or '.join(commands)}" if commands else ""
    return f"the server stopped the script {script.stem}{at}"
