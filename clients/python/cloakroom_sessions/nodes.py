"""The operations on nodes and their leases, as steps; `Store` and `AsyncStore` have them as methods."""

from __future__ import annotations

from itertools import chain
from typing import Any, Literal

from . import errors
from .arguments import check_flag, check_integer, check_kind, check_required, check_word
from .bundle import Command, is_text, stored
from .call import Call, Engine, NodeIdentity, Steps
from .duration import Duration, duration_ms
from .errors import CloakroomError
from .index_page import entries_from, read_page
from .operation import Members, Operation, member_of, told_name
from .operation_id import OperationId
from .reading import count
from .results import Claimed, Cursor, Node, Recovered, check_cursor
from .together import all_of, together

#: How many sessions one script handles at most.
_BATCH = 200
#: How often a batch is read again whose sessions kept changing.
_ROUNDS = 12
#: How many nodes a full page has.
_PAGE = 500
_DAY_MS = 24 * 3600 * 1000


def heartbeat(
    engine: Engine,
    identity: NodeIdentity,
    want: Literal["register", "renew", "release"] = "renew",
    *,
    lease: Duration = 15,
    keep: Duration = 24 * 3600,
) -> Steps[int]:
    """Registers a node under a lease, renews it, or releases it, and returns until when it is held. Renew it at every
    third of its length. By the node's own clock the lease is over when its length has passed since just before the
    last renewal was sent. It can then never be renewed: stop writing, and register with a new `NodeIdentity`. Raises
    `Leased` when another lease of the node is held, and `Fenced` when this one is lost.

    With several partitions each has a lease, and all end at the returned time. A `Fenced` names the partitions where
    the lease is lost: stop writing to the sessions there, and register again with the same identity. That takes a new
    lease there, and renews the others."""
    check_kind("identity", identity, NodeIdentity)
    check_word("want", want, "register", "renew", "release")
    lease_ms, keep_ms = duration_ms("lease", lease, 1, _DAY_MS), duration_ms("keep", keep, 1000)
    values = {"node": identity.node, "lease_ms": lease_ms, "keep_ms": keep_ms, "want": want}
    if engine.is_one:
        return (yield from _beat(engine, identity, values))
    parts, held = engine.everywhere(), set(identity.held)
    outcomes = yield from together(_beat(each, identity, values) for each in parts)
    refused = [error for error in outcomes if isinstance(error, CloakroomError)]
    taken = [error for error in refused if isinstance(error, errors.Leased)]
    if taken:
        # Another process goes by this name. What was taken beside it just now is given back. This has deadlines of its
        # own, because the answers may have taken until that of the call.
        gained = [engine.at(each.partition) for each in parts if each.tag in identity.held - held]
        yield from together(_beat(each, identity, {**values, "want": "release"}) for each in gained)
        for each in gained:
            identity.lose(each, identity.lease_in(each))
        raise max(taken, key=lambda error: error.until_ms)
    lost = [at for at, error in enumerate(outcomes) if isinstance(error, errors.Fenced)]
    for error in refused:
        if not isinstance(error, errors.Fenced):
            raise error
    if lost:
        raise errors.Fenced(lost)
    return min(until_ms for until_ms in outcomes if isinstance(until_ms, int))


def _beat(engine: Engine, identity: NodeIdentity, values: dict[str, Any]) -> Steps[int]:
    """The same in one partition."""
    lease = identity.lease_in(engine)
    reply = yield from Call(engine).run("heartbeat", {**values, "lease_id": lease})
    if reply.word == "lapsed":
        identity.lose(engine, lease)
        raise errors.Fenced
    until_ms: int = reply.ok().fields["deadline"]
    if values["want"] == "release":
        identity.held.discard(engine.tag)
    else:
        identity.held.add(engine.tag)
    return until_ms


def _registered(engine: Engine) -> Steps[list[Node]]:
    """The nodes by name. One holds a lease that it holds in each partition."""
    found: dict[str, Node] = {}
    parts = yield from all_of(_registered_in(each) for each in engine.everywhere())
    for node in chain.from_iterable(parts):
        known = found.setdefault(node.name, node)
        until_ms = min(known.lease_until_ms, node.lease_until_ms)
        found[node.name] = Node(node.name, until_ms, known.is_live and node.is_live, 0)
    return [found[name] for name in sorted(found)]


def _registered_in(engine: Engine) -> Steps[list[Node]]:
    call, found, start = Call(engine), dict[str, Node](), 0
    while True:
        # By the ends of their leases: a renewal moves a node behind the page, so none is passed over.
        page = yield from entries_from(call, engine.key("nodes"), "nodes", start, _PAGE)
        # One whose lease was renewed between two pages comes again. What is no text is passed over, and forgotten when
        # its time is over.
        for node in (yield from _standing(call, [name for name, _ in page])):
            if is_text(node.name):
                found[node.name] = node
        if len(page) < _PAGE:
            return list(found.values())
        last = page[-1][1]
        # A whole page of one millisecond: what else ended in it is not seen this time.
        start = last if last > start else last + 1


def _standing(call: Call, names: list[str]) -> Steps[list[Node]]:
    """How the leases of nodes stand; one that was forgotten meanwhile is left out."""
    if not names:
        return []
    standing = yield from _natively(call, names)
    if standing is None:
        reply = (yield from call.run("nodes", {}, [{"node": name} for name in names])).ok()
        standing = [Node(name, until, lease == "held", 0) for name, until, lease in reply.rest[0]]
    return standing


def _natively(call: Call, names: list[str]) -> Steps[list[Node] | None]:
    """The same without the script. `None`: something is not as it should be, or the server does not read it so."""
    leases: list[Command] = [["GET", stored(call.engine.key("lease", node=name))] for name in names]
    read = yield from call.read_at_once(*leases, ["ZMSCORE", call.engine.key("nodes"), *map(stored, names)])
    if read is None:
        return None
    now, (*raws, ends) = read
    standing = []
    for name, raw, end in zip(names, raws, ends, strict=True):
        lease = raw and call.engine.bundle.lease.decode(raw)
        if lease:
            standing.append(Node(name, lease.deadline, lease.is_held(now), 0))
        elif raw is not None:
            return None
        elif end is not None:
            # A lease may be forgotten before its node is, which is listed as long as others keep it.
            standing.append(Node(name, int(float(end)), False, 0))
    return standing


def nodes(engine: Engine) -> Steps[list[Node]]:
    """Lists the nodes that hold a lease or held one lately, ordered by name, and how many live sessions each has."""
    found = []
    for node in (yield from _registered(engine)):
        sessions = yield from count(engine, node=node.name)
        found.append(Node(node.name, node.lease_until_ms, node.is_live, sessions))
    return found


def lapsed_nodes(engine: Engine) -> Steps[list[str]]:
    """Lists the names of the nodes whose leases have run out, so that their sessions can be recovered."""
    return [node.name for node in (yield from _registered(engine)) if not node.is_live]


def recover(
    engine: Engine,
    node: str,
    to: str,
    *,
    batch: int = _BATCH,
    reconnect: Duration = 60,
    even_if_leased: bool = False,
    after: Cursor | None = None,
) -> Steps[Claimed]:
    """Gives a batch of the oldest sessions of a node to another node that holds its own lease. The first node's lease
    has run out, or with `even_if_leased` the node is being drained. Each session gets the new node, loses its
    connection, and is suspended with at least the time to `reconnect` left. Exactly one caller takes each session.
    Raises `Leased` when the first node holds its lease, `Fenced` when the other node does not hold its own."""
    check_required(node=node, to=to)
    check_integer("batch", batch, 1, _BATCH)
    reconnect_ms = duration_ms("reconnect", reconnect)
    check_flag("even_if_leased", even_if_leased)
    check_cursor(after)
    if node == to:
        raise errors.Invalid("to", "is the node itself")
    if engine.identity and engine.identity.node != to:
        raise errors.Invalid("to", "is not the node that makes the call")
    when = "always" if even_if_leased else "lapsed"
    values = {"node": node, "new_node": to, "when": when, "reconnect_ms": reconnect_ms}
    if engine.is_one:
        return (yield from _recover_in(engine, values, batch, after))
    # A batch is of one partition, and the cursor leads through all. Each has a deadline of its own: if all had one, the
    # call might never reach the last of many, because a repeat begins at the first again.
    partitions = engine.partitions
    from_partition, leased = partitions.of(after.id) if after else 0, None
    for each in map(engine.at, range(from_partition, partitions.count)):
        try:
            claimed = yield from _recover_in(each, values, batch, after)
        except errors.Leased as error:
            leased = error
        else:
            if claimed != Claimed():
                behind = each.partition + 1
                if claimed.next is None and behind < partitions.count:
                    # No session was made so early.
                    first = partitions.id_of(partitions.new_id_in(behind, OperationId.random()))
                    claimed.next = Cursor(0, first, 0)
                return claimed
        after = None
    if leased:
        raise leased
    return Claimed()


def _recover_in(engine: Engine, values: dict[str, Any], batch: int, after: Cursor | None) -> Steps[Claimed]:
    """The same in one partition."""
    operation, claimed = Operation(engine), Claimed()
    operation.changes()
    page = yield from read_page(operation, engine.key("node", node=values["node"]), "node", batch, after)
    claimed.next = page.next(after)
    left = yield from _take(operation, values, page.ids, claimed)
    if left:
        # The page ends before those that were left; where nothing there names its end, it is read again.
        claimed.next = page.behind(page.ids.index(left[0]), after) or after
    return claimed


def _take(operation: Operation, values: dict[str, Any], ids: list[str], claimed: Claimed) -> Steps[list[str]]:
    """Takes sessions, and returns those that were left because of their size. Those that change meanwhile are tried
    again."""
    stale, all_left = ids, list[str]()
    for _ in range(_ROUNDS):
        try:
            stale, left = yield from _take_once(operation, values, stale, claimed)
        except (errors.Leased, errors.Fenced):
            # A lease that came or went since: what was taken before is told.
            if not claimed.sessions:
                raise
            break
        all_left = left + all_left
        if not stale:
            break
    claimed.stale += _told(stale, claimed)
    return all_left


def _told(ids: list[str], claimed: Claimed) -> list[str]:
    """Those that can be told; the others are counted."""
    told = [id for id in ids if is_text(id)]
    claimed.unreadable += len(ids) - len(told)
    return told


def _take_once(
    operation: Operation, values: dict[str, Any], ids: list[str], claimed: Claimed
) -> Steps[tuple[list[str], list[str]]]:
    """Takes sessions, and returns those that changed since they were read, and those that were left. With none left it
    lets go of the node."""
    members = yield from operation.candidates(ids)
    reply = yield from operation.run("recover", values, members)
    if reply.word == "lapsed":
        raise errors.Fenced
    recovered, stale, frozen, corrupt = reply.ok().rest
    told = _told([id for id, _ in recovered], claimed)
    claimed.sessions += [_recovered(members, id, version) for id, version in recovered if id in told]
    claimed.frozen += _told([id for (id,) in frozen], claimed)
    claimed.corrupt += _told([id for (id,) in corrupt], claimed)
    return [id for (id,) in stale], ids[len(ids) - reply.fields["left"] :]


def _recovered(members: Members, id: str, version: int) -> Recovered:
    member = member_of(members, id)
    return Recovered(id, version, told_name(member["user"]), told_name(member["connection"]))
