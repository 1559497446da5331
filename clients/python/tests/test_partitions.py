"""A namespace of several partitions: what is different from one."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from support import Clock, Connector, Proxy, Server, hurried, unless_left

import cloakroom_sessions as cloakroom
from cloakroom_sessions import Ambiguous, Cursor, NodeIdentity, OperationId, Rules, bundle
from cloakroom_sessions.partitions import Partitions

MINUTE_MS = 60_000
TTL_MS = 30 * MINUTE_MS
LEASE_MS = 10_000


@pytest.fixture
def spread(connect: Connector, clock: Clock) -> Any:
    """A store of 16 partitions."""
    return connect(clock=clock, partitions=16)


@pytest.fixture
def partitions(connect: Connector) -> Partitions:
    return Partitions(connect.namespace, 16)


def apart(partitions: Partitions, text: str) -> str:
    """An id in another partition than a text."""
    ids = (f"device-{number}" for number in itertools.count())
    return next(id for id in ids if partitions.of(id) != partitions.of(text))


def visitor(store: Any, partitions: Partitions, **fields: Any) -> Any:
    """A session of nobody in another partition than ann."""
    while True:
        id = store.new_id()
        if partitions.of(id) != partitions.of("ann"):
            return store.create(id=id, attributes={"cart": 7}, **fields).session


def test_the_tags_and_partitions_are_those_of_the_other_languages() -> None:
    shop = Partitions("shop", 16)
    assert shop.tags == [f"{{shop:{tag}}}" for tag in (13, 22, 1, 40, 12, 23, 0, 41, 11, 20, 3, 42, 10, 21, 2, 43)]
    first = [f"{{shop:{tag}}}" for tag in (167, 196, 526, 1327, 213, 914, 652, 1053)]
    assert Partitions("shop", 1024).tags[:8] == first
    for text, crc in (("ann", 2326), ("bob", 41723), ("user-7", 36920), ("ünï", 58593)):
        assert Partitions("shop", 1000).of(text) == crc % 1000
    for count in (0, 1025):
        with pytest.raises(cloakroom.Invalid):
            Partitions("shop", count)


def test_an_id_that_is_made_fits_its_user_and_is_the_same_again() -> None:
    operation = OperationId.random()
    for count in (1, 16, 1024):
        partitions = Partitions("x", count)
        for user in ("", "ann", "ünï"):
            id = partitions.id_of(partitions.new_id(operation, user))
            partitions.check(id, user)
            assert partitions.new_id(operation, user) == id and len(id) == 36


def test_the_number_is_noted_in_each_partition_and_read_by_the_next(
    connect: Connector, partitions: Partitions, server: Server
) -> None:
    made = connect(partitions=16).create(user="ann").session
    for tag in partitions.tags:
        assert server.client.get(f"{tag}:contract") == b"1 16"
    assert connect().get(made.id) == made
    for count in (1, 8):
        with pytest.raises(cloakroom.OtherPartitions, match=f"has 16 partitions, not {count}"):
            connect(partitions=count)
    with pytest.raises(cloakroom.Invalid):
        connect(partitions=0)
    for foreign in ("1 x", "1 0", "1 1025", "1 2 3 4", "1 2 x", "1 "):
        server.client.set(f"{connect.tag}:contract", foreign)
        with pytest.raises(cloakroom.Corrupt, match="contract"):
            connect()


def test_a_namespace_that_was_made_with_one_stays_so(connect: Connector, server: Server) -> None:
    connect()
    with pytest.raises(cloakroom.OtherPartitions, match="has 1 partitions, not 16"):
        connect(partitions=16)
    assert server.client.get(f"{connect.tag}:contract") == b"1"
    assert [*server.client.scan_iter(match=f"{{{connect.namespace}:*")] == [f"{connect.tag}:contract".encode()]


def test_all_of_a_user_is_in_one_partition(spread: Any, partitions: Partitions, server: Server) -> None:
    for user in ("ann", "bob", "ünï:{x}"):
        for answer in spread.create_many([{"user": user}] * 5):
            assert spread.get(answer.session.id) == answer.session
        tag = partitions.tags[partitions.of(user)]
        assert server.client.zcard(f"{tag}:user:{user}:sessions") == 5
        assert spread.count(user=user) == 5
        assert len(spread.list(user=user).sessions) == 5
    many = [answer.session.id for answer in spread.create_many([{}] * 100)]
    assert len({partitions.of(id) for id in many}) > 8
    assert all(found is not None for found in spread.get_many(many))
    assert [removed.id for removed in spread.delete_many(many)] == many
    assert len(spread.delete_user("ann", keep=many[0]).removed) == 5
    assert (spread.count(user="ann"), spread.count(user="bob")) == (0, 5)


def test_an_id_that_does_not_fit_is_refused_and_both_partitions_are_named(spread: Any, partitions: Partitions) -> None:
    far = apart(partitions, "ann")
    named = "^id is in partition .* and its user is in partition"
    with pytest.raises(cloakroom.Invalid, match=named):
        spread.create(id=far, user="ann")
    assert isinstance(spread.create_many([{"id": far, "user": "ann"}])[0], cloakroom.Invalid)
    session = spread.create(id=far).session
    session.user = "ann"
    with pytest.raises(cloakroom.Invalid, match=named):
        spread.update(session)
    export = spread.export(far)
    export.session.user = "ann"
    with pytest.raises(cloakroom.Invalid, match=named):
        spread.import_(export)
    with pytest.raises(cloakroom.Invalid, match="the session is in partition"):
        spread.rotate(far, new_id=apart(partitions, far))
    fitting = spread.new_id("ann")
    assert spread.create(id=fitting, user="ann").session.id == fitting


def test_a_rotation_that_stays_in_its_partition_is_one_script(spread: Any, partitions: Partitions) -> None:
    session = spread.create(user="ann", attributes={"a": 1}).session
    rotated = spread.rotate(session).session
    assert partitions.of(rotated.id) == partitions.of("ann") and rotated.version == 2
    assert spread.get(session.id) == rotated
    assert spread.patch(session, set={"b": 2}).id == rotated.id


def test_each_operation_on_one_session_finds_its_partition(spread: Any, clock: Clock) -> None:
    for _ in range(20):
        session = spread.create(connection="c").session
        assert spread.refresh(session.id).version == 1
        assert spread.refresh_and_get(session).id == session.id
        session.attributes["a"] = 1
        spread.update(session)
        spread.patch(session.id, set={"b": 2})
        assert spread.unbind(session.id, "c") is cloakroom.Unbound.DETACHED
        assert spread.bind(session.id, "c", node="n").changed
        assert spread.knows(session.id)
        task = b"12345678"
        outgoing = spread.freeze(session.id, task, "there")
        assert [one.id for one in spread.migrations().migrations] == [session.id]
        assert spread.thaw(session.id, task, "outgoing") is cloakroom.Thawed.THAWED
        assert outgoing.export.session.attributes["b"] == 2
        assert spread.delete(session.id)


def test_the_session_of_a_connection_is_found_in_whatever_partition(spread: Any, clock: Clock) -> None:
    for number in range(20):
        session = spread.create(connection=f"c{number}").session
        assert spread.session_by_connection(f"c{number}") == session
    assert spread.session_by_connection("nobody's") is None
    sessions = [spread.create().session for _ in range(10)]
    for session in sessions:
        clock.now_ms += 1
        spread.bind(session, "one", take_over=True)
        assert spread.session_by_connection("one").id == session.id


def test_the_sessions_of_a_node_are_listed_over_all_partitions(spread: Any, clock: Clock) -> None:
    made = []
    for at in range(40):
        clock.now_ms += at % 3
        made.append(spread.create(node="n").session)
    assert spread.count(node="n") == 40
    expected = sorted(made, key=lambda session: (session.created_at_ms, session.id))
    for size in (1, 7, 40, 100):
        listed, after = [], None
        while True:
            page = spread.list(node="n", size=size, after=after)
            assert len(page.sessions) <= size
            listed += page.sessions
            after = page.next
            if after is None:
                break
        assert listed == expected


def test_what_has_expired_is_told_and_reaped_over_all_partitions(spread: Any, clock: Clock) -> None:
    ids = []
    for _ in range(30):
        clock.now_ms += 1
        ids.append(spread.create(ttl=1).session.id)
    clock.now_ms += 2000
    assert [one.id for one in spread.expired()] == ids
    assert [one.id for one in spread.expired(skip=10, limit=5)] == ids[10:15]
    reaped, more = [], True
    while more:
        reap = spread.reap(2)
        reaped += [session.id for session in reap.sessions]
        more = reap.more
    assert sorted(reaped) == sorted(ids)
    assert spread.reap().sessions == [] and not spread.reap().more


def test_what_is_on_its_way_is_told_over_all_partitions(spread: Any) -> None:
    ids = [spread.create().session.id for _ in range(30)]
    for id in ids:
        spread.freeze(id, b"12345678", "there")
    for limit in (1, 4, 200):
        found, skip = [], 0
        while skip is not None:
            page = spread.migrations(skip=skip, limit=limit)
            found += [one.id for one in page.migrations]
            skip = page.next
        assert sorted(found) == sorted(ids)


def test_the_sessions_of_a_dead_node_go_to_another_from_all_partitions(spread: Any, clock: Clock) -> None:
    dead, heir = NodeIdentity("dead"), NodeIdentity("heir")
    spread.heartbeat(dead, "register", lease=LEASE_MS / 1000)
    ids = [spread.create(node="dead", connection=f"c{at}").session.id for at in range(40)]
    with pytest.raises(cloakroom.Leased):
        spread.recover("dead", "heir")
    clock.now_ms += LEASE_MS
    spread.heartbeat(heir, "register", lease=LEASE_MS / 1000)
    assert spread.lapsed_nodes() == ["dead"]
    after: Cursor | None = None
    taken: list[str] = []
    while True:
        claimed = spread.recover("dead", "heir", batch=3, after=after)
        taken += [session.id for session in claimed.sessions]
        after = claimed.next
        if after is None:
            break
    assert sorted(taken) == sorted(ids)
    spread.recover("dead", "heir")
    assert [(node.name, node.is_live, node.sessions) for node in spread.nodes()] == [("heir", True, 40)]


def test_a_node_holds_a_lease_of_its_own_in_each_partition(
    spread: Any, partitions: Partitions, server: Server, clock: Clock
) -> None:
    node = NodeIdentity("n")
    until = spread.heartbeat(node, "register", lease=LEASE_MS / 1000)
    assert until == clock.now_ms + LEASE_MS
    leases = {server.client.get(f"{tag}:node:n:lease") for tag in partitions.tags}
    assert len(leases) == 16
    owner = spread.as_node(node)
    here = owner.create(id=spread.new_id("ann")).session
    there = owner.create(id=apart(partitions, "ann")).session
    # It is lost in one partition, and the node goes on in the others.
    lost = partitions.of("ann")
    server.client.delete(f"{partitions.tags[lost]}:node:n:lease")
    with pytest.raises(cloakroom.Fenced) as fenced:
        spread.heartbeat(node, lease=LEASE_MS / 1000)
    assert fenced.value.partitions == [lost]
    with pytest.raises(cloakroom.Fenced):
        owner.patch(here, set={"a": 1})
    owner.patch(there, set={"a": 1})
    before = {tag: server.client.get(f"{tag}:node:n:lease") for tag in partitions.tags}
    spread.heartbeat(node, "register", lease=LEASE_MS / 1000)
    owner.patch(here, set={"a": 1})
    changed = [tag for tag in partitions.tags if server.client.get(f"{tag}:node:n:lease") != before[tag]]
    assert changed == [partitions.tags[lost]]
    assert spread.heartbeat(node, "release") == clock.now_ms
    with pytest.raises(cloakroom.Fenced) as fenced:
        spread.heartbeat(node)
    assert len(fenced.value.partitions) == 16


def test_who_does_not_get_the_lease_everywhere_holds_it_nowhere(
    spread: Any, partitions: Partitions, server: Server, clock: Clock
) -> None:
    one, other = NodeIdentity("n"), NodeIdentity("n")
    spread.heartbeat(one, "register", lease=LEASE_MS / 1000)
    for tag in partitions.tags[1:]:
        server.client.delete(f"{tag}:node:n:lease")
    with pytest.raises(cloakroom.Leased):
        spread.heartbeat(other, "register", lease=LEASE_MS / 1000)
    clock.now_ms += LEASE_MS
    assert spread.heartbeat(other, "register", lease=LEASE_MS / 1000) == clock.now_ms + LEASE_MS


def test_a_login_across_partitions_takes_the_session_over_whole(
    connect: Connector, partitions: Partitions, clock: Clock
) -> None:
    store = connect(clock=clock, partitions=16, rules=Rules(ttl=TTL_MS / 1000, max_lifetime=10 * TTL_MS / 1000))
    for by_id in (False, True):
        old = visitor(store, partitions, connection=f"of-{by_id}", node="n")
        clock.now_ms += MINUTE_MS
        rotated = store.rotate(old.id if by_id else old, user="ann")
        new = rotated.session
        assert not rotated.by_another and rotated.evicted == []
        assert (new.user, new.attributes["cart"]) == ("ann", 7)
        assert (new.connection, new.node, new.created_at_ms) == (old.connection, "n", old.created_at_ms)
        assert new.version == 3 and new.expires_at_ms == clock.now_ms + TTL_MS
        assert store.get(new.id) == new and unless_left(store, old.id) is None
        assert store.session_by_connection(old.connection).id == new.id
        assert store.count(user="ann") == 1
        with pytest.raises(cloakroom.Moved):
            store.rotate(old, user="ann")
        # A logout that comes with the id from before is a logout all the same.
        assert store.delete(old)
        assert store.get(new.id) is None


def test_a_login_across_partitions_keeps_to_the_limit(connect: Connector, partitions: Partitions) -> None:
    store = connect(partitions=16, rules=Rules(sessions_per_user=1, on_limit="evict_oldest"))
    first = store.create(user="ann").session
    rotated = store.rotate(visitor(store, partitions), user="ann")
    assert [gone.id for gone in rotated.evicted] == [first.id]
    assert store.count(user="ann") == 1
    strict = connect(partitions=16, rules=Rules(sessions_per_user=1))
    old = visitor(strict, partitions)
    with pytest.raises(cloakroom.Limit):
        strict.rotate(old, user="ann")
    assert strict.get(old.id) == old


def test_a_login_across_partitions_is_refused_as_one_in_a_partition_is(spread: Any, partitions: Partitions) -> None:
    old = visitor(spread, partitions)
    used = spread.create(user="ann").session
    with pytest.raises(cloakroom.Exists):
        spread.rotate(old, user="ann", new_id=used.id)
    with pytest.raises(cloakroom.Invalid, match="and its user is in partition"):
        spread.rotate(old, user="ann", new_id=apart(partitions, "ann"))
    spread.freeze(old, b"12345678", "there")
    with pytest.raises(cloakroom.Frozen):
        spread.rotate(old, user="ann")
    assert spread.count(user="ann") == 1


@pytest.mark.parametrize("is_repeated", [False, True], ids=["left", "repeated"])
@pytest.mark.parametrize("answered", range(6))
def test_whatever_reply_of_a_login_is_the_last_nobody_has_the_data_twice(
    through: Connector, own_server: Server, proxy: Proxy, clock: Clock, answered: int, is_repeated: bool
) -> None:
    partitions = Partitions(through.namespace, 16)
    directly = through(own_server.url, clock=clock, partitions=16, rules=Rules(ttl=TTL_MS / 1000))
    old = visitor(directly, partitions, connection="c")
    dying = hurried(through(clock=clock, rules=Rules(ttl=TTL_MS / 1000)), 0.3)
    operation, new_id = OperationId.random(), directly.new_id("ann")
    proxy.to_pass, proxy.to_lose = answered, 1_000_000
    try:
        dying.with_operation_id(operation).rotate(old, user="ann", new_id=new_id)
        assert answered >= 5
    except Ambiguous as error:
        assert error.operation_id == operation
        operation = error.operation_id
    except cloakroom.NotExecuted:
        pass
    left = unless_left(directly, old.id)
    assert left is None or left.user == ""
    if is_repeated:
        rotated = directly.with_operation_id(operation).rotate(old, user="ann", new_id=new_id)
        assert rotated.session.id == new_id and rotated.session.connection == "c"
        assert unless_left(directly, old.id) is None
    clock.now_ms += MINUTE_MS
    having = [id for id in (old.id, new_id) if unless_left(directly, id)]
    # A session whose login nobody learned of goes as the copy does.
    assert len(having) <= 1 and (having == [new_id] or not is_repeated)


def test_a_login_of_a_session_that_others_keep_changing_comes_to_an_end(
    through: Connector, own_server: Server, proxy: Proxy
) -> None:
    partitions = Partitions(through.namespace, 16)
    with cloakroom.Store.connect(own_server.url, namespace=through.namespace, partitions=16) as others:
        old = visitor(others, partitions)
        store, leaving = through(), bundle.load().scripts["delete"].sha1.encode()
        rounds = iter(range(2))

        def meanwhile(request: bytes) -> None:
            # The copy has four changes that are newer than the login's beginning.
            if leaving in request and next(rounds, None) is not None:
                for number in range(5):
                    others.patch(old.id, set={"n": number})
                # So soon a call is taken for the first of its kind.
                began = own_server.client.time()
                while as_ms(own_server.client.time()) < as_ms(began) + 150:
                    pass

        proxy.before = meanwhile
        login = store.rotate(old, user="ann").session
        assert next(rounds, None) is None
        assert (login.user, login.attributes["n"], login.version) == ("ann", 4, 12)
        assert unless_left(others, old.id) is None and others.get(login.id) == login


def as_ms(time: tuple[int, int]) -> int:
    return time[0] * 1000 + time[1] // 1000
