"""What a store does when it starts, as steps."""

from __future__ import annotations

import logging

from . import errors
from .call import Call, Commands, Engine, Steps, check_reply
from .rules import LONGEST_MS

_log = logging.getLogger("cloakroom")


def start(engine: Engine) -> Steps[None]:
    """Notes the contract of the scripts in the namespace, and loads them. Raises `LaterContract` where clients of a
    later one work."""
    call, key, known = Call(engine), engine.key("contract"), engine.bundle.contract
    noted, stored = yield from call.exchange(["SET", key, known, "NX", "PX", LONGEST_MS], ["GET", key])
    check_reply("contract", stored)
    if stored is None:
        # A server that takes no writes, for its memory is full or it is a replica, still serves reads and logouts.
        _log.warning("the contract cannot be noted, a client of a later one would not know of this one: %s", noted)
    else:
        _check(stored, known)
        yield from call.exchange(["PEXPIRE", key, LONGEST_MS])
    load: Commands = [["SCRIPT", "LOAD", script.source] for script in engine.bundle.scripts.values()]
    for loaded in (yield from call.exchange(*load)):
        check_reply("script", loaded)


def _check(stored: bytes, known: int) -> None:
    found = int(stored) if stored.isdigit() else 0
    if found > known:
        raise errors.LaterContract(found, known)
    if found != known:
        raise errors.Corrupt("contract")
