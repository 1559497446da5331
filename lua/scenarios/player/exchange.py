"""What a scenario expects to be asked, and what it answers."""

from __future__ import annotations

import hashlib
import threading
import time
from typing import Any

from .bundle import TAG, Bundle, Call
from .held import Held
from .redis import Redis
from .round import Round
from .wire import Failure

#: How far the server's clock is on at each call of a script, for a real server that is asked the same.
STEP_MS = 1000


class Cut(Exception):
    """The connection breaks here."""


class Exchange:
    """One scenario as it is played. Connections share it."""

    def __init__(self, bundle: Bundle, scenario: dict[str, Any], redis: Redis | None) -> None:
        self._bundle, self._redis = bundle, redis
        self._rounds = [Round(given) for given in scenario["exchange"]]
        self._any_time = [Round(given) for given in scenario.get("at_any_time", [])]
        self._time, self._began = scenario["time"], time.monotonic()
        self._loaded: set[str] = set()
        self._differences: list[str] = []
        self._held = Held()
        self._lock = threading.Lock()
        #: By operation id: when it came first.
        self._first: dict[str, int] = {}
        self._op_ids: dict[str, str] = {}
        self._asked = 0
        self._put({"{ns:p}:contract": {"string": str(bundle.contract)}} | scenario.get("stored", {}))

    def _put(self, stored: dict[str, Any]) -> None:
        for pattern, given in stored.items():
            key, value = pattern.replace("{ns:p}", TAG).encode(), self._bundle.held(given)
            self._held.put(key, value)
            if self._redis:
                self._redis.put(key, value)

    def now(self) -> int:
        """The server's time, in ms."""
        return int(self._time + (time.monotonic() - self._began) * 1000)

    def answer(self, name: str, arguments: list[bytes]) -> Any:
        """The reply to a command. Raises `Cut`."""
        with self._lock:
            return self._answer(name, arguments)

    def _answer(self, name: str, arguments: list[bytes]) -> Any:
        if name in ("EVALSHA", "EVALSHA_RO"):
            return self._script(arguments)
        if name == "SCRIPT" and arguments[0].upper() == b"LOAD":
            sha1 = hashlib.sha1(arguments[1]).hexdigest()
            self._loaded.add(sha1)
            return sha1.encode()
        if name == "TIME":
            return [b"%d" % (self.now() // 1000), b"%d" % (self.now() % 1000 * 1000)]
        if name in self._held.commands:
            key = arguments[0].decode(errors="replace") if arguments else ""
            if self._rounds and self._rounds[0].is_of_command(name, key.replace(TAG, "{ns:p}")):
                return self._play(self._rounds.pop(0))
            try:
                return self._held.commands[name](*arguments)
            except Failure as failure:
                return failure
        return self._differs(f"{name} is a command that no client needs here")

    def _script(self, arguments: list[bytes]) -> Any:
        sha1 = arguments[0].decode()
        if sha1 not in self._loaded:
            return Failure("NOSCRIPT No matching script. Please use EVAL.")
        if sha1 == self._bundle.start_sha1:
            return []
        if sha1 not in self._bundle.stems:
            return self._differs("a script was called that is not in lua/bundle.json: the client has another bundle")
        self._asked += 1
        count = int(arguments[1])
        keys, sent = arguments[2 : 2 + count], arguments[2 + count :]
        call = self._bundle.call(self._bundle.stems[sha1], keys, sent)
        for wrong in call.wrong:
            self._differs(wrong)
        chosen = next((each for each in self._any_time if not each.mismatch(call)), None) or self._next(call)
        if isinstance(chosen, Failure):
            return chosen
        if chosen.comes_too_often():
            self._differs(f"{chosen} came more often than may be")
        self._check_identity(call, chosen)
        if self._redis and chosen.executed is not None:
            self._compare(call, chosen, keys, sent)
        return self._play(chosen)

    def _next(self, call: Call) -> Round | Failure:
        while self._rounds:
            mismatch = self._rounds[0].mismatch(call)
            if not mismatch:
                return self._rounds.pop(0)
            if not self._rounds[0].may_be_left_out:
                return self._differs(f"{call.stem} was called, but {mismatch}: {call.arguments} {call.members}")
            self._rounds.pop(0)
        return self._differs(f"{call.stem} was called, but no call was left: {call.arguments} {call.members}")

    def _differs(self, what: str) -> Failure:
        self._differences.append(what)
        return Failure("ERR cloakroom: " + what.replace("\r", " ").replace("\n", " "))

    def _check_identity(self, call: Call, played: Round) -> None:
        """What holds for any call: one operation id in all rounds, and a bound from before its first attempt."""
        op_id = call.arguments.get("op_id")
        if not op_id:
            return
        if self._op_ids.setdefault(call.stem, op_id) != op_id:
            self._differs(f"{call.stem} was called again under another operation id")
        is_first = op_id not in self._first
        first = self._first.setdefault(op_id, self.now())
        bound = call.arguments.get("bound_ms")
        if isinstance(bound, int) and bound > first:
            self._differs(f"{call.stem} has the bound {bound}, and its first attempt came at {first}")
        if is_first and played.executed and played.executed[0] == "unsure":
            # It has not happened, and begins anew.
            del self._first[op_id]

    def _compare(self, call: Call, played: Round, keys: list[bytes], sent: list[bytes]) -> None:
        """Asks the Redis server, at the round's time, and with no bound that is later."""
        now = self._time + STEP_MS * self._asked
        names = [argument["name"] for argument in self._bundle.operations[call.stem]["arguments"]]
        changed = list(sent)
        changed[names.index("now_ms")] = b"%d" % now
        if "bound_ms" in names and sent[names.index("bound_ms")]:
            changed[names.index("bound_ms")] = b"%d" % min(now, int(sent[names.index("bound_ms")]))
        source = self._bundle.operations[call.stem]["source"]
        assert self._redis
        found = self._redis.answer(source, keys, changed)
        shown, expected = (self._shown(reply) for reply in (found, self._bundle.reply(played.executed or [])))
        if shown != expected:
            self._differs(f"a Redis server answers {_without(expected, shown)}, not {_without(shown, expected)}")

    def _shown(self, reply: Any) -> Any:
        """A reply of a script as it is compared, and told to people. The operation ids in a record are the client's."""
        if not isinstance(reply, list):
            return reply
        header = self._bundle.layout.header
        return [part if isinstance(part, int) else header(part) or part.decode(errors="replace") for part in reply]

    def _play(self, played: Round) -> Any:
        self._put(played.then)
        if played.forgets_scripts:
            self._loaded.clear()
        if played.is_cut:
            raise Cut
        if played.error:
            return Failure(played.error)
        return self._bundle.reply(played.executed or [])

    def finish(self) -> list[str]:
        """What differed."""
        if self._redis:
            self._redis.close()
        left = [f"{played} did not come" for played in self._rounds if not played.may_be_left_out]
        return self._differences + left


def _without(other: Any, reply: Any) -> Any:
    """A reply, of its records only what is otherwise in another."""
    if not isinstance(other, list) or not isinstance(reply, list) or len(other) != len(reply):
        return reply
    return [
        {name: value for name, value in part.items() if there.get(name) != value}
        if isinstance(part, dict) and isinstance(there, dict)
        else part
        for part, there in zip(reply, other, strict=True)
    ]
