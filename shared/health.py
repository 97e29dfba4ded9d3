"""Health checks of the services that the app needs."""

import asyncio
import importlib
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from shared import blobs, containers, realtime, tables
from shared.api_keys import clients
from shared.jobs import ARTIFACTS
from shared.settings import settings

log = logging.getLogger(__name__)

LIMIT = 2.0
"""Seconds within which a service must respond."""

UNKNOWN_ID = "00000000-0000-7000-8000-000000000000"
"""An id that no record, file or connection has: looking it up costs one call."""


@dataclass(frozen=True)
class Probe:
    """One call to a service: `call` raises when the service does not respond. `sdk` is the module that it imports."""

    call: Callable[[], Awaitable[object]]
    sdk: str = ""


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
    """Probes that run concurrently; their results are reused for a few seconds, as the health routes are public."""

    def __init__(self, probes: Mapping[str, Probe]):
        self._probes = probes
        self._results: dict[str, tuple[bool, float]] = {}
        self._locks = {name: asyncio.Lock() for name in probes}

    async def results(self, *names: str) -> dict[str, bool]:
        """Return for each named probe (without names: for all) whether it succeeds within `LIMIT` seconds."""
        wanted = names or tuple(self._probes)
        return dict(zip(wanted, await asyncio.gather(*map(self._result, wanted)), strict=True))

    async def _result(self, name: str) -> bool:
        async with self._locks[name]:  # simultaneous requests share one call
            passed, until = self._results.get(name, (False, 0.0))
            if time.monotonic() >= until:
                passed = await _passes(name, self._probes[name])
                self._results[name] = passed, time.monotonic() + settings().health_fresh
            return passed


async def _passes(name: str, probe: Probe) -> bool:
    try:
        if probe.sdk:  # outside the limit: the first import takes a second on a busy machine
            await asyncio.to_thread(importlib.import_module, probe.sdk)
        async with asyncio.timeout(LIMIT):
            await probe.call()
    except Exception as error:  # of any type: the service cannot be used
        log.warning("check of %s failed: %s: %s", name, type(error).__name__, error)
        return False
    return True
