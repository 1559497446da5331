"""One call of a store, sent until there is an answer.

Nothing here touches a socket. The steps are generators that yield commands, to be sent in one pipeline, and get the
replies, a server's error in the place of a reply; or `Lost` or `Unreachable` is raised in them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from redis.exceptions import NoScriptError

from . import errors
from .bundle import Bundle, Command, Reply
from .operation_id import OperationId
from .rules import Rules, check_required
from .server_errors import commands_at, may_have_written

T = TypeVar("T")
Commands = list[Command]
Replies = list[Any]
Steps = Generator[Commands, Any, T]

#: How often one call is sent at most.
_ATTEMPTS = 10
_NOT_EXECUTED = "not executed: the cause says why"


class Lost(Exception):
    """The commands were sent, and the connection broke before all replies were there."""


class Unreachable(Exception):
    """There is no connection to the server. Nothing was sent."""


@dataclass(frozen=True)
class NodeIdentity:
    """A process that goes by the name of a node, for as long as one lease."""

    node: str
    #: What tells this lease from those that the node had before and will have.
    lease: bytes = field(default_factory=lambda: os.urandom(8), repr=False)

    def __post_init__(self) -> None:
        check_required(node=self.node)


@dataclass(frozen=True)
class Engine:
    """What all calls of a store share."""

    bundle: Bundle
    tag: str
    rules: Rules
    #: Until when a call is sent again, in seconds.
    deadline_s: float = 2.0
    #: Stands in for the server's clock, for tests of an application.
    clock: Callable[[], int] | None = None
    #: That of a call which is repeated.
    operation_id: OperationId | None = None
    #: The node that makes the calls as the owner of what it writes.
    identity: NodeIdentity | None = None

    def named(self, node: str) -> str:
        """Where a session comes that is put at a node, or at none in particular."""
        if self.identity and node not in ("", self.identity.node):
            raise errors.Invalid("node is not that of the node that makes the call")
        return node or (self.identity.node if self.identity else "")

    def key(self, name: str, **values: str) -> str:
        """A key by its name."""
        return self.bundle.key(name, self.tag, **values)

    def now(self, time: Any) -> int:
        """The time that a pipeline read, unless a test set another."""
        return self.clock() if self.clock else int(time[0]) * 1000 + int(time[1]) // 1000


class Call:
    """One call."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.id = engine.operation_id or OperationId.random()

    def run(self, stem: str, values: dict[str, Any], members: Iterable[dict[str, str]] = ()) -> Steps[Reply]:
        """Runs a script once, though it may be sent more often: it is loaded where the server does not have it, and
        what is sent again after a lost connection does not happen again."""
        script = self.engine.bundle.scripts[stem]
        now = self.engine.clock() if self.engine.clock else None
        identity = self.engine.identity
        owner = {"as_node": identity.node, "lease_id": identity.lease} if identity else {}
        values = {**self.engine.rules.arguments(), "now_ms": now, "op_id": self.id.stored, **owner, **values}
        call = script.command(self.engine.tag, values, members)
        commands, lost = [call], None
        for _ in self._attempts():
            try:
                reply = (yield commands)[-1]
            except Lost as error:
                lost = error
                if script.effect == "reported_once":
                    break
                continue
            except Unreachable as error:
                raise self._failed(script.effect, lost) from error
            if isinstance(reply, NoScriptError):
                commands = [["SCRIPT", "LOAD", script.source], call]
            elif isinstance(reply, Exception):
                written = may_have_written(reply, self.engine.bundle.nothing_written)
                if written and script.effect != "reads":
                    raise errors.Ambiguous(self.id, stem, commands_at(script.source, reply)) from reply
                # What was lost before may have happened.
                raise self._failed(script.effect, lost) from reply
            else:
                return script.read(reply)
        raise self._failed(script.effect, lost) from lost

    def _attempts(self) -> Iterator[int]:
        until = time.monotonic() + self.engine.deadline_s
        for attempt in range(_ATTEMPTS):
            if attempt == 0 or time.monotonic() < until:
                yield attempt

    def _failed(self, effect: str, lost: Lost | None) -> errors.CloakroomError:
        if lost is not None and effect != "reads":
            return errors.Ambiguous(self.id)
        return errors.NotExecuted(_NOT_EXECUTED)

    def exchange(self, *commands: Command) -> Steps[list[Any]]:
        """Runs commands that may run any number of times. The replies may be errors of the server."""
        lost: Exception | None = None
        for _ in self._attempts():
            try:
                return (yield list(commands))  # type: ignore[no-any-return]
            except Lost as error:
                lost = error
            except Unreachable as error:
                raise errors.NotExecuted(_NOT_EXECUTED) from error
        raise errors.NotExecuted(_NOT_EXECUTED) from lost

    def read(self, what: str, *commands: Command) -> Steps[list[Any]]:
        """Runs commands that only read, the key `what` among them."""
        replies = yield from self.exchange(*commands)
        for reply in replies:
            check_reply(what, reply)
        return replies


def check_reply(what: str, reply: Any) -> None:
    """Raises the error that came in the place of a reply, of commands to the key `what`."""
    if isinstance(reply, Exception) and str(reply).startswith("WRONGTYPE"):
        raise errors.Corrupt(what)
    if isinstance(reply, Exception):
        raise errors.NotExecuted(_NOT_EXECUTED) from reply
