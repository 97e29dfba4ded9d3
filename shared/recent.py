"""Values that were just looked up, kept for a few seconds by each instance of the app."""

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class RecentValues(Generic[K, V]):
    """Keeps each value, which is never None, for `seconds`; of more than `most` values, the oldest are dropped.

    Another instance may have changed what stands behind a value, so only what may be that old belongs here.
    """

    def __init__(self, seconds: float = 5.0, most: int = 1000):
        self._seconds, self._most = seconds, most
        self._values: OrderedDict[K, tuple[float, V]] = OrderedDict()
        self._changes = 0

    async def get(self, key: K, load: Callable[[], Awaitable[V]]) -> V:
        """Return the value of a key; `load` looks it up when none is kept."""
        if (kept := self.peek(key)) is not None:
            return kept
        changes = self._changes
        value = await load()
        if changes == self._changes:  # else it may have been looked up before a change
            self._values[key] = (time.monotonic() + self._seconds, value)
            self._values.move_to_end(key)
            if len(self._values) > self._most:
                self._values.popitem(last=False)
        return value

    def peek(self, key: K) -> V | None:
        """Return the value of a key, None when none is kept."""
        until, value = self._values.get(key, (0.0, None))
        return value if time.monotonic() < until else None

    def forget(self, key: K) -> None:
        """Drop the value of a key, after a change of what stands behind it."""
        self._changes += 1
        self._values.pop(key, None)
