"""Rate limits: requests a minute and a second for each caller, exact over all instances of the app.

A token allows one request. Each caller has one row with the number of tokens that instances have taken in the current
minute. An instance takes several at once, a lot, and uses them without further storage calls. A lot is a part of the
remaining tokens, so that few tokens are left unused on an instance that receives no more requests of the caller.
"""

import asyncio
import contextlib
import logging
import time
import uuid
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from math import ceil

from starlette.requests import Request

from shared import faults, tables
from shared.tables import Collection, Record

log = logging.getLogger(__name__)

MINUTE = 60.0
_CALLERS = 20_000
_UNCHECKED = 5.0
"""Seconds without a check after storage was unavailable, so that a caller's requests do not wait for each other."""

_SHARE = 4
"""A lot is the number of remaining tokens divided by this."""


class Window(Record):
    """A caller's minute: when it `began`, and how much of its two limits instances have taken."""

    began: datetime
    minute: int = 0
    second: int = 0


windows = Collection("RateWindows", Window, plain=True, spread=16, view=["began"])


@dataclass
class _Lot:
    """The requests of one caller that this instance may still allow: `tokens` until `until`, `burst` in any second.

    `left` is what no instance has taken yet, `recent` the times of the requests in the last second.
    """

    until: float = 0.0
    tokens: int = 0
    burst: int = 0
    left: int = 0
    recent: deque[float] = field(default_factory=deque[float])
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


@dataclass(frozen=True)
class Verdict:
    """Whether a request is allowed, and the headers that show its sender the limit."""

    allowed: bool
    headers: dict[str, str]


class RateLimit:
    """At most `minute` requests in a caller's minute, which begins with its first request, and `second` in any second.

    0 switches a limit off. `shown` is the limit that the headers tell, when it is lower than `minute`. While storage is
    unavailable, all requests are allowed.
    """

    def __init__(self, name: str, minute: int, second: int, *, shown: int | None = None):
        self.name, self.minute, self.second = name, minute, second
        self.shown = minute if shown is None else shown
        self._lots: OrderedDict[str, _Lot] = OrderedDict()
        self._unchecked_until = 0.0

    async def count(self, caller: str) -> Verdict:
        """Count one request of a caller."""
        lot = self._lots.setdefault(caller, _Lot())
        self._lots.move_to_end(caller)
        if len(self._lots) > _CALLERS:
            self._lots.popitem(last=False)
        async with lot.lock:
            now = time.monotonic()
            while lot.recent and lot.recent[0] <= now - 1:
                lot.recent.popleft()
            if now >= lot.until:
                lot.until, lot.tokens, lot.burst, lot.left = 0.0, 0, 0, self.minute
            if self._exhausted(lot):
                if now < self._unchecked_until:
                    return Verdict(True, {})
                try:
                    await self._take_lot(caller, lot)
                except tables.StorageUnavailable:
                    log.warning("rate limit of %s not checked: storage is unavailable", self.name)
                    self._unchecked_until = time.monotonic() + _UNCHECKED
                    return Verdict(True, {})
            allowed = not self._exhausted(lot)
            if allowed:
                lot.tokens -= 1
                lot.recent.append(time.monotonic())
            return Verdict(allowed, self._headers(lot, allowed))

    def _exhausted(self, lot: _Lot) -> bool:
        return bool((self.minute and lot.tokens < 1) or (self.second and len(lot.recent) >= lot.burst))

    async def _take_lot(self, caller: str, lot: _Lot) -> None:
        """Take the caller's next lot; nothing is written when nothing is left."""
        wanted_tokens = bool(self.minute) and lot.tokens < 1
        wanted_burst = bool(self.second) and len(lot.recent) >= lot.burst
        if (wanted_burst and lot.burst >= self.second) or (wanted_tokens and lot.until and not lot.left):
            return
        row_id = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{self.name} {caller}"))
        taken = (0, 0)
        ends = datetime.now(UTC)

        def take(window: Window) -> None:
            nonlocal taken, ends
            now = datetime.now(UTC)
            if now >= window.began + timedelta(seconds=MINUTE):
                window.began, window.minute, window.second = now, 0, 0
            tokens = _lot_size(self.minute, window.minute) if wanted_tokens else 0
            burst = _lot_size(self.second, window.second) if wanted_burst else 0
            window.minute += tokens
            window.second += burst
            taken, ends = (tokens, burst), window.began + timedelta(seconds=MINUTE)
            lot.left = self.minute - window.minute

        while True:
            try:
                await windows.update(row_id, take)
                break
            except tables.RecordNotFound:
                try:
                    await windows.insert(Window(id=row_id, began=datetime.now(UTC)))
                except tables.RecordConflict:
                    continue
        until = time.monotonic() + (ends - datetime.now(UTC)).total_seconds()
        if lot.until and until > lot.until + 1:  # another instance has begun the caller's next minute
            lot.tokens, lot.burst = 0, 0
        lot.until = until
        lot.tokens += taken[0]
        lot.burst += taken[1]

    def _headers(self, lot: _Lot, allowed: bool) -> dict[str, str]:
        reset = max(ceil(lot.until - time.monotonic()), 1) if lot.until else ceil(MINUTE)
        headers = {
            "X-RateLimit-Limit": str(self.shown),
            "X-RateLimit-Remaining": str(max(lot.tokens + lot.left - (self.minute - self.shown), 0)),
            "X-RateLimit-Reset": str(reset),
        }
        if not allowed:
            minute_over = bool(self.minute) and lot.tokens < 1
            headers["Retry-After"] = str(reset if minute_over else 1)
        return headers


def _lot_size(limit: int, given: int) -> int:
    """Return how many tokens to take: a part of the rest, at least 1 unless nothing is left."""
    return ceil((limit - given) / _SHARE)


def address_of(request: Request) -> str:
    """Return the sender's address, which the platform's front end appends to X-Forwarded-For."""
    forwarded = request.headers.get("x-forwarded-for", "").rpartition(",")[2].strip()
    if forwarded.count(":") == 1 or forwarded.startswith("["):  # with its port
        forwarded = forwarded.rpartition(":")[0]
    return forwarded or (request.client.host if request.client else "")


async def purge() -> int:
    """Delete the windows of callers without a request for a day; return how many."""
    count, limit = 0, datetime.now(UTC) - timedelta(days=1)
    async with faults.Sweep("deleting old rate windows") as sweep:
        async for window in windows.all():
            if window.began < limit:
                with sweep.item(window.id), contextlib.suppress(tables.RecordNotFound):
                    await windows.delete(window.id)
                    count += 1
    return count
