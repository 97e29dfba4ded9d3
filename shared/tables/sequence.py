"""The whole numbers of a partition: one row holds the last one, and each transaction that takes numbers rewrites it.

The rewrite depends on the ETag that the process knows, so no number is taken twice, and a number whose record is not
stored is not taken. A process alone knows the row and reads it once. Processes side by side refuse each other; since
the one that wrote last would go on winning, a process that has lost twice puts its name into the row, and the others
let it go first.
"""

import asyncio
import random
import secrets

from shared.tables.batch import Operation
from shared.tables.errors import ServiceRefused
from shared.tables.wire import Unanswered, Wire

SEQUENCE = "n~"
"""The key of the row."""

_LOST = 2
_WAITS = 8
_WAIT = 0.02  # seconds: about two calls, the time in which the process whose turn it is reads the row and writes


class Sequence:
    """The last number of a partition, as one process knows it."""

    def __init__(self, wire: Wire, table: str, partition: str):
        self._wire, self._table, self._partition = wire, table, partition
        self._process = secrets.token_hex(6)
        self.last = 0
        self._etag: str | None = None
        self._known = False
        self._losses = 0

    def forget(self) -> None:
        """Read the row again before the next number is taken."""
        self._known = False

    def lost(self) -> None:
        """Another process has taken the numbers."""
        self._losses += 1
        self.forget()

    async def load(self) -> None:
        """Read the last number, unless it is known."""
        if self._known:
            return
        if self._losses >= _LOST:
            await self._ask()
        found = await self._read()
        for _ in range(_WAITS):  # then its process is taken for dead
            if found is None or found[0].get("next") in (None, self._process):
                break
            await asyncio.sleep(_WAIT * random.uniform(0.5, 1.5))  # noqa: S311
            found = await self._read()
        self.last, self._etag = (int(found[0]["last"]), found[1]) if found else (0, None)
        self._known = True

    async def _read(self) -> tuple[dict[str, str], str] | None:
        return await self._wire.get(self._table, self._partition, SEQUENCE)

    async def _ask(self) -> None:
        """Ask the other processes to let this one go first."""
        try:
            await self._wire.write(
                self._table, self._partition, Operation("PATCH", SEQUENCE, {"next": self._process}, "*")
            )
        except (Unanswered, ServiceRefused):
            pass  # without a turn of its own it tries like the others

    def take(self, count: int) -> list[Operation]:
        """The operation that takes the next numbers; none when there is nothing to take."""
        verb = "PUT" if self._etag else "POST"
        return [Operation(verb, SEQUENCE, {"last": str(self.last + count)}, self._etag)] if count else []

    def accept(self, count: int, etag: str | None) -> None:
        """Remember the numbers that a stored transaction has taken."""
        self.last, self._etag, self._losses = self.last + count, etag, 0
        if etag is None:  # its response was lost
            self.forget()
