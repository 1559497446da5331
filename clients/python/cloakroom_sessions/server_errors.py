"""What an error says that a call of a script ended with: whether the script may have written before, and at which
command it was."""

from __future__ import annotations

import re
from typing import TypeGuard

from redis import exceptions

#: Those whose code redis-py takes off the text; all of them say that nothing was written.
_NOTHING_WRITTEN = (
    exceptions.AskError,
    exceptions.AuthenticationError,
    exceptions.BusyLoadingError,
    exceptions.ClusterCrossSlotError,
    exceptions.ClusterDownError,
    exceptions.MasterDownError,
    exceptions.NoPermissionError,
    exceptions.NoScriptError,
    exceptions.OutOfMemoryError,
    exceptions.ReadOnlyError,
    exceptions.TryAgainError,
)
_WRONG_SERVER = (exceptions.ReadOnlyError, exceptions.BusyLoadingError, exceptions.AuthenticationError)
_WRONG_CODES = {"READONLY", "LOADING", "MASTERDOWN", "NOAUTH"}
_REPLICA = (exceptions.ReadOnlyError, exceptions.MasterDownError)
_REPLICA_CODES = {"READONLY", "MASTERDOWN"}
#: What a script raises itself, it raises before it writes.
_OWN = re.compile("^(ERR |NOPERM )?cloakroom|: cloakroom: ")
#: At the beginning; or as Redis 6.2 has it, which wraps what a command in a script ran into.
_CODE = re.compile("(?:^|: -)([A-Z]+) ")
_LINE = re.compile(r"user_script: ?(\d+)")


def is_ask(error: object) -> bool:
    """Whether the slot is on its way, and the keys are at another node."""
    # redis-py makes an error for a slot that has moved one of these, too.
    return isinstance(error, exceptions.AskError) and not isinstance(error, exceptions.MovedError)


def may_have_written(error: Exception, nothing_written: frozenset[str]) -> bool:
    """Whether a script may have written before it ended with this error: of a command that the user may not run any
    more nobody knows. `nothing_written` are the codes that the bundle names."""
    text = str(error)
    if isinstance(error, _NOTHING_WRITTEN) or _OWN.search(text):
        return False
    return nothing_written.isdisjoint(_CODE.findall(text))


def is_of_wrong_server(reply: object) -> bool:
    """Whether an answer says that the connection leads to the wrong server, or to one that is not ready; also where a
    command within a script found out, which Redis 6.2 wraps."""
    return isinstance(reply, _WRONG_SERVER) or _has_code(reply, _WRONG_CODES)


def is_forbidden(reply: object) -> bool:
    """Whether a server answered that its user may not."""
    return isinstance(reply, Exception) and ("NOPERM" in str(reply) or "permission" in str(reply))


def is_of_replica(reply: object) -> TypeGuard[Exception]:
    """Whether an answer says that the server is not the master and takes no writes; also from within a script."""
    return isinstance(reply, _REPLICA) or _has_code(reply, _REPLICA_CODES)


def _has_code(reply: object, codes: set[str]) -> bool:
    return isinstance(reply, exceptions.ResponseError) and not codes.isdisjoint(_CODE.findall(str(reply)))


def commands_at(source: str, error: Exception) -> list[str]:
    """The commands on the line that an error names. Where a fragment ran one for its caller, the error has its name."""
    found, lines = _LINE.search(str(error)), source.splitlines()
    number = int(found[1]) if found else 0
    line = lines[number - 1] if 0 < number <= len(lines) else ""
    return re.findall(r"redis\.call\('([A-Z]+)'", line) or re.findall(r"\(([A-Z]+)\)", str(error))
