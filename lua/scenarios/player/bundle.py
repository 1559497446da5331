"""What the bundle says of a call: which script it is, what its arguments are named, which keys it has to declare."""

from __future__ import annotations

import re
from typing import Any

from .record import Layout

#: The namespace of every scenario, of one partition.
TAG = "{scenario:0}"
_NAMES = re.compile("<([^>]+)>")


class Call:
    """A call of a script, by the names of the bundle."""

    def __init__(self, stem: str, arguments: dict[str, Any], members: list[dict[str, Any]], wrong: list[str]) -> None:
        self.stem, self.arguments, self.members = stem, arguments, members
        #: What is wrong with its form.
        self.wrong = wrong


class Bundle:
    """The bundle."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.layout = Layout(spec["record"], spec["record_format"])
        self.contract: int = spec["contract"]
        self.start_sha1: str = spec["start"]["sha1"]
        self.operations: dict[str, dict[str, Any]] = spec["operations"]
        self.stems = {operation["sha1"]: stem for stem, operation in self.operations.items()}
        self._unnamed = spec["unnamed"]

    def held(self, value: Any) -> bytes | dict[bytes, float] | list[bytes] | None:
        """What a key holds, as a case writes it."""
        if value is None:
            return None
        if "record" in value:
            return self.layout.record(value["record"])
        if "zset" in value:
            return {member.encode(): float(score) for member, score in value["zset"].items()}
        if "string" in value:
            return str(value["string"]).encode()
        return bytes.fromhex(value["hex"]) if "hex" in value else [b"foreign"]

    def reply(self, parts: list[Any]) -> list[Any]:
        """A script's reply, as a case writes it."""
        return [
            part if isinstance(part, int) else part.encode() if isinstance(part, str) else self.held(part)
            for part in parts
        ]

    def call(self, stem: str, keys: list[bytes], sent: list[bytes]) -> Call:
        """A call by its keys and arguments, and what is wrong with them."""
        operation = self.operations[stem]
        group = operation.get("group", {"keys": [], "arguments": []})
        count, each = len(operation["arguments"]), len(group["arguments"])
        surplus = len(sent) - count
        if surplus < 0 or (surplus % each if each else surplus):
            return Call(stem, {}, [], [f"{stem} has {len(sent)} arguments"])
        arguments = self._named(operation["arguments"], sent[:count])
        members = [self._named(group["arguments"], sent[at : at + each]) for at in range(count, len(sent), each or 1)]
        patterns = [(key["pattern"], arguments) for key in operation["keys"]]
        patterns += [(key["pattern"], member) for member in members for key in group["keys"]]
        if len(patterns) != len(keys):
            return Call(stem, arguments, members, [f"{stem} declares {len(keys)} keys, not {len(patterns)}"])
        wrong = []
        for (pattern, values), key in zip(patterns, keys, strict=True):
            _learn(pattern, key.decode(errors="replace"), values)
            expected = self._key(pattern, values)
            if expected != key.decode(errors="replace"):
                wrong.append(f"{stem} declares {key.decode(errors='replace')} where {expected} belongs")
        return Call(stem, arguments, members, wrong)

    def _named(self, specs: list[dict[str, Any]], sent: list[bytes]) -> dict[str, Any]:
        return {spec["name"]: self._value(spec["type"], raw) for spec, raw in zip(specs, sent, strict=True)}

    def _value(self, kind: str, raw: bytes) -> Any:
        if kind == "integer":
            return int(raw) if raw.isdigit() else raw.decode(errors="replace")
        if kind == "entries":
            return self.layout.read_entries(raw)
        return raw.hex() if kind in ("bytes", "operations") else raw.decode(errors="replace")

    def _key(self, pattern: str, values: dict[str, Any]) -> str:
        is_named = all(_first(names, values) for names in _NAMES.findall(pattern))
        chosen = pattern if is_named else self._unnamed
        return _NAMES.sub(lambda match: _first(match[1], values), chosen.replace("{ns:p}", TAG))


def _first(names: str, values: dict[str, Any]) -> str:
    return next((str(values[name]) for name in names.split("|") if values.get(name)), "")


def _learn(pattern: str, key: str, values: dict[str, Any]) -> None:
    """Notes the names of a pattern that no argument has, as the id of `get`."""
    holes = _NAMES.findall(pattern)
    if all(hole in values or "|" in hole for hole in holes):
        return
    shape = re.escape(pattern.replace("{ns:p}", TAG)).replace("<kind>", "(user|node)")
    found = re.fullmatch(_NAMES.sub("(.*)", shape), key, re.DOTALL)
    if found:
        for hole, value in zip(holes, found.groups(), strict=True):
            values.setdefault(hole, value)
