"""Bounded concurrency: work by key, at most so many keys at a time and never one key twice at a time."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

K = TypeVar("K", str, int)
PAUSE = 1.0  # seconds before work that raised is tried again
log = logging.getLogger(__name__)


class Lane(Generic[K]):
    """Runs `work(key)` for the keys marked ready, `width` at a time, in the order they became ready."""

    def __init__(self, width: int, work: Callable[[K], Awaitable[None]]):
        self._width, self._work = width, work
        self._waiting: dict[K, None] = {}  # an ordered set
        self._running: dict[K, asyncio.Task[None]] = {}
        self._again: set[K] = set()
        self._closed = False

    def ready(self, key: K) -> None:
        """Run this key's work as soon as there is room; once more when it runs already."""
        if key in self._running:
            self._again.add(key)
        elif not self._closed:
            self._waiting[key] = None
            self._fill()

    async def stop(self) -> None:
        """Cancel what runs and forget what waits."""
        self._closed = True
        self._waiting.clear()
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _fill(self) -> None:
        while self._waiting and len(self._running) < self._width:
            key = next(iter(self._waiting))
            del self._waiting[key]
            self._running[key] = asyncio.create_task(self._run(key))

    async def _run(self, key: K) -> None:
        try:
            await self._work(key)
        except Exception:
            log.exception("durable work on %s failed; it is tried again in %s s", key, PAUSE)
            asyncio.get_running_loop().call_later(PAUSE, self.ready, key)
        finally:
            del self._running[key]
            if key in self._again:
                self._again.discard(key)
                self.ready(key)
            elif not self._closed:
                self._fill()
