"""How many calls have a connection at a time, and who waits for one."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque


class Gate:
    """For threads. It lets so many in, and so many wait, each no longer than it says."""

    def __init__(self, places: int, most_waiting: int) -> None:
        self._places = threading.Semaphore(places)
        self._lock = threading.Lock()
        self._waiting, self._most_waiting = 0, most_waiting

    def enter(self, until: float) -> bool:
        """Waits for a place until an instant of the steady clock, and tells whether there was one."""
        if self._places.acquire(blocking=False):
            return True
        with self._lock:
            if self._waiting >= self._most_waiting:
                return False
            self._waiting += 1
        try:
            return self._places.acquire(timeout=min(max(0.0, until - time.monotonic()), threading.TIMEOUT_MAX))
        finally:
            with self._lock:
                self._waiting -= 1

    def leave(self) -> None:
        """Gives a place back."""
        self._places.release()


class AsyncGate:
    """The same for asyncio, in the order in which they came.

    Cancellation safety: a task that is cancelled while it waits leaves the queue, and one that was let in at the same
    moment lets the next one in."""

    def __init__(self, places: int, most_waiting: int) -> None:
        self._free, self._most_waiting = places, most_waiting
        self._waiting: deque[asyncio.Future[bool]] = deque()

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)

    async def enter(self, until: float) -> bool:
        """Waits for a place until an instant of the steady clock, and tells whether there was one."""
        if self._free > 0:
            self._free -= 1
            return True
        if len(self._waiting) >= self._most_waiting:
            return False
        loop = asyncio.get_running_loop()
        admitted: asyncio.Future[bool] = loop.create_future()
        self._waiting.append(admitted)
        timer = loop.call_later(max(0.0, until - time.monotonic()), self._give_up, admitted)
        try:
            return await admitted
        except asyncio.CancelledError:
            if admitted.done() and not admitted.cancelled() and admitted.result():
                self.leave()
            raise
        finally:
            timer.cancel()
            if admitted in self._waiting:
                self._waiting.remove(admitted)

    @staticmethod
    def _give_up(admitted: asyncio.Future[bool]) -> None:
        if not admitted.done():
            admitted.set_result(False)

    def leave(self) -> None:
        """Gives a place back, or to whoever waits longest."""
        while self._waiting:
            admitted = self._waiting.popleft()
            if not admitted.done():
                admitted.set_result(True)
                return
        self._free += 1
