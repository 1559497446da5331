"""Works on a namespace together with workers of other languages, or shows what is in it.

worker URL NAMESPACE SEED SECONDS    random operations; prints how many, and what they came to
worker read URL NAMESPACE            ids on standard input; prints each session
worker events URL NAMESPACE POSITION COUNT
                                     prints so many events from a position on, and then the position
worker token URL NAMESPACE           prints a new token, of a session of `ann`
worker login URL NAMESPACE           tokens on standard input; prints each session, and the token after a login
"""

from __future__ import annotations

import itertools
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Callable

import cloakroom_sessions as cloakroom
from cloakroom_sessions import Event, Rules, Session, Store, Token, Unbound

USERS = ["ann", "bob", "cy"]
CONNECTIONS = ["c1", "c2", "c3", "c4"]
NODES = ["", "n1", "n2"]
VALUES = [0, 2**53 + 1, [], {}, "žluť", None, {"deep": [1.5, {}]}]
TTLS = [0.1, 60, 60]
UNBOUND = {Unbound.DETACHED: "ok", Unbound.NOT_BOUND: "unchanged", Unbound.MISSING: "missing"}
#: A busy machine is no failure.
DEADLINE = 20.0
#: How many operations it makes at least.
LEAST = 200
#: What others' work may lead to.
TOLERATED = (
    cloakroom.Missing,
    cloakroom.Conflict,
    cloakroom.Taken,
    cloakroom.Exists,
    cloakroom.Gone,
    cloakroom.Moved,
    cloakroom.Limit,
    cloakroom.Contended,
    # The id of a session of another user, which may be in another partition.
    cloakroom.Invalid,
)


class Worker:
    """Each operation returns the word that it came to."""

    def __init__(self, url: str, namespace: str, seed: int) -> None:
        self.random = random.Random(seed)
        rules = (Rules(sessions_per_user=8, on_limit="evict_oldest"), Rules(sessions_per_user=8, on_limit="reject"))
        self.stores = [Store.connect(url, namespace=namespace, deadline=DEADLINE, rules=rule) for rule in rules]
        self.ids = ["nobody"]
        self.copies: list[Session] = []

    def run(self, seconds: float) -> Counter[str]:
        operations: list[Callable[[Store], str]] = [
            self.create,
            self.create,
            self.create,
            self.refresh,
            self.patch,
            self.rotate,
            self.bind,
            self.delete,
            self.reap,
        ]
        by_word: Counter[str] = Counter()
        until = time.monotonic() + seconds
        # However busy the machine is, it does some work.
        while time.monotonic() < until or by_word.total() < LEAST:
            operation = self.random.choice(operations)
            try:
                word = operation(self.random.choice(self.stores))
            except TOLERATED as refused:
                word = type(refused).__name__.lower()
            by_word[word] += 1
        for store in self.stores:
            store.close()
        return by_word

    def target(self, store: Store) -> Session | str:
        """A session in hand, which may be old soon, or an id, which may be of one that is gone."""
        sessions = store.list(user=self.random.choice(USERS), size=10).sessions
        if sessions and self.random.random() < 0.9:
            session = self.random.choice(sessions)
            self.ids = [*self.ids[-50:], session.id]
            self.copies = [*self.copies[-10:], session]
            targets: list[Session | str] = [session, session.id, self.random.choice(self.copies)]
            return self.random.choice(targets)
        return self.random.choice(self.ids)

    def create(self, store: Store) -> str:
        session = store.create(
            id=self.random.choice([None, None, self.random.choice(self.ids)]),
            user=self.random.choice([*USERS, ""]),
            connection=self.random.choice([*CONNECTIONS, "", ""]),
            node=self.random.choice(NODES),
            ttl=self.random.choice(TTLS),
            attributes={"value": self.random.choice(VALUES)},
        ).session
        self.ids.append(session.id)
        return "ok"

    def refresh(self, store: Store) -> str:
        method = self.random.choice([store.refresh, store.refresh_and_get])
        return "missing" if method(self.target(store)) is None else "ok"

    def patch(self, store: Store) -> str:
        target = self.target(store)
        key, version = self.random.choice("abc"), target.version if isinstance(target, Session) else None
        if self.random.random() < 0.2:
            patched = store.patch(target, remove=[key], ttl=self.random.choice(TTLS))
        else:
            patched = store.patch(target, set={key: self.random.choice(VALUES)}, version=version)
        return "ok" if patched.changed else "unchanged"

    def rotate(self, store: Store) -> str:
        rotated = store.rotate(self.target(store), user=self.random.choice([*USERS, None, None, None]))
        self.ids.append(rotated.session.id)
        return "moved" if rotated.by_another else "ok"

    def bind(self, store: Store) -> str:
        target, connection = self.target(store), self.random.choice(CONNECTIONS)
        if self.random.random() < 0.3:
            return UNBOUND[store.unbind(target, connection)]
        take_over = self.random.random() < 0.5
        bound = store.bind(target, connection, node=self.random.choice(NODES), take_over=take_over)
        return "ok" if bound.changed else "unchanged"

    def delete(self, store: Store) -> str:
        return "ok" if store.delete(self.target(store)) else "missing"

    def reap(self, store: Store) -> str:
        return "ok" if store.reap(20).sessions else "unchanged"


def canonical(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def show(session: Session | None) -> str:
    if session is None:
        return "null"
    fields = {name: getattr(session, name) for name in ("id", "user", "connection", "node", "version")}
    return canonical({**fields, "attributes": {key: session.json(key) for key in session.attributes}})


def tell_events(url: str, namespace: str, position: str, count: str) -> None:
    with Store.connect(url, namespace=namespace, deadline=DEADLINE) as store:
        told = store.events(position)
        for event in itertools.islice(told, int(count)):
            names = ("what", "why", "id", "user", "connection", "node", "version", "new_id")
            shown = {name: getattr(event, name) for name in names} if isinstance(event, Event) else {"what": "lagged"}
            print(canonical(shown))
        print(canonical({"position": told.position}))


def log_in(url: str, namespace: str) -> None:
    with Store.connect(url, namespace=namespace, deadline=DEADLINE, rules=Rules(id_scheme="token")) as store:
        for line in sys.stdin:
            token = Token.parse(line.rstrip("\n"))
            print(show(store.refresh_and_get(token)))
            made = store.rotate(token, user="bob").token
            print(canonical({"token": made and made.expose()}))


def main(arguments: list[str]) -> None:
    if arguments[0] == "events":
        return tell_events(*arguments[1:])
    if arguments[0] == "login":
        return log_in(*arguments[1:])
    if arguments[0] == "token":
        with Store.connect(
            arguments[1], namespace=arguments[2], deadline=DEADLINE, rules=Rules(id_scheme="token")
        ) as store:
            made = store.create(user="ann").token
            print(canonical({"token": made and made.expose()}))
        return
    if arguments[0] == "read":
        with Store.connect(arguments[1], namespace=arguments[2], deadline=DEADLINE) as store:
            for line in sys.stdin:
                print(show(store.get(line.rstrip("\n"))))
        return
    url, namespace, seed, seconds = arguments
    by_word = Worker(url, namespace, int(seed)).run(float(seconds))
    print(canonical({"operations": by_word.total(), "by_word": by_word}))


if __name__ == "__main__":
    main(sys.argv[1:])
