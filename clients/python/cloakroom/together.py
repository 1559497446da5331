"""Calls made together: what they send at the same time goes in one pipeline."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any, TypeVar

from .call import Commands, Lost, Steps, Unreachable, Unsent
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
    # How each call goes on, and what it sent last.
    going: dict[int, tuple[Callable[[Any], Commands], Any]] = {at: (call.send, None) for at, call in enumerate(calls)}
    while True:
        sent: dict[int, Commands] = {}
        for at, (step, answer) in going.items():
            try:
                sent[at] = step(answer)
            except StopIteration as end:
                answers[at] = end.value
            except CloakroomError as error:
                answers[at] = error
        if not sent:
            return [answers[at] for at in range(len(calls))]
        try:
            replies = iter((yield [command for commands in sent.values() for command in commands]))
            going = {at: (calls[at].send, list(islice(replies, len(commands)))) for at, commands in sent.items()}
        except (Lost, Unsent, Unreachable) as error:
            going = {at: (calls[at].throw, error) for at in sent}
