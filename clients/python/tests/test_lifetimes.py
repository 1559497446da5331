"""How long a session lives, and what a login and a logout make of that and of what is in it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from support import Clock, Connector, Server

import cloakroom_sessions as cloakroom
from cloakroom_sessions import Explanation, Removed, Rules
from cloakroom_sessions.partitions import Partitions

DAY_MS = 24 * 3600 * 1000


def elsewhere(user: str) -> str:
    """An id in another partition than a user."""
    partitions = Partitions("any", 16)
    return next(id for id in map(str, range(100)) if partitions.of(id) != partitions.of(user))


@pytest.fixture(params=[1, 16], ids=["one partition", "a login in steps"])
def limited(request: pytest.FixtureRequest, connect: Connector, clock: Clock) -> Any:
    """A store whose sessions live an hour at most."""
    return connect(clock=clock, partitions=request.param, rules=Rules(ttl=600, max_lifetime=3600))


def visitor(store: Any, **options: Any) -> Any:
    return store.create(id=elsewhere("ann"), **options).session


def test_a_duration_is_a_timedelta_or_seconds(store: Any, clock: Clock) -> None:
    for ttl in (timedelta(minutes=1), 60, 60.0):
        session = store.create(ttl=ttl).session
        assert (session.ttl, session.expires_at_ms) == (timedelta(minutes=1), clock.now_ms + 60_000)
    assert store.create(ttl=0.29).session.expires_at_ms == clock.now_ms + 290
    session.ttl = 90.5
    store.update(session)
    assert session == store.get(session.id) and session.ttl == timedelta(seconds=90.5)


def test_rules_are_equal_however_a_duration_was_given() -> None:
    assert Rules(ttl=60, grace=timedelta(hours=1)) == Rules(ttl=timedelta(minutes=1), grace=3600.0)
    assert Rules().arguments["threshold"] == 500
    assert Rules(refresh_threshold=0.0001).arguments["threshold"] == 1


def test_an_idle_timeout_is_a_ttl_that_each_use_extends() -> None:
    rules = Rules(idle_timeout=timedelta(minutes=30))
    assert rules == Rules(ttl=1800, refresh_threshold=1.0, touch_interval=60)
    assert Rules(idle_timeout=600) == Rules(ttl=600, refresh_threshold=1.0, touch_interval=30)


def test_a_patch_extends_a_session_with_an_idle_timeout(connect: Connector, clock: Clock) -> None:
    store = connect(clock=clock, rules=Rules(idle_timeout=600))
    session = store.create().session
    clock.now_ms += 60_000
    patched = store.patch(session, set={"a": 1})
    assert (patched.last_active_ms, patched.expires_at_ms) == (clock.now_ms, clock.now_ms + 600_000)


def test_one_session_may_have_a_lifetime_of_its_own(limited: Any, clock: Clock) -> None:
    session = limited.create(lifetime=timedelta(days=1)).session
    assert session.deadline_ms == clock.now_ms + DAY_MS
    assert session == limited.get(session.id)
    patched = limited.patch(session, lifetime=60)
    assert session.apply(patched) and session == limited.get(session.id)
    assert session.deadline_ms == session.expires_at_ms == clock.now_ms + 60_000


def test_of_many_each_may_have_a_lifetime_of_its_own(limited: Any, clock: Clock) -> None:
    many = limited.create_many([{"lifetime": 60}, {}, {"ttl": 7200, "lifetime": 5000}])
    assert [made.session.deadline_ms - clock.now_ms for made in many] == [60_000, 3600_000, 5000_000]
    for made in many:
        assert limited.get(made.session.id) == made.session


def test_a_login_may_change_what_is_in_the_session(limited: Any, clock: Clock) -> None:
    visit = visitor(limited, attributes={"cart": [1], "draft": 2}, extensions={"x": 1})
    login = limited.rotate(
        visit,
        user="ann",
        ttl=1200,
        lifetime=timedelta(days=30),
        set={"by": "password"},
        remove=["draft"],
        set_extensions={"y": 2},
        remove_extensions=["x"],
    ).session
    assert login.attributes == {"cart": [1], "by": "password"} and login.extensions == {"y": 2}
    assert (login.user, login.ttl) == ("ann", timedelta(minutes=20))
    assert login.deadline_ms == clock.now_ms + 30 * DAY_MS
    assert login.expires_at_ms == clock.now_ms + 1200_000
    assert limited.get(login.id) == login


def test_a_login_begins_the_longest_lifetime_anew_unless_it_keeps_the_deadline(limited: Any, clock: Clock) -> None:
    visit = visitor(limited)
    clock.now_ms += 100_000
    kept = limited.rotate(visit, user="ann", keep_deadline=True).session
    assert kept.deadline_ms == visit.deadline_ms
    renewed = limited.rotate(kept).session
    assert renewed.deadline_ms == visit.deadline_ms, "a new id alone is no login"
    limited.delete(renewed)
    clock.now_ms += 30_000
    other = visitor(limited)
    clock.now_ms += 100_000
    assert limited.rotate(other, user="ann").session.deadline_ms == clock.now_ms + 3600_000


def test_an_anonymous_rotation_is_a_logout_that_keeps_the_cart(limited: Any, clock: Clock) -> None:
    session = limited.create(user="ann", attributes={"cart": [1], "name": "Ann"}).session
    clock.now_ms += 1000
    nobody = limited.rotate(session, anonymous=True, remove=["name"]).session
    assert (nobody.user, nobody.attributes) == ("", {"cart": [1]})
    assert nobody.deadline_ms == clock.now_ms + 3600_000
    assert limited.count(user="ann") == 0
    with pytest.raises(cloakroom.Moved) as moved:
        limited.get(session.id)
    assert moved.value.new_id is None


def test_a_patch_is_applied_only_to_the_version_before_it(store: Any) -> None:
    session = store.create(attributes={"a": 1, "b": 2}, extensions={"x": 1}).session
    old = store.get(session.id)
    patched = store.patch(session, set={"a": [3]}, remove=["b"], remove_extensions=["x"], status="suspended", ttl=60)
    assert session.apply(patched) is True
    assert session == store.get(session.id)
    assert session.apply(patched) is False
    store.patch(session, set={"c": 1})
    assert old.apply(store.patch(session, set={"d": 1})) is False
    assert old.attributes == {"a": 1, "b": 2}
    unchanged = store.patch(session.id, status="suspended")
    current = store.get(session.id)
    assert not unchanged.changed and current.apply(unchanged) and current == store.get(session.id)
    # Another session takes none, though it is at that version.
    one, other = store.create().session, store.create().session
    assert other.apply(store.patch(one, set={"a": 1})) is False
    assert other == store.get(other.id)


def test_an_update_does_not_conflict_with_a_patch_that_was_applied(store: Any) -> None:
    session = store.create().session
    session.apply(store.patch(session, set={"theme": "dark"}))
    session.attributes["cart"] = [3]
    store.update(session)
    assert store.get(session.id).attributes == {"theme": "dark", "cart": [3]}


def test_a_deletion_tells_what_it_cut(store: Any) -> None:
    session = store.create(user="ann", connection="c", node="n").session
    old = store.get(session.id)
    store.bind(session.id, "d", node="m")
    assert store.delete(old) == Removed(session.id, "ann", "d", "m")
    assert store.delete(old) is None
    visitor = store.create().session
    assert store.delete_many([visitor.id, "nobody"]) == [Removed(visitor.id, "", "", ""), None]


def test_what_became_of_an_id_is_told(connect: Connector, clock: Clock, server: Server) -> None:
    store = connect(clock=clock)
    assert store.explain("never") == Explanation("unknown")
    session = store.create(user="ann", ttl=60).session
    assert store.explain(session.id) == Explanation("live")
    new = store.rotate(session).session
    assert store.explain(session.id) == Explanation("rotated", by_login=False)
    login = store.rotate(new, user="bob").session
    assert store.explain(new.id) == Explanation("rotated", by_login=True)
    store.delete(login)
    assert store.explain(login.id) == Explanation("deleted")
    old = store.create(ttl=1).session
    clock.now_ms += 1000
    assert store.explain(old.id) == Explanation("expired", at_ms=old.expires_at_ms)
    store.reap()
    assert store.explain(old.id) == Explanation("unknown")
    gone = store.create().session
    outgoing = store.freeze(gone, b"the task", "east")
    assert store.explain(gone.id) == Explanation("live")
    store.depart(gone, b"the task", outgoing.until_ms)
    assert store.explain(gone.id) == Explanation("departed", place="east")
    server.client.set(f"{connect.tag}:session:broken", "x")
    with pytest.raises(cloakroom.Corrupt):
        store.explain("broken")


def test_a_page_token_leads_to_the_next_page(store: Any) -> None:
    made = {store.create(user="ann").session.id for _ in range(3)}
    page = store.list(user="ann", size=2)
    text = page.next.expose()
    assert cloakroom.Cursor.parse(text) == page.next and page.next.id not in repr(page.next)
    rest = store.list(user="ann", size=2, after=cloakroom.Cursor.parse(text))
    assert {session.id for session in page.sessions + rest.sessions} == made
