"""Every operation through the stores, of both flavours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from support import Clock, Connector, Server

import cloakroom_sessions as cloakroom
from cloakroom_sessions import Imported, NodeIdentity, Rules, Unbound


def test_a_created_session_is_read_as_it_was_made(store: Any, clock: Clock) -> None:
    made = store.create(user="ann", connection="c", node="n", attributes={"a": 1}, extensions={"x": [2]})
    assert made.evicted == [] and made.reaped == []
    assert made.session == store.get(made.session.id)
    assert (made.session.version, made.session.created_at_ms) == (1, clock.now_ms)
    assert made.session.expires_at_ms == clock.now_ms + Rules().ttl_ms
    assert (made.session.attributes["a"], made.session.extensions["x"]) == (1, [2])


def test_ids_are_uuids_of_version_four(store: Any) -> None:
    one, two = store.create().session.id, store.create().session.id
    assert one != two
    assert len(one) == 36 and one[14] == "4" and one[19] in "89ab"


def test_a_live_id_exists_and_a_deleted_one_is_gone(store: Any, clock: Clock) -> None:
    store.create(id="s")
    with pytest.raises(cloakroom.Exists):
        store.create(id="s")
    assert store.delete("s").id == "s"
    assert store.delete("s") is None
    assert store.get("s") is None
    with pytest.raises(cloakroom.Gone):
        store.create(id="s")
    clock.now_ms += 30_000
    assert store.create(id="s").session.version == 1


def test_a_lifetime_sets_a_deadline(connect: Connector, clock: Clock) -> None:
    store = connect(clock=clock, rules=Rules(ttl=1, max_lifetime=1.5, refresh_threshold=1.0))
    session = store.create().session
    assert session == store.get(session.id)
    clock.now_ms += 900
    assert store.refresh(session).expires_at_ms == session.deadline_ms == clock.now_ms + 600


def test_update_saves_what_was_set_and_moves_the_indexes(store: Any) -> None:
    session = store.create(user="ann", connection="c", node="n", attributes={"a": 1}).session
    session.user, session.connection, session.status = "bob", "d", "suspended"
    session.attributes["b"] = 2
    del session.attributes["a"]
    store.update(session)
    assert session.version == 2
    assert session == store.get(session.id)
    assert store.count(user="ann") == 0 and store.count(user="bob") == 1
    assert store.session_by_connection("c") is None
    assert store.session_by_connection("d") == session
    session.user = "cy"
    store.update(session)
    assert store.count(user="cy") == 1


def test_update_of_an_old_version_conflicts_and_names_the_new_one(store: Any) -> None:
    session = store.create().session
    store.patch(session, set={"a": 1})
    with pytest.raises(cloakroom.Conflict) as refused:
        store.update(session)
    assert refused.value.version == 2


def test_patch_sets_and_removes_and_tells_when_nothing_changed(store: Any, clock: Clock) -> None:
    session = store.create(attributes={"a": 1, "b": 2}, extensions={"x": 3}).session
    patched = store.patch(
        session, set={"c": [3]}, remove=["a"], set_extensions={"y": {}}, remove_extensions=["x"], status="suspended"
    )
    assert (patched.version, patched.changed) == (2, True)
    read = store.get(session.id)
    assert read.attributes == {"b": 2, "c": [3]} and read.extensions == {"y": {}}
    assert read.status == "suspended"
    assert store.patch(session.id, status="suspended").changed is False
    assert store.patch(session.id, ttl=5).expires_at_ms == clock.now_ms + 5000
    with pytest.raises(cloakroom.Conflict):
        store.patch(session, set={"c": 4}, version=1)


def test_a_patch_that_makes_a_session_too_large_is_refused(connect: Connector) -> None:
    store = connect(rules=Rules(session_bytes=100))
    session = store.create(attributes={"a": "x" * 50}).session
    with pytest.raises(cloakroom.TooLarge):
        store.patch(session, set={"b": "x" * 50})
    with pytest.raises(cloakroom.TooLarge):
        store.create(attributes={"a": "x" * 100})


def test_refresh_extends_a_live_session_and_revives_none(store: Any, clock: Clock) -> None:
    session = store.create(ttl=1).session
    clock.now_ms += 800
    refreshed = store.refresh(session.id)
    assert (refreshed.id, refreshed.version, refreshed.changed) == (session.id, 1, True)
    assert refreshed.expires_at_ms == clock.now_ms + 1000
    assert store.refresh_and_get(session) == store.get(session.id)
    clock.now_ms += 1000
    assert store.refresh(session) is None
    assert store.refresh_and_get(session.id) is None
    assert store.get(session.id) is None


def test_a_refresh_within_the_touch_interval_is_a_read(connect: Connector, clock: Clock, server: Server) -> None:
    store = connect(clock=clock, rules=Rules(ttl=10, touch_interval=1))
    session = store.create().session

    def scripts(use: Callable[[Any], Any], target: Any) -> tuple[int, Any]:
        before = server.client.info("commandstats")["cmdstat_evalsha"]["calls"]
        answer = use(target)
        return server.client.info("commandstats")["cmdstat_evalsha"]["calls"] - before, answer

    made_at = clock.now_ms
    for used in [-999, 0, 999]:
        clock.now_ms = made_at + used
        assert scripts(store.refresh_and_get, session) == (0, session)
        for target in [session, session.id]:
            count, refreshed = scripts(store.refresh, target)
            assert (count, refreshed.changed, refreshed.last_active_ms) == (0, False, made_at)
            assert (refreshed.id, refreshed.expires_at_ms) == (session.id, session.expires_at_ms)
    clock.now_ms = made_at + 1000
    count, refreshed = scripts(store.refresh, session.id)
    assert (count, refreshed.changed, refreshed.last_active_ms) == (1, True, clock.now_ms)

    short = store.create(ttl=1.5).session
    clock.now_ms += 499
    assert scripts(store.refresh, short.id)[0] == 0
    clock.now_ms += 1
    assert scripts(store.refresh, short.id)[0] == 1, "a touch interval more would be its end"
    store.delete(short)
    assert scripts(store.refresh_and_get, short.id) == (0, None)
    frozen = store.create().session
    store.freeze(frozen, b"8 bytes.", "west")
    for use in [store.refresh, store.refresh_and_get]:
        with pytest.raises(cloakroom.Frozen):
            use(frozen)


def test_an_id_that_was_rotated_away_leads_to_the_session_once(store: Any) -> None:
    session = store.create(user="ann", attributes={"a": 1}).session
    rotated = store.rotate(session)
    assert rotated.session.id != session.id and not rotated.by_another
    assert store.get(session.id) == rotated.session
    assert store.refresh(session.id).id == rotated.session.id
    assert store.patch(session, set={"a": 2}).id == rotated.session.id
    assert store.rotate(session).by_another
    second = store.rotate(rotated.session.id, new_id="second").session
    assert second.id == "second" and second.attributes == {"a": 2}
    assert store.get(session.id) is None
    assert store.refresh(session.id) is None
    with pytest.raises(cloakroom.Missing):
        store.patch(session, set={"a": 3})
    with pytest.raises(cloakroom.Moved) as refused:
        store.create(id=session.id)
    assert refused.value.new_id == rotated.session.id


def test_an_update_follows_a_rotation(store: Any) -> None:
    session = store.create(user="ann").session
    new_id = store.rotate(session).session.id
    session.version += 1
    session.attributes["a"] = 1
    store.update(session)
    assert session.id == new_id and session == store.get(new_id)


def test_after_a_login_by_rotation_the_old_id_leads_nowhere(store: Any) -> None:
    visit = store.create(attributes={"cart": ["umbrella"]}).session
    session = store.rotate(visit, user="ann").session
    assert (session.user, session.attributes["cart"]) == ("ann", ["umbrella"])
    for refused in (store.get, store.refresh, store.refresh_and_get, store.rotate):
        with pytest.raises(cloakroom.Moved) as moved:
            refused(visit.id)
        assert moved.value.new_id is None
    assert store.delete_user("eve", keep=visit.id).removed == []
    assert store.count(user="ann") == 1
    with pytest.raises(cloakroom.Exists):
        store.rotate(session, new_id=session.id)


def test_bind_tells_what_was_bound_before_and_unbind_is_only_for_that(store: Any) -> None:
    session = store.create(connection="a", node="n1").session
    bound = store.bind(session, "b", node="n2")
    assert (bound.previous_connection, bound.previous_node, bound.changed) == ("a", "n1", True)
    assert store.bind(session.id, "b", node="n2").changed is False
    assert store.unbind(session, "a") is Unbound.NOT_BOUND
    assert store.unbind(session, "b") is Unbound.DETACHED
    assert store.unbind("nobody", "b") is Unbound.MISSING
    assert store.get(session.id).status == "suspended"
    assert store.session_by_connection("b") is None


def test_a_connection_of_another_session_is_taken_or_taken_over(store: Any) -> None:
    identity = store.create(connection="c", node="n").session
    session = store.create().session
    with pytest.raises(cloakroom.Taken) as refused:
        store.bind(session, "c")
    assert identity.id not in str(refused.value)
    bound = store.bind(session, "c", node="m", take_over=True)
    assert bound.taken_from == identity.id
    assert store.session_by_connection("c").id == session.id
    assert store.get(identity.id).connection == ""
    assert store.count(node="n") == 0 and store.count(node="m") == 1


def test_list_pages_through_sessions_of_one_millisecond_and_count_counts_them(store: Any, clock: Clock) -> None:
    made = [store.create(user="ann", node="n").session.id for _ in range(5)]
    clock.now_ms += 1
    made.append(store.create(user="ann").session.id)
    pages, cursor = [], None
    while True:
        page = store.list(user="ann", size=2, after=cursor)
        pages.append([session.id for session in page.sessions])
        cursor = page.next
        if cursor is None:
            break
    assert [id for page in pages for id in page] == sorted(made[:5]) + made[5:]
    assert store.count(user="ann") == 6
    assert store.count(node="n") == len(store.list(node="n").sessions) == 5


def test_delete_user_deletes_all_but_one(store: Any) -> None:
    for number in range(3):
        store.create(user="ann", connection=f"c{number}", node="n")
    kept = store.create(user="ann").session
    new_id = store.rotate(kept).session.id
    done = store.delete_user("ann", keep=kept.id)
    assert sorted((removed.connection, removed.node) for removed in done.removed) == [(f"c{n}", "n") for n in range(3)]
    assert [session.id for session in store.list(user="ann").sessions] == [new_id]
    assert store.delete_user("ann").removed[0].id == new_id
    assert store.delete_user("ann").removed == []


def test_delete_user_works_in_batches(store: Any) -> None:
    for _ in range(450):
        store.create(user="ann")
    assert len(store.delete_user("ann").removed) == 450
    assert store.count(user="ann") == 0


def test_expired_sessions_are_told_and_reaped_once(store: Any, clock: Clock) -> None:
    session = store.create(user="ann", connection="c", node="n", ttl=1).session
    live = store.create(user="ann").session
    assert store.expired() == [] and store.reap().sessions == []
    clock.now_ms += 2000
    (entry,) = store.expired()
    assert (entry.id, entry.expired_at_ms) == (session.id, session.expires_at_ms)
    assert store.expired(before_ms=session.expires_at_ms - 1) == store.expired(skip=1) == []
    reaped = store.reap()
    assert reaped.sessions == [session] and not reaped.more
    assert store.reap().sessions == []
    assert store.get(live.id) == live


def test_what_is_corrupt_is_set_aside_once_and_does_not_keep_the_rest_from_being_reaped(
    connect: Connector, clock: Clock, server: Server
) -> None:
    store = connect(clock=clock)
    corrupt = store.create(ttl=1).session.id
    clock.now_ms += 1
    other = store.create(ttl=1).session.id
    clock.now_ms += 1000
    server.client.set(f"{connect.tag}:session:{corrupt}", "nothing of ours")
    with pytest.raises(cloakroom.Corrupt):
        store.get(corrupt)
    with pytest.raises(cloakroom.Corrupt):
        store.patch(corrupt, set={"a": 1})
    reaped = store.reap(batch=1)
    assert (reaped.corrupt, reaped.sessions, reaped.more) == ([corrupt], [], True)
    assert server.client.get(f"{connect.tag}:aside:{corrupt}") == b"nothing of ours"
    reaped = store.reap(batch=10)
    assert reaped.corrupt == [] and [session.id for session in reaped.sessions] == [other]


def test_a_count_drops_what_has_no_record(connect: Connector, server: Server) -> None:
    store = connect()
    store.create(user="ann")
    server.client.zadd(f"{connect.tag}:user:ann:sessions", {"lost": 1, b"\xff": 1})
    assert store.count(user="ann") == 1
    assert server.client.zcard(f"{connect.tag}:user:ann:sessions") == 1


def test_what_is_no_text_stops_nothing(connect: Connector, clock: Clock, server: Server) -> None:
    store = connect(clock=clock, rules=Rules(sessions_per_user=1, on_limit="evict_oldest"))
    node = NodeIdentity("n")
    store.heartbeat(node, "register")
    for index in ("user:ann:sessions", "node:dead:sessions", "expiry", "migrations"):
        server.client.zadd(f"{connect.tag}:{index}", {b"\xff\xfe": 1, b"x" * 129: 1, b"half \xe2\x82": 1})
    server.client.zadd(f"{connect.tag}:nodes", {b"\xff": 1})
    server.client.set(f"{connect.tag}:connection:c:session", b"\xff")
    first = store.create(user="ann", connection="c", node="dead").session
    assert [session.id for session in store.list(user="ann").sessions] == [first.id]
    second = store.create(user="ann", node="dead").session
    assert store.count(user="ann") == 1
    assert store.expired() == [] and store.reap().dropped == 3
    assert store.migrations().migrations == []
    assert [found.name for found in store.nodes()] == ["n"] and store.lapsed_nodes() == []
    assert [taken.id for taken in store.recover("dead", "n").sessions] == [second.id]
    assert store.count(node="dead") == 0
    assert [removed.id for removed in store.delete_user("ann").removed] == [second.id]


def test_a_session_whose_id_is_no_text_is_removed_and_counted(connect: Connector, clock: Clock, server: Server) -> None:
    store, tag = connect(clock=clock), connect.tag
    for user, score in (("ann", 2**46), ("bob", 1)):
        session = store.create(user=user, ttl=1).session
        bad = b"\xff" + user.encode()
        server.client.rename(f"{tag}:session:{session.id}", f"{tag}:session:".encode() + bad)
        server.client.zrem(f"{tag}:expiry", session.id)
        server.client.zadd(f"{tag}:expiry", {bad: score})
        server.client.delete(f"{tag}:user:{user}:sessions")
        server.client.zadd(f"{tag}:user:{user}:sessions", {bad: 1})
    deleted = store.delete_user("ann")
    assert (deleted.removed, deleted.corrupt, deleted.unreadable) == ([], [], 1)
    clock.now_ms += 1000
    reaped = store.reap()
    assert (reaped.sessions, reaped.corrupt, reaped.unreadable) == ([], [], 1)
    assert server.client.exists(f"{tag}:user:bob:sessions", f"{tag}:user:ann:sessions") == 0


def test_large_sessions_are_reaped_and_recovered_some_at_a_time(connect: Connector, clock: Clock) -> None:
    store = connect(clock=clock)
    store.heartbeat(NodeIdentity("n"), "register")
    for _ in range(10):
        store.create(node="dead", ttl=100, attributes={"a": "x" * 250_000})
    claimed = store.recover("dead", "n")
    assert len(claimed.sessions) == 4 and claimed.stale == []
    taken = len(claimed.sessions)
    while claimed.next:
        claimed = store.recover("dead", "n", after=claimed.next)
        taken += len(claimed.sessions)
    assert taken == 10
    clock.now_ms += 200_000
    first, second = store.reap(), store.reap()
    assert [(len(reaped.sessions), reaped.more) for reaped in (first, second)] == [(8, True), (2, False)]
    assert first.sessions[0].attributes["a"] == "x" * 250_000


def test_a_session_has_1024_entries_at_most(store: Any) -> None:
    session = store.create(attributes={str(at): at for at in range(1024)}).session
    with pytest.raises(cloakroom.TooLarge) as refused:
        store.patch(session, set={"x": 1})
    assert refused.value.entries == 1025
    with pytest.raises(cloakroom.TooLarge):
        store.create(attributes={str(at): at for at in range(1025)})
    with pytest.raises(cloakroom.Invalid):
        store.patch(session, remove=[str(at) for at in range(1025)])


def test_a_foreign_type_is_corrupt(connect: Connector, server: Server) -> None:
    store = connect()
    server.client.rpush(f"{connect.tag}:user:ann:sessions", "x")
    server.client.rpush(f"{connect.tag}:connection:c:session", "x")
    calls: list[Callable[[], Any]] = [
        lambda: store.list(user="ann"),
        lambda: store.session_by_connection("c"),
        lambda: store.count(user="ann"),
    ]
    for call in calls:
        with pytest.raises(cloakroom.Corrupt):
            call()


def test_an_export_is_imported_with_its_version_and_its_operations(connect: Connector, clock: Clock) -> None:
    source, target = connect(clock=clock), connect(clock=clock, namespace=connect.namespace + "-copy")
    session = source.create(user="ann", connection="c", attributes={"a": 1}).session
    source.patch(session, set={"b": [2]})
    export = source.export(session.id)
    assert target.import_(export) is Imported.IMPORTED
    assert target.import_(export) is Imported.UNCHANGED
    copy = target.get(session.id)
    assert copy == source.get(session.id) and target.count(user="ann") == 1
    assert target.export(session.id).operations[:8] == export.operations[:8]
    source.patch(session, set={"b": [3]})
    with pytest.raises(cloakroom.Conflict):
        target.import_(source.export(session.id), replaces=0)
    assert target.import_(source.export(session.id), replaces=2) is Imported.IMPORTED
    clock.now_ms += session.ttl_ms
    assert target.import_(export) is Imported.MISSING
    assert source.export(session.id) is None


def test_names_of_any_bytes_are_kept(store: Any) -> None:
    for name in ("a:b", "{x}:y", "<id>", "{ns:p}", "žluť", "\\1", "\x00"):
        session = store.create(user=name, connection=name, node=name).session
        assert store.session_by_connection(name) == session
        assert store.count(user=name) == store.count(node=name) == 1


def test_ids_and_values_are_not_shown(store: Any) -> None:
    made = store.create(id="the-secret-id", attributes={"key": "the-secret-value"})
    for shown in (repr(made), repr(store.rotate(made.session, new_id="the-secret-new-id"))):
        assert "secret" not in shown


def test_many_sessions_are_made_as_each_alone(connect: Connector, clock: Clock) -> None:
    store = connect(clock=clock, rules=Rules(ttl=60, max_lifetime=90))
    given = [{"user": f"u{at % 7}", "connection": f"c{at}", "attributes": {"at": at}} for at in range(250)]
    made = store.create_many([{"id": "a"}, {"ttl": 120}, {"status": "suspended"}, *given])
    assert len({created.session.id for created in made}) == 253
    for created in made:
        assert created.evicted == [] and created.reaped == []
        assert store.get(created.session.id) == created.session
    assert made[1].session.expires_at_ms == clock.now_ms + 90_000
    assert store.create_many([]) == []


def test_what_one_of_many_is_refused_for_is_no_matter_of_the_others(store: Any) -> None:
    store.create(id="live")
    new = [
        {"id": "first", "connection": "c"},
        {"id": "live"},
        {"user": "u" * 257},
        {"id": "other", "connection": "c"},
        {"id": "last"},
    ]
    answers = store.create_many(new)
    kinds = [cloakroom.Created, cloakroom.Exists, cloakroom.Invalid, cloakroom.Taken, cloakroom.Created]
    assert [type(answer) for answer in answers] == kinds
    assert store.get("other") is None and store.get("last") == answers[4].session


def test_a_users_limit_holds_among_many_in_order(connect: Connector) -> None:
    store = connect(rules=Rules(sessions_per_user=2))
    answers = store.create_many([{"id": id, "user": "ann"} for id in "abc"])
    assert [type(answer) for answer in answers] == [cloakroom.Created, cloakroom.Created, cloakroom.Limit]


def test_many_that_are_made_again_under_one_operation_id_are_the_same(store: Any) -> None:
    again = store.with_operation_id(cloakroom.OperationId.random())
    new = [{"user": "ann", "connection": str(at)} for at in range(120)]
    first = again.create_many(new)
    assert again.create_many(new) == first
    assert store.count(user="ann") == 120


def test_many_are_read_refreshed_and_deleted_as_each_alone(store: Any) -> None:
    sessions = [made.session for made in store.create_many({"id": f"s{at}", "user": "ann"} for at in range(450))]
    store.rotate("s7", new_id="new")
    ids = [session.id for session in sessions] + ["never", "x" * 129]
    read = store.get_many(ids)
    assert (read[0], read[7].id, read[450], type(read[451])) == (sessions[0], "new", None, cloakroom.Invalid)
    refreshed = store.refresh_many(ids)
    assert (refreshed[449].id, refreshed[7].id, refreshed[450]) == ("s449", "new", None)
    deleted = store.delete_many([*sessions, "never"])
    now = ["new" if session.id == "s7" else session.id for session in sessions]
    assert [removed and removed.id for removed in deleted] == [*now, None]
    assert store.count(user="ann") == 0
    assert store.get_many([]) == []
