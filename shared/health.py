"""Health checks of the services that the app needs."""

import asyncio
import importlib
import logging
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime

from shared import blobs, containers, realtime, tables
from shared.api_keys import clients
from shared.jobs import ARTIFACTS
from shared.settings import settings

log = logging.getLogger(__name__)

LIMIT = 2.0
"""Seconds within which a service must respond."""

UNKNOWN_ID = "00000000-0000-7000-8000-000000000000"
"""An id that no record, file or connection has: looking it up costs one call."""


class Probe:
    """One call to a service, whose result is reused for a few seconds, as health routes are public.

    `call` raises when the service does not respond. `sdk` is the module that it imports. APIs may share a probe.
    """

    def __init__(self, call: Callable[[], Awaitable[object]], sdk: str = ""):
        self.call, self._sdk = call, sdk
        self._lock = asyncio.Lock()
        self._until = self._checked = -math.inf
        self.passed = False
        self.checked_at: datetime | None = None

    @property
    def fresh(self) -> bool:
        """Whether `passed` may be used as it is."""
        return time.monotonic() < self._until

    async def refresh(self, name: str) -> None:
        """Set `passed`: whether the call succeeds within `LIMIT` seconds. `name` is for the log."""
        async with self._lock:  # simultaneous requests share one call
            if not self.fresh:
                self.passed = await self._succeeds(name)
                self._checked = time.monotonic()
                self._until = self._checked + settings().health_fresh
                self.checked_at = datetime.now(UTC)

    def forget(self, *, older: float = 0.0) -> None:
        """Let the next check call the service again, if the last one was at least `older` seconds ago."""
        if time.monotonic() - self._checked >= older:
            self._until = -math.inf

    async def _succeeds(self, name: str) -> bool:
        try:
            if self._sdk:  # outside the limit: the first import takes a second on a busy machine
                await asyncio.to_thread(importlib.import_module, self._sdk)
            async with asyncio.timeout(LIMIT):
                await self.call()
        except Exception as error:  # of any type: the service cannot be used
            log.warning("check of %s failed: %s: %s", name, type(error).__name__, error)
            return False
        return True


async def _records() -> None:
    try:
        await clients.get(UNKNOWN_ID)
    except tables.RecordNotFound:
        pass


async def _files() -> None:
    try:
        await blobs.info(ARTIFACTS, UNKNOWN_ID)
    except blobs.BlobNotFound:
        pass


async def _containers() -> None:
    await containers.state("health")


RECORDS = Probe(_records)
FILES = Probe(_files, "azure.storage.blob.aio")
CONTAINERS = Probe(_containers, "azure.mgmt.containerinstance.aio")


def sockets(hub: str) -> Probe:
    """Return the probe of Web PubSub for a hub."""

    async def call() -> None:
        if await realtime.connection_exists(hub, UNKNOWN_ID) is None:
            raise ConnectionError("Web PubSub does not respond")

    return Probe(call, "azure.messaging.webpubsubservice.aio")


class Checks:
    """The probes of one API by name; those without a fresh result run concurrently."""

    def __init__(self, probes: Mapping[str, Probe]):
        self._probes = probes

    async def results(self, *names: str) -> dict[str, bool]:
        """Return for each named probe (without names: for all) whether it has passed."""
        wanted = names or tuple(self._probes)
        if stale := [name for name in wanted if not self._probes[name].fresh]:
            await asyncio.gather(*(self._probes[name].refresh(name) for name in stale))
        return {name: self._probes[name].passed for name in wanted}
