"""What a store does when it starts, as steps."""

from __future__ import annotations

import logging
from typing import Any

from redis.exceptions import NoPermissionError, NoScriptError

from . import errors
from .bundle import Command
from .call import Call, Engine, Steps, check_reply
from .rules import LONGEST_MS

#: How often the scripts are loaded, where somebody flushes them between the load and the question behind it.
_LOADS = 16

_log = logging.getLogger("cloakroom")


def start(engine: Engine) -> Steps[None]:
    """Loads the scripts, proves that the user may run all that they do, and notes their contract in the namespace.
    Raises `Forbidden` where it may not, and `LaterContract` where clients of a later one work."""
    call, key, known = Call(engine), engine.key("contract"), engine.bundle.contract
    yield from _prove(call)
    noted, stored = yield from call.exchange(["SET", key, known, "NX", "PX", LONGEST_MS], ["GET", key])
    check_reply("contract", stored)
    if stored is None:
        # A server that takes no writes, for its memory is full or it is a replica, still serves reads and logouts.
        _log.warning("the contract cannot be noted, a client of a later one would not know of this one: %s", noted)
    else:
        _check(stored, known)
        yield from call.exchange(["PEXPIRE", key, LONGEST_MS])


def _prove(call: Call) -> Steps[None]:
    """A command that is refused in the middle of a script would leave half of what that writes."""
    bundle, tag = call.engine.bundle, call.engine.tag
    sources = [script.source for script in bundle.scripts.values()] + [bundle.start.source]
    load: list[Command] = [["SCRIPT", "LOAD", source] for source in sources]
    # No script can ask for a transaction: an empty one changes nothing. The time is noted on the way, as any.
    questions: list[Command] = [*load, bundle.start.command(tag), ["MULTI"], ["EXEC"], ["TIME"]]
    for _ in range(_LOADS):
        *loaded, forbidden, multi, exec_, _time = yield from call.exchange(*questions)
        if not isinstance(forbidden, NoScriptError):
            break
    for reply in loaded:
        _check_allowed(reply, "+script|load")
    _check_allowed(forbidden, f"~{tag}:*" if " key" in str(forbidden) else "+evalsha")
    lacking = [f"+{command.decode().lower()}" for command in forbidden]
    # Of EXEC the code is that of a transaction that is discarded, and the rest says why.
    lacking += [name for name, reply in (("+multi", multi), ("+exec", exec_)) if _is_forbidden(reply)]
    if lacking:
        raise errors.Forbidden(lacking)


def _check_allowed(reply: Any, lacking: str) -> None:
    if isinstance(reply, NoPermissionError):
        raise errors.Forbidden([lacking]) from reply
    check_reply("script", reply)


def _is_forbidden(reply: Any) -> bool:
    return isinstance(reply, NoPermissionError) or (isinstance(reply, Exception) and "NOPERM" in str(reply))


def _check(stored: bytes, known: int) -> None:
    found = int(stored) if stored.isdigit() else 0
    if found > known:
        raise errors.LaterContract(found, known)
    if found != known:
        raise errors.Corrupt("contract")
