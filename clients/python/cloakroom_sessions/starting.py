"""What a store does when it starts, as steps."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

from redis.exceptions import NoPermissionError, NoScriptError, TryAgainError

from . import errors
from .bundle import Command
from .call import Call, Engine, Lost, Steps, Unreachable, Unsent, check_reply
from .duration import LONGEST_MS
from .partitions import MOST, Partitions, first_tag
from .server_errors import is_ask, is_forbidden
from .together import together

#: How often the scripts are loaded, where somebody flushes them between the load and the question behind it.
_LOADS = 16

#: Scripts that are of no use here, for this client reads by commands and repairs nothing.
_NOT_CALLED = frozenset(("get", "mend_key", "mend_node", "mend_record", "mend_session"))

_log = logging.getLogger("cloakroom_sessions")


def start(engine: Engine, wanted: int | None) -> Steps[Engine]:
    """Loads the scripts, proves that the user may run all that they do, and notes their contract in each partition of
    the namespace, with the number of those where it is not 1. Returns the engine with the partitions that there are,
    which tells events where those of the namespace are told.
    Raises `Forbidden` where it may not, `OtherContract` where one is noted that this client does not go with,
    `OtherPartitions` where there is another number of them than is `wanted`, and `OtherIdScheme` where ids are not made
    as the rules say."""
    yield from _prove(engine)
    # The partition of the tag 0 comes first, which namespaces of all numbers have: who is refused there has noted
    # nothing anywhere.
    count, events = yield from _note(engine, wanted, 0)
    partitions = Partitions(engine.partitions.namespace, count, events, engine.rules.id_scheme)
    engine = replace(engine, partitions=partitions)
    # Of a cluster one of the masters has to answer. Scripts are loaded by the calls that find another back.
    homes = engine.homes([first_tag(partitions.namespace), *partitions.tags])[1:]
    proofs = [_prove(engine.at(place - 1)) for place in homes]
    others = [engine.at(partition) for partition in range(partitions.count) if partition != partitions.first]
    notes = [_note(each, count, events) for each in others]
    for outcome in (*(yield from together(proofs)), *(yield from together(notes))):
        if isinstance(outcome, errors.CloakroomError) and not _is_away(outcome):
            raise outcome
    return engine


def _is_away(error: errors.CloakroomError) -> bool:
    """Whether there was no server that is the master, or it did not answer."""
    return isinstance(error, errors.NotExecuted) and isinstance(error.__cause__, (Lost, Unsent, Unreachable))


def _note(engine: Engine, wanted: int | None, events: int) -> Steps[tuple[int, int]]:
    """Notes the contract in a partition where none is, or one before it that goes with it, and tells how many
    partitions there are, and how many events each keeps."""
    key, bundle, scheme = engine.key("contract"), engine.bundle, engine.rules.id_scheme
    count = wanted or 1
    # What is not the default; and what comes before that.
    more = [*([scheme] if scheme != "uuid" else []), *([str(events)] if events else [])]
    note = " ".join([str(bundle.contract), *([str(count)] if count > 1 or more else []), *more])
    noted, stored = yield from Call(engine).exchange(["SET", key, note, "NX", "PX", LONGEST_MS], ["GET", key])
    check_reply("contract", stored)
    if stored is None:
        # A server that takes no writes, for its memory is full or it is a replica, still serves reads and logouts.
        _log.warning("the contract cannot be noted, a client of a later one would not know of this one: %s", noted)
        return count, events
    contract, found, noted_scheme, events = _read(stored, bundle.accepts)
    if wanted is not None and found != wanted:
        raise errors.OtherPartitions(found, wanted)
    if noted_scheme != scheme:
        raise errors.OtherIdScheme(noted_scheme, scheme)
    if contract < bundle.contract:
        # From now on no client starts that does not know this one. The rest of the note stays. Whoever starts at the
        # same time writes the same, for one release at a time is the next.
        _, *rest = stored.split(b" ")
        raised = b" ".join([str(bundle.contract).encode(), *rest])
        renewal: Command = ["SET", key, raised, "XX", "PX", LONGEST_MS]
    else:
        renewal = ["PEXPIRE", key, LONGEST_MS]
    # A call of its own: where a master is away, the questions of all partitions together had taken their whole time.
    yield from Call(engine).exchange(renewal)
    return found, events


def _prove(engine: Engine) -> Steps[None]:
    """A command that is refused in the middle of a script would leave half of what that writes."""
    bundle, tag, call = engine.bundle, engine.tag, Call(engine)
    sources = [script.source for stem, script in bundle.scripts.items() if stem not in _NOT_CALLED]
    sources.append(bundle.start.source)
    load: list[Command] = [["SCRIPT", "LOAD", source] for source in sources]
    # No script can ask for a transaction: an empty one changes nothing. The time is noted on the way, as any.
    questions: list[Command] = [*load, bundle.start.command(tag), ["MULTI"], ["EXEC"], ["TIME"]]
    for _ in range(_LOADS):
        *loaded, forbidden, multi, exec_, _time = yield from call.exchange(*questions, follows_keys=False)
        if not isinstance(forbidden, NoScriptError):
            break
    if isinstance(forbidden, TryAgainError) or is_ask(forbidden):
        return  # its slot is on its way, where no script on several new keys is served
    for reply in loaded:
        _check_allowed(reply, "+script|load")
    _check_allowed(forbidden, f"~{tag}:*" if " key" in str(forbidden) else "+evalsha")
    lacking = [f"+{command.decode().lower()}" for command in forbidden]
    # Of EXEC the code is that of a transaction that is discarded, and the rest says why.
    lacking += [name for name, reply in (("+multi", multi), ("+exec", exec_)) if is_forbidden(reply)]
    if lacking:
        raise errors.Forbidden(lacking)


def _check_allowed(reply: Any, lacking: str) -> None:
    if isinstance(reply, NoPermissionError):
        raise errors.Forbidden([lacking]) from reply
    check_reply("script", reply)


def _read(stored: bytes, accepts: list[int]) -> tuple[int, int, str, int]:
    """The noted contract, how many partitions there are, how ids are made and how many events are kept."""
    contract, *rest = stored.split(b" ")
    if not contract.isdigit():
        raise errors.Corrupt("contract")
    noted = int(contract)
    # What another one writes behind its number nobody knows here.
    if noted > 0 and noted not in accepts:
        raise errors.OtherContract(noted, max(accepts))
    scheme = rest.pop(1) if len(rest) > 1 and not rest[1].isdigit() else b"uuid"
    if scheme not in (b"uuid", b"token") or len(rest) > 2 or not all(number.isdigit() for number in rest):
        raise errors.Corrupt("contract")
    count = int(rest[0]) if rest else 1
    if noted == 0 or not 1 <= count <= MOST:
        raise errors.Corrupt("contract")
    return noted, count, scheme.decode(), int(rest[1]) if len(rest) > 1 else 0
