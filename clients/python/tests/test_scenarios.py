"""The scenarios that all clients share: this client's whole way of a call, before a server that is played."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support import Connector, Server

import cloakroom_sessions as cloakroom
from cloakroom_sessions import CloakroomError, Rules

DIRECTORY = Path(__file__).parents[3] / "lua" / "scenarios"
#: By the words of the scenarios; the first that an error is one of.
FAILURES = {
    "ambiguous": cloakroom.Ambiguous,
    "not_executed": cloakroom.NotExecuted,
    "corrupt": cloakroom.Corrupt,
    "missing": cloakroom.Missing,
    "exists": cloakroom.Exists,
    "gone": cloakroom.Gone,
    "conflict": cloakroom.Conflict,
    "limit": cloakroom.Limit,
    "large": cloakroom.TooLarge,
    "frozen": cloakroom.Frozen,
    "taken": cloakroom.Taken,
    "departed": cloakroom.Departed,
    "rotated": cloakroom.Moved,
    "other_contract": cloakroom.OtherContract,
    "other_id_scheme": cloakroom.OtherIdScheme,
    "other_partitions": cloakroom.OtherPartitions,
    "invalid": cloakroom.Invalid,
}


def scenarios() -> list[Any]:
    found = []
    for file in sorted(DIRECTORY.glob("*.json")):
        for scenario in json.loads(file.read_text())["scenarios"]:
            found.append(pytest.param(file.name, scenario, id=f"{file.stem}: {scenario['name']}"))
    return found


class Played:
    """A store at the server of a scenario, asked in the scenario's words."""

    def __init__(self, store: Any) -> None:
        self._store = store

    def call(self, operation: str, given: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = getattr(self, operation)(**given)
        return answer

    def connect(self) -> dict[str, Any]:
        return {}

    def get(self, id: str) -> dict[str, Any]:
        return shown(self._store.get(id))

    def refresh(self, id: str) -> dict[str, Any]:
        refreshed = found(self._store.refresh(id))
        return {"id": refreshed.id, "version": refreshed.version, "changed": refreshed.changed}

    def create(self, **given: Any) -> dict[str, Any]:
        created = self._store.create(**given)
        evicted = [removed.id for removed in created.evicted]
        return {"id": created.session.id, "version": created.session.version, "evicted": evicted}

    def patch(self, id: str, set: dict[str, Any]) -> dict[str, Any]:
        patched = self._store.patch(id, set=set)
        return {"id": patched.id, "version": patched.version}

    def update(self, id: str, set: dict[str, Any]) -> dict[str, Any]:
        session = found(self._store.get(id))
        for key, value in set.items():
            session.attributes[key] = value
        self._store.update(session)
        return {"id": session.id, "version": session.version}

    def rotate(self, **given: Any) -> dict[str, Any]:
        rotated = self._store.rotate(given.pop("id"), **given)
        return {**shown(rotated.session), "by_another": rotated.by_another}

    def bind(self, id: str, connection: str, take_over: bool = False) -> dict[str, Any]:
        bound = self._store.bind(id, connection, take_over=take_over)
        reaped = [session.id for session in bound.reaped]
        return {"id": bound.id, "version": bound.version, "previous": bound.previous_connection, "reaped": reaped}

    def delete(self, id: str) -> dict[str, Any]:
        return {"deleted": self._store.delete(id) is not None}

    def delete_user(self, user: str) -> dict[str, Any]:
        return {"ids": [removed.id for removed in self._store.delete_user(user).removed]}

    def list(self, user: str, page: int) -> dict[str, Any]:
        """All pages."""
        ids, after = [], None
        while True:
            read = self._store.list(user=user, size=page, after=after)
            ids += [session.id for session in read.sessions]
            if read.next is None:
                return {"ids": ids}
            after = read.next

    def expired(self) -> dict[str, Any]:
        return {"ids": [expired.id for expired in self._store.expired()]}

    def reap(self) -> dict[str, Any]:
        reaped = self._store.reap()
        return {"ids": [session.id for session in reaped.sessions], "corrupt": reaped.corrupt}


def found(answer: Any) -> Any:
    """An answer; where there is none, no session is there."""
    if answer is None:
        raise cloakroom.Missing
    return answer


def shown(session: Any) -> dict[str, Any]:
    names = ("id", "user", "connection", "node", "status", "version")
    attributes = {key: session.attributes[key] for key in found(session).attributes}
    return {**{name: getattr(session, name) for name in names}, "attributes": attributes}


def outcome(run: Callable[[], dict[str, Any]], expected: dict[str, Any]) -> tuple[dict[str, Any], Any]:
    """What a call comes to, of an answer what the scenario names of it; and the operation id that a failure names."""
    try:
        answer = run()
    except CloakroomError as error:
        word = next((word for word, kind in FAILURES.items() if isinstance(error, kind)), type(error).__name__)
        names = {"version": "version", "live": "live", "place": "place", "key": "what"}
        told = {name: getattr(error, names[name]) for name in expected.get("told", {})}
        return {"failure": word, **({"told": told} if told else {})}, getattr(error, "operation_id", None)
    return {"answer": {name: answer[name] for name in expected.get("answer", answer)}}, None


@contextmanager
def player(file: str, name: str, *redis: str) -> Iterator[int]:
    """The port of the server of a scenario. In the end it tells what differed."""
    command = [sys.executable, "-B", str(DIRECTORY / "play"), file, name, *redis]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin and process.stdout
        port = json.loads(process.stdout.readline())["port"]
        try:
            yield port
        finally:
            process.stdin.close()
            differences = json.loads(process.stdout.readline())["differences"]
            assert differences == []


def play(connect: Connector, file: str, scenario: dict[str, Any], *redis: str) -> None:
    rules = rules_of(scenario.get("rules", {}))
    with player(file, scenario["name"], *redis) as port:
        url, deadline = f"redis://127.0.0.1:{port}", scenario.get("deadline_ms", 20_000) / 1000
        store = functools.cache(lambda: connect(url, namespace="scenario", rules=rules, deadline=deadline))
        try:
            op_id = None
            for call in scenario["calls"]:
                expected = {name: call[name] for name in ("answer", "failure", "told") if name in call}
                came_to, op_id = outcome(functools.partial(make, store, call, op_id), expected)
                assert came_to == expected, call
        finally:
            connect.close_stores()


def rules_of(told: dict[str, Any]) -> Rules:
    """The rules of a scenario, which have the names of the scripts' arguments."""
    on_limit: Any = {"reject": "reject", "evict": "evict_oldest"}[told.get("policy", "reject")]
    touch_interval = told.get("touch_ms", 0) / 1000
    return Rules(touch_interval=touch_interval, sessions_per_user=told.get("limit"), on_limit=on_limit)


def make(store: Callable[[], Any], call: dict[str, Any], op_id: Any) -> dict[str, Any]:
    """Makes a call, with the store that there has to be for it."""
    at = store().with_operation_id(op_id) if call.get("repeats") else store()
    return Played(at).call(call["operation"], call.get("with", {}))


@pytest.mark.parametrize(("file", "scenario"), scenarios())
def test_scenario(connect: Connector, file: str, scenario: dict[str, Any]) -> None:
    play(connect, file, scenario)


@pytest.mark.parametrize(("file", "scenario"), [each for each in scenarios() if "invented" not in each.values[1]])
def test_a_server_answers_as_the_scenario_says(server: Server, file: str, scenario: dict[str, Any]) -> None:
    connector = Connector("threads", server.url)
    try:
        play(connector, file, scenario, str(server.port))
    finally:
        connector.close()
