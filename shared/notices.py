"""Waiting for news that this process may hear, or that another process may have written into a record."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable

FIRST_PAUSE, LONGEST_PAUSE = 0.025, 0.5
"""Seconds between two looks at a record: the first pause, and the longest one."""


class Notices:
    """News by key; nothing is kept of a key for which nobody waits."""

    def __init__(self) -> None:
        self._waiting: dict[str, set[asyncio.Future[bool]]] = {}

    def __len__(self) -> int:
        """The number of keys for which somebody waits."""
        return len(self._waiting)

    def give(self, key: str, good: bool = True) -> bool:
        """Wake those who wait for the key in this process, with good news or bad; return whether there were any."""
        waiting = self._waiting.get(key, set())
        for news in waiting:
            if not news.done():
                news.set_result(good)
        return bool(waiting)

    async def wait(
        self, key: str, seconds: float, look: Callable[[], Awaitable[bool]], first: float | None = None
    ) -> bool:
        """Wait for news and return it, at the latest after `seconds`: then False.

        `look` returns whether the good news is in a record already; it is called after each pause, of which the first
        one has `first` seconds, `FIRST_PAUSE` without it.
        """
        news: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        until, pause = time.monotonic() + seconds, FIRST_PAUSE if first is None else first
        self._waiting.setdefault(key, set()).add(news)
        try:
            while True:
                left = until - time.monotonic()
                with contextlib.suppress(TimeoutError):
                    return await asyncio.wait_for(asyncio.shield(news), min(pause, left))
                if await look():
                    return True
                if left <= pause:
                    return False
                pause = min(2 * pause, LONGEST_PAUSE)
        finally:
            self._waiting[key].discard(news)
            if not self._waiting[key]:
                del self._waiting[key]
