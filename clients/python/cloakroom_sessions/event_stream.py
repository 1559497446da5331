"""Events as they are told, one after the other, to a thread or a task."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable

from .call import Steps
from .event import Told
from .events import Reader


class Events:
    """What became of sessions, as it is told: an iterator that waits for the next one, and ends when it is closed, or
    its store is. Each event is told at least once. Whoever takes them slowly is waited for, up to what the streams
    keep.

    While a server is away it goes on to ask, and tells what happened once that is back, or another is the master."""

    def __init__(self, reader: Reader, run: Callable[[Steps[None]], None], let_go: Callable[[], None]) -> None:
        """Use `Store.events`. `let_go` ends its connections, which are made again where they are used again."""
        self._reader, self._run, self._let_go = reader, run, let_go
        self._over = threading.Event()
        #: Held while it reads.
        self._lock = threading.RLock()

    @property
    def position(self) -> str:
        """Up to where it was read: behind what was told last. A text, by which a store of any language goes on there:
        keep it once what was told is heeded."""
        return self._reader.position

    def __iter__(self) -> Events:
        return self

    def __next__(self) -> Told:
        with self._lock:
            while not self._over.is_set():
                if (told := self._reader.told()) is not None:
                    return told
                if not self._over.wait(self._reader.wait_s()):
                    self._run(self._reader.look())
        raise StopIteration

    def close(self) -> None:
        """Ends it, also where another thread waits for the next one."""
        self._over.set()
        with self._lock:
            self._let_go()

    def __enter__(self) -> Events:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class AsyncEvents:
    """The same for asyncio. Nothing is lost where a task is cancelled that waits for the next one."""

    def __init__(
        self, reader: Reader, run: Callable[[Steps[None]], Awaitable[None]], let_go: Callable[[], Awaitable[None]]
    ) -> None:
        """Use `AsyncStore.events`."""
        self._reader, self._run, self._let_go = reader, run, let_go
        self._over = asyncio.Event()
        self._lock = asyncio.Lock()

    @property
    def position(self) -> str:
        """Up to where it was read, as of `Events`."""
        return self._reader.position

    def __aiter__(self) -> AsyncEvents:
        return self

    async def __anext__(self) -> Told:
        async with self._lock:
            while not self._over.is_set():
                if (told := self._reader.told()) is not None:
                    return told
                if not await self._is_over_within(self._reader.wait_s()):
                    await self._run(self._reader.look())
        raise StopAsyncIteration

    async def _is_over_within(self, seconds: float) -> bool:
        try:
            return await asyncio.wait_for(self._over.wait(), seconds)
        except (asyncio.TimeoutError, TimeoutError):
            return self._over.is_set()

    async def aclose(self) -> None:
        """Ends it, also where another task waits for the next one."""
        self._over.set()
        async with self._lock:
            await self._let_go()

    async def __aenter__(self) -> AsyncEvents:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()
