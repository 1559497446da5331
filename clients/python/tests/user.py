"""What a service writes, as its type checker sees it and as it runs."""

from __future__ import annotations

import asyncio
import sys
from datetime import timedelta

import redis
import redis.asyncio

from cloakroom_sessions import (
    Ambiguous,
    AsyncStore,
    Busy,
    CloakroomError,
    Conflict,
    Created,
    Cursor,
    Entries,
    Event,
    Explanation,
    Invalid,
    Lagged,
    Missing,
    NewSession,
    NodeIdentity,
    NotExecuted,
    Page,
    Patched,
    Refreshed,
    Refused,
    Removed,
    Rotated,
    Rules,
    Session,
    Store,
    Token,
)

RULES = Rules(idle_timeout=timedelta(minutes=30), max_lifetime=12 * 3600, sessions_per_user=5, on_limit="evict_oldest")


def login(store: Store, visit: Session) -> Session:
    rotated: Rotated = store.rotate(visit, user="ann", lifetime=timedelta(days=30), set={"by": "password"})
    connections: list[str] = [removed.connection for removed in rotated.evicted]
    assert connections == []
    return rotated.session


def change(store: Store, session: Session) -> None:
    try:
        patched: Patched = store.patch(session, set={"theme": "dark"}, version=session.version)
    except Conflict as conflict:
        version: int = conflict.version
        raise AssertionError(version) from None
    except (NotExecuted, Busy, Ambiguous, Missing, Refused, CloakroomError):
        raise
    assert session.apply(patched)
    session.attributes["cart"] = ["umbrella"]
    session.ttl = timedelta(minutes=10)
    store.update(session)


def serve(store: Store) -> str:
    new: NewSession = {"user": "bob", "ttl": 60.0, "attributes": {"a": 1}}
    many: list[Created | CloakroomError] = store.create_many([new])
    assert all(isinstance(made, Created) for made in many)
    visit: Session = store.create(attributes={"cart": []}).session
    session = login(store, visit)
    change(store, session)
    refreshed: Refreshed | None = store.refresh(session.id)
    assert refreshed is not None
    page: Page = store.list(user="ann", size=10)
    after: Cursor | None = page.next
    assert after is None
    explained: Explanation = store.explain(session.id)
    attributes: Entries = page.sessions[0].attributes
    removed: Removed | None = store.delete(session)
    assert removed is not None and explained.word == "live"
    return f"{removed.user} {attributes['cart']}"


def told(store: Store) -> list[str]:
    words = []
    try:
        with store.events("beginning", interval=0.01) as events:
            for event in events:
                match event:
                    case Lagged(partition=partition):
                        words.append(str(partition))
                    case Event(what=what):
                        words.append(what)
    except Invalid as error:
        words.append(error.field)
    return words


async def beside(url: str) -> str:
    client = redis.asyncio.Redis.from_url(url)
    async with await AsyncStore.connect(client, namespace="aside", rules=Rules(id_scheme="token")) as store:
        made: Created = await store.create(user="cid")
        token: Token | None = made.token
        assert token is not None
        session: Session | None = await store.refresh_and_get(token)
        await store.heartbeat(NodeIdentity("gateway"), "register", lease=timedelta(seconds=15))
        assert session is not None and session.user == "cid"
        answers = await asyncio.gather(store.count(user="cid"), store.delete(token))
    await client.aclose()
    return f"{answers[0]} {answers[1] is not None}"


def main(url: str) -> None:
    client = redis.Redis.from_url(url)
    with Store.connect(
        client, namespace="shop", rules=RULES, max_connections=4, deadline=timedelta(seconds=2)
    ) as store:
        print(serve(store), *told(store), asyncio.run(beside(url)))
    client.close()


if __name__ == "__main__":
    main(sys.argv[1])
