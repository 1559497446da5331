"""Which map of a cluster's slots is older than what is known.

Nodes agree on a number with each change, its epoch, and tell each other. One that was cut off tells the map of before,
and may be the first to answer. So the newest epoch that any node told stands: a map of an older one counts only if all
nodes that were asked tell no newer, so that somebody has set them up anew; or if none has told a newer one for so long
that a master which was cut off has stopped to serve.
"""

from __future__ import annotations

from typing import Literal

#: Twice what `cluster-node-timeout` is by default, in which a master that is cut off finds that out, in seconds.
GIVEN_UP_AFTER_S = 30.0


class Epochs:
    """The epoch of the map that counts."""

    def __init__(self) -> None:
        self.newest = 0
        #: Since when only older ones are told, by the steady clock.
        self._outdated_since: float | None = None

    def admit(self, told: int, heard: Literal["all", "some"], now: float) -> bool:
        """Whether a map counts whose epoch is the newest that nodes told just now, which is noted then. All nodes that
        were asked have answered, or some."""
        if told < self.newest and heard == "some":
            if self._outdated_since is None:
                self._outdated_since = now
            if now - self._outdated_since < GIVEN_UP_AFTER_S:
                return False
        self.newest, self._outdated_since = told, None
        return True
