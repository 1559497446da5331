"""What is known of a server's clock: a time that it had not passed before, for the bound of a call."""

from __future__ import annotations

import time
from typing import Any

#: By how much the server's clock and this process's may run apart: one thousandth.
_DRIFT = 1000


def time_ms(reply: Any) -> int:
    """The milliseconds of a reply to TIME."""
    return int(reply[0]) * 1000 + int(reply[1]) // 1000


class ServerClock:
    """The newest time that the server at the end of one connection told."""

    def __init__(self) -> None:
        self._seen: tuple[int, float] | None = None

    @property
    def is_known(self) -> bool:
        """Whether the server told a time."""
        return self._seen is not None

    def saw(self, reply: Any) -> None:
        """Notes a reply to TIME that has just come. An earlier time than was expected counts as well: the clock was set
        back."""
        self._seen = (time_ms(reply), time.monotonic())

    def forget(self) -> None:
        """The connection was made anew, and may lead to another server."""
        self._seen = None

    def no_later_than(self, instant: float) -> int | None:
        """A time that the server's clock did not show before an instant of the steady clock, in seconds. `None` as long
        as the server told none."""
        if self._seen is None:
            return None
        told, at = self._seen
        passed_ms = (instant - at) * 1000
        if passed_ms >= 0:
            return told + int(passed_ms - passed_ms / _DRIFT)
        return max(0, told - int(-passed_ms - passed_ms / _DRIFT) - 1)
