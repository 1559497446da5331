"""The cases that all clients share, through this client's own making of calls and reading of replies."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import redis
from support import Server, fresh_namespace

from cloakroom_sessions import bundle
from cloakroom_sessions.bundle import Reply
from cloakroom_sessions.record import Entry, Record

DIRECTORY = Path(__file__).parents[3] / "lua" / "conformance"
BUNDLE = bundle.load()
NAMELESS = re.compile(rb":(user|connection|node)::(sessions?|lease|events)$")
SPEC = json.loads((DIRECTORY.parent / "bundle.json").read_text())


def cases() -> list[Any]:
    found = []
    for file in sorted(DIRECTORY.glob("*.json")):
        content = json.loads(file.read_text())
        for case in content["cases"]:
            name = f"{content['operation']}: {case['name']}"
            found.append(pytest.param(content.get("defaults", {}), case, id=name))
    return found


class Namespace:
    def __init__(self, client: Any) -> None:
        self.client, self.tag = client, f"{{{fresh_namespace()}:0}}"

    def named(self, text: str) -> str:
        return text.replace("{ns:p}", self.tag)

    def call(self, step: dict[str, Any], defaults: dict[str, Any]) -> list[Any]:
        """One execution of a script, as this client makes it."""
        script, spec = BUNDLE.scripts[step["operation"]], SPEC["operations"][step["operation"]]
        given = defaults | step["with"]
        values = {argument["name"]: given.get(argument["name"], "") for argument in spec["arguments"]}
        values |= {name: given.get(name, "") for name in spec["names"]}
        values["events"] = given.get("events")
        for argument in spec["arguments"]:
            values[argument["name"]] = encoded(argument["type"], values[argument["name"]])
        members = given.get(spec["group"]["name"], []) if "group" in spec else []
        kinds = {argument["name"]: argument["type"] for argument in spec.get("group", {}).get("arguments", [])}
        members = [{name: encoded(kinds[name], value) for name, value in member.items()} for member in members]
        command = script.command(self.tag, values, members)
        for key in command[3 : 3 + int(command[2])]:
            assert isinstance(key, bytes) and not NAMELESS.search(key), "no key of an empty name is sent"
        try:
            raw = self.client.execute_command(*command)
        except redis.exceptions.NoScriptError:
            self.client.script_load(script.source)
            raw = self.client.execute_command(*command)
        return flat(script.read(raw))

    def step(self, step: dict[str, Any], defaults: dict[str, Any]) -> None:
        if "command" in step:
            parts = [bytes.fromhex(part["hex"]) if isinstance(part, dict) else part for part in step["command"]]
            self.client.execute_command(*(self.named(part) if isinstance(part, str) else part for part in parts))
        else:
            assert self.call(step, defaults) == step["reply"]

    def dump(self) -> dict[str, Any]:
        pattern = self.tag + "*"
        keys = sorted(key.decode() for key in self.client.scan_iter(match=pattern, count=1000))
        return {key.replace(self.tag, "{ns:p}", 1): self.value(key) for key in keys}

    def value(self, key: str) -> dict[str, Any]:
        kind = self.client.type(key).decode()
        if kind == "zset":
            return {
                "zset": {member.decode(): score for member, score in self.client.zrange(key, 0, -1, withscores=True)}
            }
        if kind == "stream":
            return {"stream": [told(fields) for _, fields in self.client.xrange(key)]}
        if kind != "string":
            return {"other": kind}
        raw = self.client.get(key)
        record = BUNDLE.layout.decode(raw)
        if record is not None and key.startswith((f"{self.tag}:session:", f"{self.tag}:aside:")):
            return {"record": shown(record)}
        try:
            return {"string": raw.decode()}
        except UnicodeDecodeError:
            return {"hex": raw.hex()}


def told(fields: dict[bytes, bytes]) -> dict[str, str]:
    """An event, by its fields that are not empty."""
    return {name.decode(): value.decode() for name, value in fields.items() if value}


def encoded(kind: str, value: Any) -> Any:
    if kind == "bytes":
        return bytes.fromhex("".join(value))
    if kind == "entries" and value != "":
        return BUNDLE.layout.encode_entries([Entry(**entry) for entry in value])
    return value


def flat(reply: Reply) -> list[Any]:
    words = [reply.word, reply.kind] if reply.kind else [reply.word]
    rest = [value for repeated in reply.rest for group in repeated for value in group]
    return [
        {"record": shown(value)} if isinstance(value, Record) else value
        for value in [*words, *reply.fields.values(), *rest]
    ]


def shown(record: Record) -> dict[str, Any]:
    fields = asdict(record)
    op_ids = fields.pop("op_ids").hex()
    fields["operations"] = [op_ids[at : at + 16] for at in range(0, 64, 16)]
    fields["entries"] = [entry._asdict() for entry in record.entries]
    fields["task"] = record.task.hex()
    if record.freeze:
        fields["freeze"]["task"] = record.freeze.task.hex()
    kinds = {"live": {"entries"}, "departed": {"task", "place"}}
    told = kinds.get(record.kind, {"new_id"}) | ({"freeze"} if record.freeze else set())
    for name in {"entries", "new_id", "freeze", "task", "place"} - told:
        del fields[name]
    return fields


def test_there_are_cases_of_every_operation() -> None:
    assert {file.stem for file in DIRECTORY.glob("*.json")} == set(SPEC["operations"])


@pytest.mark.parametrize(("defaults", "case"), cases())
def test_case(server: Server, defaults: dict[str, Any], case: dict[str, Any]) -> None:
    namespace = Namespace(server.client)
    for step in case["before"]:
        namespace.step(step, defaults)
    namespace.step(case["call"], defaults)
    assert namespace.dump() == case["after"]
