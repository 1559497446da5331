"""The operations that remove many sessions, as steps; `Store` and `AsyncStore` have them as methods."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

from . import errors
from .arguments import check_integer
from .bundle import is_text
from .call import KEPT_CHANGING, Call, Engine, Steps
from .operation import Operation
from .reading import expired_page, look_up, page_of_user
from .results import Reaped, UserDeleted
from .together import all_of
from .token import Id

#: How many sessions one script handles at most.
_BATCH = 200
#: How often in a row a batch may remove nothing, because its sessions kept changing.
_ROUNDS = 12


def delete_user(engine: Engine, user: str, *, keep: Id | None = None) -> Steps[UserDeleted]:
    """Deletes all sessions that a user has when it begins, or all but one: log out everywhere. A session that is
    created meanwhile survives. It deletes 200 at one instant, and each 200 have a deadline of their own. After an error
    some may be deleted: call it again."""
    keep = None if keep is None else engine.partitions.id_of(keep, "keep")
    engine = engine.of_user(user)
    operation, done = _deletion(engine), UserDeleted()
    kept = set() if keep is None else {keep}
    # What is in another partition is not this user's.
    if keep is not None and engine.of_session(keep).partition == engine.partition:
        with suppress(errors.Moved):  # by a login: its new id is told to nobody who has the old one
            found = yield from look_up(operation, keep)
            if found:
                kept.add(found[0])
    corrupt: set[str] = set()
    newest, idle_rounds = None, 0
    while idle_rounds < _ROUNDS:
        operation = _deletion(engine)
        # One more tells whether there are others.
        limit = _BATCH + 1 + len(kept) + len(corrupt)
        made, ids = yield from page_of_user(operation, user, newest, limit)
        newest = made if newest is None else newest
        ids = [id for id in ids if id not in kept and id not in corrupt]
        if not ids:
            return done
        whole, ids = len(ids) <= _BATCH, ids[:_BATCH]
        batch = yield from operation.remove(user, ids)
        done.removed += batch.removed
        done.corrupt += filter(is_text, batch.corrupt)
        corrupt.update(batch.corrupt)
        done.unreadable += batch.unreadable + len(batch.corrupt) - sum(map(is_text, batch.corrupt))
        removed = len(batch.removed) + batch.unreadable
        # An entry in none of the lists was dropped: its session was rotated away, and is indexed under its new id, or
        # it had none.
        if whole and removed + len(batch.corrupt) == len(ids):
            return done
        idle = len(batch.stale) == len(ids) or (whole and not removed)
        idle_rounds = idle_rounds + 1 if idle else 0
    with operation.doubting():
        raise errors.Contended(KEPT_CHANGING)


def _deletion(engine: Engine) -> Operation:
    operation = Operation(engine)
    operation.changes()
    return operation


def reap(engine: Engine, batch: int = 100) -> Steps[Reaped]:
    """Removes a batch of expired sessions, at most 200, with all their index entries, and returns them. Any number of
    processes may call this at once: exactly one of them gets each expired session. After `Ambiguous` the sessions may
    be removed, and the list of them is lost: this is the one call that does not give the same answer when it is
    repeated."""
    check_integer("batch", batch, 1, _BATCH)
    if engine.is_one:
        return (yield from _reap_in(engine, batch))
    # In the partition where something expired first: a reply that is lost loses the report of one.
    parts = engine.everywhere()
    firsts = yield from all_of(expired_page(Call(each), None, 0, 1) for each in parts)
    expired = [(page[0][1], each) for each, page in zip(parts, firsts, strict=True) if page]
    if not expired:
        return Reaped([], 0, [], more=False)
    _, first = min(expired, key=lambda one: one[0])
    reaped = yield from _reap_in(first, batch)
    return replace(reaped, more=reaped.more or len(expired) > 1)


def _reap_in(engine: Engine, batch: int) -> Steps[Reaped]:
    """The same in one partition."""
    operation = Operation(engine)
    page = yield from expired_page(operation, None, 0, batch)
    if not page:
        return Reaped([], 0, [], more=False)
    outcome = yield from operation.reap([id for id, _ in page])
    told = [id for id in outcome.corrupt if is_text(id)]
    more = len(page) == batch or outcome.left > 0 or bool(outcome.stale)
    unreadable = outcome.unreadable + len(outcome.corrupt) - len(told)
    return Reaped(outcome.removed, outcome.dropped, told, more, unreadable)
