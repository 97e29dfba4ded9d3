"""Health: whether the services that the app stands on answer."""

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
"""Seconds that a service has to answer."""

UNKNOWN_ID = "00000000-0000-7000-8000-000000000000"
"""An id that no record, file or connection has: asking for it costs one call."""


@dataclass(frozen=True)
class Probe:
    """One question to a service: `ask` raises when it does not answer. `sdk` is what asking imports."""

    ask: Callable[[], Awaitable[object]]
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
    """Whether Web PubSub answers for a hub."""

    async def ask() -> None:
        if await realtime.connection_exists(hub, UNKNOWN_ID) is None:
            raise ConnectionError("Web PubSub does not answer")

    return Probe(ask, "azure.messaging.webpubsubservice.aio")


class Checks:
    """Probes that are run side by side, and whose results are kept for a while, as anyone may ask at any rate."""

    def __init__(self, probes: Mapping[str, Probe]):
        self._probes = probes
        self._results: dict[str, tuple[bool, float]] = {}
        self._locks = {name: asyncio.Lock() for name in probes}

    async def results(self, *names: str) -> dict[str, bool]:
        """Whether each of these probes (all, where none is named) gets an answer within `LIMIT` seconds."""
        wanted = names or tuple(self._probes)
        return dict(zip(wanted, await asyncio.gather(*map(self._result, wanted)), strict=True))

    async def _result(self, name: str) -> bool:
        async with self._locks[name]:  # those who ask at the same moment share one call
            passed, until = self._results.get(name, (False, 0.0))
            if time.monotonic() >= until:
                passed = await _passes(name, self._probes[name])
                self._results[name] = passed, time.monotonic() + settings().health_fresh
            return passed


async def _passes(name: str, probe: Probe) -> bool:
    try:
        if probe.sdk:  # the first import takes a second on a busy machine, which says nothing of the service
            await asyncio.to_thread(importlib.import_module, probe.sdk)
        async with asyncio.timeout(LIMIT):
            await probe.ask()
    except Exception as error:  # whatever it is, the service cannot be used
        log.warning("check of %s failed: %s: %s", name, type(error).__name__, error)
        return False
    return True
