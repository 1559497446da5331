"""The cases that all clients share, through this client's own making of calls and reading of replies."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import redis
from invariants import violations
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
    for stem in sorted(SPEC["operations"]):
        content = json.loads((DIRECTORY / f"{stem}.json").read_text())
        for case in content["cases"]:
            name = f"{content['operation']}: {case['name']}"
            found.append(pytest.param(content.get("defaults", {}), case, id=name))
    return found


class Namespace:
    def __init__(self, client: Any) -> None:
        self.client, self.tag = client, f"{{{fresh_namespace()}:0}}"
        #: All keys that were named to the server: there are no others.
        self.named_keys: set[bytes] = set()

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
            self.named_keys.add(key)
        try:
            raw = self.client.execute_command(*command)
        except redis.exceptions.NoScriptError:
            self.client.script_load(script.source)
            raw = self.client.execute_command(*command)
        return flat(script.read(raw))

    def step(self, step: dict[str, Any], defaults: dict[str, Any]) -> None:
        if "command" in step:
            parts = [bytes.fromhex(part["hex"]) if isinstance(part, dict) else part for part in step["command"]]
            texts = [self.named(part) for part in step["command"] if isinstance(part, str)]
            self.named_keys.update(text.encode() for text in texts if text.startswith(f"{self.tag}:"))
            self.client.execute_command(*(self.named(part) if isinstance(part, str) else part for part in parts))
        else:
            assert self.call(step, defaults) == step["reply"]

    def dump(self) -> dict[str, Any]:
        held = {key: self.value(key) for key in sorted(key.decode() for key in self.named_keys)}
        return {key.replace(self.tag, "{ns:p}", 1): value for key, value in held.items() if value != {"other": "none"}}

    def check(self) -> None:
        """What holds where nothing was planted."""
        stored = self.dump()
        assert violations(stored) == []
        for key in stored:
            assert self.client.pttl(self.named(key)) > 0, f"{key} does not go by itself"

    def clear(self) -> None:
        """Leaves nothing behind."""
        self.client.delete(*self.named_keys)

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
    assert {file.stem for file in DIRECTORY.glob("*.json")} == {*SPEC["operations"], "records"}


@pytest.mark.parametrize("pair", json.loads((DIRECTORY / "records.json").read_text()), ids=lambda pair: pair["name"])
def test_a_record_is_read_or_refused(pair: dict[str, Any]) -> None:
    record = BUNDLE.layout.decode(bytes.fromhex(pair["hex"]))
    assert (record and shown(record)) == pair.get("record")


def run(client: Any, defaults: dict[str, Any], case: dict[str, Any]) -> None:
    namespace = Namespace(client)
    try:
        for step in case["before"]:
            namespace.step(step, defaults)
        before = namespace.dump()
        namespace.step(case["call"], defaults)
        assert namespace.dump() == case["after"]
        if case["call"]["reply"][0] != "ok":
            assert before == case["after"], "what is not answered ok changes nothing"
        if again := answer_again(case["call"]):
            namespace.step({**case["call"], "reply": again}, defaults)
            assert namespace.dump() == case["after"], "the same call again changes nothing more"
        if not any("command" in step for step in case["before"]):
            namespace.check()
    finally:
        namespace.clear()


@pytest.mark.parametrize(("defaults", "case"), cases())
def test_case(server: Server, defaults: dict[str, Any], case: dict[str, Any]) -> None:
    run(server.client, defaults, case)


def answer_again(call: dict[str, Any]) -> list[Any] | None:
    """What the same call answers when it is sent again; `None`: it would be another call."""
    word, *rest = call["reply"]
    if word != "ok":
        return [word, *rest]
    words = [reply["word"] for reply in SPEC["operations"][call["operation"]]["replies"]]
    return ["again" if "again" in words else "ok", *rest] if call["with"].get("op_id") else None


def test_the_cases_leave_nothing_behind(own_server: Server) -> None:
    for each in cases()[::20]:
        defaults, case = each.values
        run(own_server.client, defaults, case)
    assert own_server.client.dbsize() == 0
