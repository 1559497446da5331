"""The cases that all clients share, as two releases go through each: one makes the state, the other makes the call."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import redis
from cloakroom_sessions.bundle import Bundle, Reply
from cloakroom_sessions.record import Entry

from releases import ROOT, Release

_namespaces = itertools.count()


@dataclass(frozen=True)
class Case:
    """One of them."""

    operation: str
    name: str
    defaults: dict[str, Any]
    before: list[dict[str, Any]]
    call: dict[str, Any]


def cases() -> Iterator[Case]:
    """All of them, as they stand in lua/conformance."""
    directory = ROOT / "lua" / "conformance"
    for stem in sorted(json.loads((ROOT / "lua" / "bundle.json").read_text(encoding="utf-8"))["operations"]):
        content = json.loads((directory / f"{stem}.json").read_text(encoding="utf-8"))
        for case in content["cases"]:
            yield Case(content["operation"], case["name"], content["defaults"], case["before"], case["call"])


class Caller:
    """A release's scripts, called at a server."""

    def __init__(self, release: Release, client: Any) -> None:
        self.release, self.bundle, self._client = release, Bundle(release.bundle), client

    def call(self, tag: str, case: Case, step: dict[str, Any]) -> Reply:
        """One execution of a script."""
        spec = self.release.bundle["operations"][step["operation"]]
        script, given = self.bundle.scripts[step["operation"]], case.defaults | step["with"]
        values = {name: given.get(name, "") for name in spec["names"]}
        values |= self._encoded(spec["arguments"], given) | {"events": given.get("events")}
        group = spec.get("group", {"name": "", "arguments": []})
        members = [self._encoded(group["arguments"], member) for member in given.get(group["name"], [])]
        command = script.command(tag, values, members)
        try:
            raw = self._client.execute_command(*command)
        except redis.exceptions.NoScriptError:
            self._client.script_load(script.source)
            raw = self._client.execute_command(*command)
        return script.read(raw)

    def _encoded(self, arguments: list[dict[str, Any]], given: dict[str, Any]) -> dict[str, Any]:
        return {spec["name"]: self._argument(spec["type"], given.get(spec["name"], "")) for spec in arguments}

    def _argument(self, kind: str, value: Any) -> Any:
        if kind == "bytes":
            return bytes.fromhex("".join(value))
        if kind == "entries" and value != "":
            return self.bundle.layout.encode_entries([Entry(**entry) for entry in value])
        return value


@dataclass(frozen=True)
class Outcome:
    """What a case came to."""

    reply: Reply
    #: What all keys hold, as the releases that read it understand it.
    after: dict[str, Any]
    #: The bytes of all strings before the call and after it.
    raw_before: dict[str, bytes]
    raw_after: dict[str, bytes]


def run(case: Case, before: Caller, caller: Caller, client: Any) -> Outcome:
    """Goes through a case, and leaves nothing behind."""
    tag = f"{{upgrade-{next(_namespaces)}:0}}"
    for step in case.before:
        if "command" in step:
            parts = [bytes.fromhex(part["hex"]) if isinstance(part, dict) else part for part in step["command"]]
            client.execute_command(*(named(part, tag) for part in parts))
        else:
            before.call(tag, case, step)
    raw_before = strings(client, tag)
    reply = caller.call(tag, case, case.call)
    raw_after = strings(client, tag)
    after = {key: _held(client, caller.bundle, tag, key, raw_after) for key in keys(client, tag)}
    found = [f"{tag}{key}" for key in after]
    if found:
        client.delete(*found)
    return Outcome(reply, after, raw_before, raw_after)


def named(part: Any, tag: str) -> Any:
    """A part of a command in the namespace of its own that each run has."""
    return part.replace("{ns:p}", tag) if isinstance(part, str) else part


def keys(client: Any, tag: str) -> list[str]:
    """All keys of a namespace, without its tag."""
    found: list[bytes] = client.scan_iter(match=f"{tag}*", count=1000)
    return sorted(key.decode().removeprefix(tag) for key in found)


def strings(client: Any, tag: str) -> dict[str, bytes]:
    """All strings of a namespace."""
    names = keys(client, tag)
    values = client.mget([f"{tag}{name}" for name in names]) if names else []
    return {name: value for name, value in zip(names, values, strict=True) if value is not None}


def _held(client: Any, bundle: Bundle, tag: str, key: str, raw: dict[str, bytes]) -> Any:
    if key in raw:
        if key.startswith((":session:", ":aside:")):
            # What is broken is so in either format, and has other bytes in each.
            return bundle.layout.decode(raw[key]) or "broken"
        return raw[key]
    kind = client.type(f"{tag}{key}")
    if kind == b"zset":
        return client.zrange(f"{tag}{key}", 0, -1, withscores=True)
    if kind == b"stream":
        return [fields for _, fields in client.xrange(f"{tag}{key}")]
    return kind
