"""Faults of the platform: reported where they are found, and passed to the slices that show them to people."""

import logging
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

log = logging.getLogger(__name__)

FaultReporter = Callable[[str, str], Awaitable[None]]
"""(cause, message): shows a fault; may be called again for the same cause."""

OUTAGE = 50
"""Items of a sweep that may fail one after the other: when more do, the items are not the cause."""

reporters: list[FaultReporter] = []
"""The reporters of this app's slices; `shared.slices.add_slice` adds them."""


async def report(cause: str, message: str) -> None:
    """Log a fault and pass it to all reporters. `message` must hold no secret. Never raises."""
    log.error("%s: %s", cause, message)
    for reporter in reporters:
        try:
            await reporter(cause, message)
        except Exception:  # a fault that cannot be shown must not add another one to the work that found it
            log.exception("could not report the fault %s", cause)


class Sweep:
    """Work on many items of which one that fails does not stop the others; `name` says what is done to them.

        async with Sweep("deleting old windows") as sweep:
            async for window in windows.all():
                with sweep.item(window.id):
                    ...

    A failure with an item is logged; at the end one fault is reported for all of them. After `OUTAGE` failures in a row
    the next one is raised.
    """

    def __init__(self, name: str):
        self.name, self.failed = name, 0
        self._first, self._in_a_row = "", 0

    async def __aenter__(self) -> Self:
        return self

    @contextmanager
    def item(self, what: str) -> Generator[None]:
        """Handle one item, named in the log."""
        try:
            yield
        except Exception as error:
            log.exception("%s: %s failed", self.name, what)
            self.failed += 1
            self._first = self._first or f"{what} ({type(error).__name__})"
            self._in_a_row += 1
            if self._in_a_row > OUTAGE:
                raise
        else:
            self._in_a_row = 0

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None):
        if self.failed:
            await report(f"sweep: {self.name}", f"{self.name} failed for {self.failed} items, first for {self._first}")
