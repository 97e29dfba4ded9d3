"""Waiting for what happens by itself."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

T = TypeVar("T")


async def eventually(probe: Callable[[], Awaitable[T]], *, seconds: float = 60, until: Callable[[T], Any] = bool) -> T:
    """The value of `probe` as soon as `until` holds for it; fails with the last value after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        value = await probe()
        if until(value):
            return value
        assert time.monotonic() < deadline, f"still {value!r} after {seconds} s"
        await asyncio.sleep(0.05)
