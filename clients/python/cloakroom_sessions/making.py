"""The operations that make sessions, as steps; `Store` and `AsyncStore` have them as methods."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, TypedDict

from .arguments import check_bytes, check_id, check_instant, check_kind, check_names, check_word, each_of
from .call import Engine, Steps
from .duration import Duration, of_ms, optional_ms
from .entries import Entries
from .errors import Ambiguous, CloakroomError, Invalid
from .operation import Operation
from .operation_id import OperationId
from .results import Created, Export, Imported
from .session import Routing, Session
from .token import Id, Token, token_of


class NewSession(TypedDict, total=False):
    """A session to create."""

    id: Id
    user: str
    connection: str
    node: str
    status: Literal["active", "suspended"]
    ttl: Duration
    lifetime: Duration
    attributes: Mapping[str, Any]
    extensions: Mapping[str, Any]


@dataclass(frozen=True)
class Incoming:
    """The migration that brings a session from a `place`, where it is frozen until `until_ms`, as `freeze` returned
    it. With a `node` the session goes to that node: without its connection, suspended, and one version higher."""

    task: bytes
    until_ms: int
    place: str
    node: str = ""

    def __post_init__(self) -> None:
        check_bytes("task", self.task, 8)
        check_instant("until_ms", self.until_ms)
        check_names(place=self.place, node=self.node)


#: How many sessions one script makes at most.
_MOST = 100
#: How many bytes of entries one script stores at most, but for one session that has more by itself.
_MOST_BYTES = 1024 * 1024


@dataclass(frozen=True)
class _Draft:
    """A new session whose fields are checked, with what the scripts take of it."""

    #: The call that makes this session alone.
    operation: Operation
    session: Session
    values: dict[str, Any]
    token: Token | None
    #: How long it lives at most; 0: no limit.
    lifetime_ms: int

    def made(self, created_at: int, expires_at: int) -> Session:
        """The session as it was made."""
        session, lifetime_ms = self.session, self.lifetime_ms
        session.version, session.expires_at_ms = 1, expires_at
        session.created_at_ms = session.last_active_ms = created_at
        session.deadline_ms = lifetime_ms and created_at + lifetime_ms
        return session


def create(
    engine: Engine,
    *,
    id: Id | None = None,
    user: str = "",
    connection: str = "",
    node: str = "",
    status: Literal["active", "suspended"] = "active",
    ttl: Duration | None = None,
    lifetime: Duration | None = None,
    attributes: Mapping[str, Any] | None = None,
    extensions: Mapping[str, Any] | None = None,
) -> Steps[Created]:
    """Makes a session. `lifetime` is how long it lives at most, however much it is used: "remember me".
    Raises `Exists`, `Gone`, `Moved` for its id, `Taken`, `Limit`, `TooLarge`."""
    draft = _draft(
        Operation(engine),
        id=id,
        user=user,
        connection=connection,
        node=node,
        status=status,
        ttl=ttl,
        lifetime=lifetime,
        attributes=attributes,
        extensions=extensions,
    )
    return (yield from _make(draft, draft.operation))


def create_many(engine: Engine, sessions: Iterable[NewSession]) -> Steps[list[Created | CloakroomError]]:
    """Makes any number of sessions, 100 of a partition at one instant, and answers for each in order: what `create`
    would return, or the error that it would raise. Where users have a limit of sessions, theirs are made one after the
    other, and so is what a node makes under its lease. An `Ambiguous` has that session's own operation id, under which
    `create` makes it alone."""
    id = engine.operation_id or OperationId.random()
    answers: dict[int, Created | CloakroomError] = {}
    batches: dict[int, list[tuple[int, _Draft]]] = {}
    alone: list[tuple[int, _Draft, OperationId]] = []
    for place, new in enumerate(each_of("sessions", sessions)):
        try:
            draft = _draft(_begin(engine, id.nth(place)), **_fields_of(new))
        except CloakroomError as error:
            answers[place] = error
        else:
            is_limited = engine.rules.sessions_per_user and draft.session.user
            # The script knows the rules, and no lifetime of one session's own.
            if is_limited or engine.identity or draft.lifetime_ms != engine.rules.lifetime_ms:
                alone.append((place, draft, draft.operation.id))
            else:
                batches.setdefault(draft.operation.engine.partition, []).append((place, draft))
    for at, batch in batches.items():
        while batch:
            size = _batch_size(batch)
            operation = _begin(engine.at(at), _fresh(engine, id))
            made, left = yield from _make_batch(operation, batch[:size])
            del batch[:size]
            answers |= made
            alone += [(place, draft, operation.id_of_part(draft.operation.id)) for place, draft in left]
    # In order: which of a user's sessions a limit refuses or evicts is no matter of luck.
    for place, draft, own in alone:
        try:
            answers[place] = yield from _make(draft, _begin(draft.operation.engine, _fresh(engine, own)))
        except CloakroomError as error:
            answers[place] = error
    return [answers[place] for place in sorted(answers)]


def _fields_of(new: NewSession) -> NewSession:
    if not isinstance(new, Mapping) or not NewSession.__annotations__.keys() >= new.keys():
        raise Invalid("sessions", f"must be mappings of {', '.join(NewSession.__annotations__)}")
    return new


def _begin(engine: Engine, id: OperationId) -> Operation:
    return Operation(replace(engine, operation_id=id))


def _fresh(engine: Engine, id: OperationId) -> OperationId:
    """The operation id of a part of a call that begins now, though the call may have begun long ago. An id under which
    the caller or this call may have sent the part before stays as it is."""
    return id if engine.operation_id or id.is_of_a_repeat else id.of_a_first_call()


def _batch_size(batch: list[tuple[int, _Draft]]) -> int:
    """How many of these make a batch."""
    total = 0
    for size, (_, draft) in enumerate(batch[:_MOST]):
        total += len(draft.values["entries"])
        if size > 0 and total > _MOST_BYTES:
            return size
    return min(len(batch), _MOST)


def _draft(
    operation: Operation,
    *,
    id: Id | None = None,
    user: str = "",
    connection: str = "",
    node: str = "",
    status: Literal["active", "suspended"] = "active",
    ttl: Duration | None = None,
    lifetime: Duration | None = None,
    attributes: Mapping[str, Any] | None = None,
    extensions: Mapping[str, Any] | None = None,
) -> _Draft:
    operation_id, engine = operation.id, operation.engine
    check_names(user=user, connection=connection, node=node)
    check_word("status", status, "active", "suspended")
    own_ttl_ms, own_lifetime_ms = optional_ms("ttl", ttl), optional_ms("lifetime", lifetime)
    ttl_ms = engine.rules.ttl_ms if own_ttl_ms is None else own_ttl_ms
    lifetime_ms = engine.rules.lifetime_ms if own_lifetime_ms is None else own_lifetime_ms
    node = engine.named(node)
    given = engine.partitions.new_id(operation_id, user) if id is None else id
    session = Session(
        id=engine.partitions.id_of(given),
        user=user,
        connection=connection,
        node=node,
        status=status,
        ttl=of_ms(ttl_ms),
        attributes=Entries(attributes),
        extensions=Entries(extensions, field="extensions"),
        stored=Routing(user, connection, node),
    )
    engine.partitions.check(session.id, user)
    operation.enter(session.id)
    values = {
        "op_id": operation_id.stored,
        "id": session.id,
        **session.stored._asdict(),
        "status": status,
        "ttl_ms": ttl_ms,
        "lifetime_ms": lifetime_ms,
        "entries": session.check(engine.bundle.layout, engine.rules),
    }
    return _Draft(operation, session, values, token_of(given), lifetime_ms)


def _make(draft: _Draft, operation: Operation) -> Steps[Created]:
    reply, victims = yield from operation.settle("create", dict(draft.values))
    made = reply.ok().fields
    session = draft.made(made["created_at"], made["expires_at"])
    session.version = made["version"]
    return Created(session, operation.evicted(reply.rest[0], victims), operation.reaped, draft.token)


def _make_batch(
    call: Operation, batch: list[tuple[int, _Draft]]
) -> Steps[tuple[dict[int, Created | CloakroomError], list[tuple[int, _Draft]]]]:
    """What became of each, and those that the script left to `create`."""
    try:
        reply = (yield from call.run("create_many", {}, [draft.values for _, draft in batch])).ok()
    except Ambiguous as error:
        return {place: _ambiguous(draft, error) for place, draft in batch}, []
    except CloakroomError as error:
        return {place: error for place, _ in batch}, []
    created_at, left = reply.fields["created_at"], {position - 1 for (position,) in reply.rest[0]}
    made: dict[int, Created | CloakroomError] = {}
    for at, (place, draft) in enumerate(batch):
        if at not in left:
            ttl_ms = draft.session.ttl_ms
            session = draft.made(created_at, created_at + min(ttl_ms, draft.lifetime_ms or ttl_ms))
            made[place] = Created(session, [], [], draft.token)
    return made, [batch[at] for at in sorted(left)]


def _ambiguous(draft: _Draft, error: Ambiguous) -> Ambiguous:
    own = Ambiguous(draft.operation.id.of_a_repeat())
    own.__cause__ = error.__cause__
    return own


def import_(
    engine: Engine, export: Export, *, replaces: int | None = None, incoming: Incoming | None = None
) -> Steps[Imported]:
    """Imports an exported session, with its id, version, times and deadline, if the store does not have it or has an
    older version. With `replaces` it replaces only that version, and with 0 nothing. With `incoming` it comes by a
    migration and replaces nothing: the copy is frozen until it is thawed. A session that has expired by now is not
    imported. Raises `Conflict`, `Gone`, `Moved`, `Departed`, `Taken`, `TooLarge`, `Frozen`."""
    if replaces is not None:
        check_instant("replaces", replaces)
    if incoming is not None:
        check_kind("incoming", incoming, Incoming)
        if replaces:
            raise Invalid("replaces", "is of no use to what comes by a migration, and replaces nothing")
        replaces = 0
    values = import_values(engine, export, replaces)
    if incoming is not None:
        values |= _arrival(incoming, export.session)
    reply, _ = yield from Operation(engine.of_session(export.session.id)).settle("import", values)
    outcomes = {"ok": Imported.IMPORTED, "unchanged": Imported.UNCHANGED}
    outcomes |= dict.fromkeys(("missing", "expired"), Imported.MISSING)
    return outcomes[reply.one_of(*outcomes).word]


def import_values(engine: Engine, export: Export, replaces: int | None) -> dict[str, Any]:
    """What the script takes of a session that was exported, once that is checked."""
    check_kind("export", export, Export)
    session = export.session
    check_kind("export", session, Session)
    check_id(session.id)
    if not isinstance(export.operations, bytes) or len(export.operations) != 32:
        raise Invalid("export", "must have the last four changes of the session")
    for name in ("created_at_ms", "last_active_ms", "expires_at_ms", "deadline_ms"):
        check_instant(name, getattr(session, name))
    entries = session.check(engine.bundle.layout, engine.rules)
    engine.partitions.check(session.id, session.user)
    return {
        "id": session.id,
        # Where the session is here already, its owners are mostly the same.
        **session.stored._asdict(),
        **session.new_routing(),
        "version": session.version,
        "status": session.status,
        "created_at_ms": session.created_at_ms,
        "last_active_ms": session.last_active_ms,
        "expires_at_ms": session.expires_at_ms,
        "deadline_ms": session.deadline_ms,
        "ttl_ms": session.ttl_ms,
        "operations": export.operations,
        "replaces": replaces,
        "entries": entries,
    }


def _arrival(incoming: Incoming, session: Session) -> dict[str, Any]:
    """What the script takes of a migration. A session that has the node already comes as it is."""
    values = asdict(incoming)
    node = values.pop("node")
    if node and node != session.node:
        values |= {"new_connection": "", "new_node": node, "hand_over": "yes"}
    return values
