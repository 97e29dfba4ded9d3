"""Bounded concurrency: work by key, for a limited number of keys at a time, and for each key one run at a time."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

K = TypeVar("K", str, int)
PAUSE = 1.0  # seconds before failed work is repeated
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
        """Run the work of this key as soon as there is room; when it runs already, run it once more afterwards."""
        if key in self._running:
            self._again.add(key)
        elif not self._closed:
            self._waiting[key] = None
            self._fill()

    async def stop(self) -> None:
        """Cancel running work and discard waiting keys."""
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
            log.exception("durable work on %s failed; it is repeated in %s s", key, PAUSE)
            asyncio.get_running_loop().call_later(PAUSE, self.ready, key)
        finally:
            del self._running[key]
            if key in self._again:
                self._again.discard(key)
                self.ready(key)
            elif not self._closed:
                self._fill()
