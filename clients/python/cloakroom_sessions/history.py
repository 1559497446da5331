"""What a call knows of its own earlier attempts: when it began, by the server's clock, and whether one may have
happened."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal

from .operation_id import OperationId

#: How long after its beginning a call is sent a second time, at the earliest, in milliseconds. A script takes a call
#: that comes within 100 milliseconds of its bound for the first of its kind; the rest is for clocks that run apart.
_ALONE_MS = 110


class EarlierCall(Exception):
    """Why a call may have happened that was not sent yet."""

    def __init__(self) -> None:
        super().__init__("an earlier call under the same operation id ended without a reply")


class History:
    """The attempts of one call."""

    def __init__(self, id: OperationId | None) -> None:
        """Of a call that begins, under an id if the caller gave one."""
        #: Whether nobody else sent it; the caller may have; one under the same id may have happened.
        self._source: Literal["own", "given", "repeated"] = "own"
        if id is not None:
            self._source = "repeated" if id.is_of_a_repeat else "given"
        #: No attempt was made before. `None` where nobody knows.
        self._began: float | None = time.monotonic() if id is None else id.made_at
        self._began_by_test_clock: int | None = None
        #: A time of the server's from before the call began.
        self.bound_ms: int | None = None
        #: Why it may have happened, if it may.
        self.doubt: Exception | None = EarlierCall() if self._source == "repeated" else None
        #: Whether the server is asked for its time before the next attempt.
        self.asks_time = self.doubt is not None

    @property
    def is_of_own_id(self) -> bool:
        """Whether nobody else sent a call under its operation id."""
        return self._source == "own"

    def lost(self, reason: Exception) -> None:
        """An attempt ended without a reply."""
        self.doubt, self.asks_time = reason, True

    def bound_by(self, clock: Callable[[float], int | None]) -> None:
        """Takes a time of the server's from before the call began, as `clock` has it: the earliest that was found
        counts, for attempts may come to servers whose clocks differ."""
        found = None if self._began is None else clock(self._began)
        bounds = [bound for bound in (self.bound_ms, found) if bound is not None]
        # Where nothing is known of this server's clock, what was known of another's is no bound.
        self.bound_ms = None if self.bound_ms is not None and found is None else min(bounds, default=None)

    def bound_by_test_clock(self, now_ms: int) -> None:
        """The same under a clock that a test moves. The time that passes for the process is not its time: a call is
        taken for the first of its kind, unless it is known not to be."""
        began = now_ms if self._began_by_test_clock is None else min(self._began_by_test_clock, now_ms)
        self._began_by_test_clock = began
        if self.doubt is None:
            self.bound_ms = now_ms
        else:
            self.bound_ms = None if self._source == "repeated" else max(0, began - _ALONE_MS)

    def not_before(self) -> float | None:
        """When the call may be sent, by the steady clock, if it may have been before."""
        if self.doubt is None or self._began is None:
            return None
        return self._began + _ALONE_MS / 1000

    def begin_anew(self) -> bool:
        """The server could not tell whether the call has happened. One that was sent once, and answered, has not: it
        begins anew. Under an id that the caller gave it does not, but it asks for the server's time, if it did not
        before. False where neither helps."""
        if self.doubt is not None or (self._source != "own" and self.asks_time):
            return False
        if self._source == "own":
            self._began = time.monotonic()
        self.bound_ms, self.asks_time = None, True
        return True
