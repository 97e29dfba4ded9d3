"""The system: information about this process, and the cleanup of old runs and alerts."""

import asyncio
import os
import platform
import resource
import sys
import time
from pathlib import Path
from typing import Annotated

from fastapi import Body
from pydantic import Field

from functions.gateway.cleanup import OLDEST, Cleanup, cleanups
from functions.gateway.health import VERSION, uptime
from shared.api_keys import CurrentClient, require_administrator
from shared.http.bodies import RequestBody, ResponseBody, example
from shared.http.errors import Unavailable
from shared.http.routes import router
from shared.settings import settings
from shared.workflows import Workflows

routes = router("/api/system", "system")

CLEANUP_TIMEOUT = 200.0
"""Seconds to wait for a cleanup: the platform's front end ends a request after 230."""

MB = 1_000_000
_cpu = (0.0, time.monotonic() - 1)


class Memory(ResponseBody):
    """Memory that this process uses, and the total that it may use."""

    used: int
    total: int
    unit: str = "MB"


class Cpu(ResponseBody):
    """`usage` in per cent of all cores, since the previous request for it."""

    usage: float
    cores: int


class SystemInfo(ResponseBody):
    """`node_version` is the version of Python; `uptime` in seconds."""

    version: str
    environment: str
    node_version: str
    uptime: int
    memory: Memory
    cpu: Cpu


class NewCleanup(RequestBody):
    """Deletes, or only counts, runs that ended and alerts that were raised more than `older_than_days` days ago."""

    model_config = example(older_than_days=30, dry_run=True)

    older_than_days: Annotated[int, Field(ge=0, strict=True)] = 30
    dry_run: Annotated[bool, Field(strict=True)] = False


class Cleaned(ResponseBody):
    """What a cleanup deleted, or would delete in a dry run."""

    deleted_runs: int
    deleted_artifacts: int
    deleted_alerts: int
    space_freed: str


@routes.get("/info")
async def get_system_info(client: CurrentClient) -> SystemInfo:
    """Version, memory, processor use and uptime of the process that serves this request."""
    return SystemInfo(
        version=VERSION,
        environment=settings().environment,
        node_version=f"v{platform.python_version()}",
        uptime=uptime(),
        memory=Memory(used=_resident() // MB, total=_memory_limit() // MB),
        cpu=Cpu(usage=_cpu_usage(), cores=_cores()),
    )


@routes.post("/cleanup")
async def clean_up(
    client: CurrentClient, workflows: Workflows, body: Annotated[NewCleanup, Body(default_factory=NewCleanup)]
) -> Cleaned:
    """Delete old runs with their artifacts and alerts, and old alerts; a dry run only counts them."""
    require_administrator(client)
    days = min(body.older_than_days, OLDEST)
    record = await cleanups.insert(Cleanup(older_than_days=days, dry_run=body.dry_run))
    await workflows.start("gateway_cleanup", record.id)
    deadline, pause = time.monotonic() + CLEANUP_TIMEOUT, 0.02
    while not record.done:
        if time.monotonic() > deadline:
            message = "The cleanup takes longer than a request may last; it continues in the background"
            raise Unavailable(message, headers={"Retry-After": "600"})
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, 1.0)
        record = await cleanups.get(record.id)
    return Cleaned(
        deleted_runs=record.runs,
        deleted_artifacts=record.artifacts,
        deleted_alerts=record.alerts,
        space_freed=f"{record.bytes / MB:.2f}".rstrip("0").rstrip(".") + "MB",
    )


def _resident() -> int:
    """Return the bytes of memory that this process uses."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:  # not Linux: the peak instead
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


def _memory_limit() -> int:
    """Return the bytes of memory that this process may use: its container's limit, or the machine's memory."""
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        return min(int(Path("/sys/fs/cgroup/memory.max").read_text()), machine)
    except (OSError, ValueError):  # no such file, or "max"
        return machine


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cpu_usage() -> float:
    global _cpu
    before, (used, at) = _cpu, (time.process_time(), time.monotonic())
    _cpu = used, at
    return round(min(100 * (used - before[0]) / (at - before[1]) / _cores(), 100.0), 1) if at > before[1] else 0.0
