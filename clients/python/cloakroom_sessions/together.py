"""Calls made together: what they send at the same time goes in one pipeline."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Any, TypeVar

from .call import Outcome, Parcel, Steps
from .errors import CloakroomError

T = TypeVar("T")

#: How many are made at once.
_MOST = 200


def together(calls: Iterable[Steps[T]]) -> Steps[list[T | CloakroomError]]:
    """The answers of calls, in their order, or what they raised. Each goes on for itself: one that has to ask again, or
    whose script is not loaded, does so beside those that do too."""
    answers: list[T | CloakroomError] = []
    calls = iter(calls)
    while batch := list(islice(calls, _MOST)):
        answers += yield from _batch(batch)
    return answers


def all_of(calls: Iterable[Steps[T]]) -> Steps[list[T]]:
    """The answers of calls that are one operation: the first error is its own."""
    answers: list[T] = []
    for answer in (yield from together(calls)):
        if isinstance(answer, CloakroomError):
            raise answer
        answers.append(answer)
    return answers


def _batch(calls: list[Steps[T]]) -> Steps[list[T | CloakroomError]]:
    answers: dict[int, T | CloakroomError] = {}
    # What each call that goes on is told next.
    told: dict[int, Any] = dict.fromkeys(range(len(calls)))
    while True:
        sent: dict[int, list[Parcel]] = {}
        for at, outcomes in told.items():
            try:
                sent[at] = calls[at].send(outcomes)
            except StopIteration as end:
                answers[at] = end.value
            except CloakroomError as error:
                answers[at] = error
        if not sent:
            return [answers[at] for at in range(len(calls))]
        became: list[Outcome] = yield [parcel for parcels in sent.values() for parcel in parcels]
        rest = iter(became)
        told = {at: list(islice(rest, len(parcels))) for at, parcels in sent.items()}
