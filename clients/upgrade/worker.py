"""A process of a service, by whichever release it is started with: random operations on sessions that it shares with
others and on some that are its own.

worker URL NAMESPACE NAME    on standard input first its state as JSON, as a worker before it left that, then a number
                             of operations per line. After each line it prints its state: what was acknowledged to it.

It ends with an error if an operation is refused, or if something is not as it was acknowledged."""

from __future__ import annotations

import json
import random
import sys
from typing import Any

from cloakroom_sessions import Session, Store

#: A busy machine is no failure.
DEADLINE_S = 20.0
USERS = ["ann", "bob", "cy"]


class Worker:
    """Its state has the value that it gave each shared session last, and what each session of its own is."""

    def __init__(self, url: str, namespace: str, name: str, state: dict[str, Any]) -> None:
        self._store = Store.connect(url, namespace=namespace, deadline=DEADLINE_S)
        self._name, self.state = name, state
        self._random = random.Random(f"{name} {state['calls']}")
        self._shared, self._own = state["shared"], state["own"]

    def run(self, operations: int) -> None:
        on_shared = [self._patch_shared, self._refresh_shared, self._read_shared, self._list]
        on_own = [self._patch, self._update, self._log_in, self._bind, self._unbind, self._delete]
        for _ in range(operations):
            self.state["calls"] += 1
            if self._random.random() < 0.5:
                self._random.choice(on_shared)(self._random.choice(list(self._shared)))
            elif len(self._own) < 10:
                self._create()
            else:
                self._random.choice(on_own)(self._random.choice(list(self._own)))

    def _patch_shared(self, id: str) -> None:
        self._store.patch(id, set={self._name: self.state["calls"]})
        self._shared[id] = self.state["calls"]

    def _refresh_shared(self, id: str) -> None:
        assert self._store.refresh(id)

    def _read_shared(self, id: str) -> None:
        assert self._found(id).attributes.get(self._name) == self._shared[id]
        for idle in self.state["idle"]:
            self._found(idle)

    def _list(self, id: str) -> None:
        page = self._store.list(user="shared", size=100)
        found = {session.id: session.attributes.get(self._name) for session in page.sessions}
        assert {id: found[id] for id in self._shared} == self._shared

    def _create(self) -> None:
        own = {"user": self._random.choice(USERS), "connection": "", "node": "", "value": self.state["calls"]}
        session = self._store.create(user=own["user"], attributes={"value": own["value"]}).session
        self._own[session.id] = own

    def _patch(self, id: str) -> None:
        self._store.patch(id, set={"value": self.state["calls"]})
        self._own[id]["value"] = self.state["calls"]

    def _update(self, id: str) -> None:
        session = self._found(id)
        own = self._own[id]
        found = {"user": session.user, "connection": session.connection, "node": session.node}
        assert found | {"value": session.attributes["value"]} == own
        session.attributes["value"] = self.state["calls"]
        self._store.update(session)
        own["value"] = self.state["calls"]

    def _log_in(self, id: str) -> None:
        user = self._random.choice(USERS)
        session = self._store.rotate(id, user=user).session
        self._own[session.id] = self._own.pop(id) | {"user": user}

    def _bind(self, id: str) -> None:
        bound = {"connection": f"{self._name}-{self.state['calls']}", "node": self._random.choice(["", "n"])}
        self._store.bind(id, bound["connection"], node=bound["node"])
        self._own[id] |= bound

    def _unbind(self, id: str) -> None:
        self._store.unbind(id, self._own[id]["connection"] or "none")
        self._own[id] |= {"connection": "", "node": ""}

    def _delete(self, id: str) -> None:
        assert self._store.delete(id)
        del self._own[id]
        assert self._store.get(id) is None

    def _found(self, id: str) -> Session:
        session = self._store.get(id)
        assert session is not None, "a session is gone"
        return session


def main() -> None:
    url, namespace, name = sys.argv[1:]
    worker = Worker(url, namespace, name, json.loads(sys.stdin.readline()))
    print("started", flush=True)
    for line in sys.stdin:
        worker.run(int(line))
        print(json.dumps(worker.state), flush=True)


if __name__ == "__main__":
    main()
