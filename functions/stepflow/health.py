"""Whether StepFlow works, and how much there is of everything."""

import asyncio
from collections.abc import Awaitable
from datetime import UTC, datetime
from typing import Any

from starlette.responses import JSONResponse, Response

from functions.stepflow import machine
from functions.stepflow.access import routes_for
from functions.stepflow.bodies import Answer, Envelope
from functions.stepflow.records import ExecutionStatus
from functions.stepflow.store import artifacts, connections, executions
from functions.stepflow.timers import maintain
from functions.stepflow.updates import HUB
from shared import blobs, realtime, tables
from shared.http.api import router
from shared.jobs import LOGS

VERSION = "1.0.0"
PATIENCE = 5.0
"""Seconds after which a part that has not answered is taken to be away."""

NOBODY = "00000000-0000-7000-8000-000000000000"
"""An id that no record, file or connection has: asking for it costs one call."""

probe = router("/api/health", "health")
routes = routes_for("/api/health", "health")


class Health(Answer):
    """`status` is healthy when the records, the files and the sockets can be reached."""

    status: str
    timestamp: datetime
    version: str = VERSION
    uptime_seconds: int
    database: str
    websocket: str
    storage: str


class Database(Answer):
    """Totals of the records; the sizes are those of artifacts and logs."""

    database_size_bytes: int
    database_size_mb: float
    table_counts: dict[str, int]
    wal_mode: str = "wal"
    cache_size: int = 0
    storage_path: str = "/storage"


class System(Answer):
    """Figures of the machine, in percent."""

    cpu_percent: float
    memory_percent: float
    disk_usage_percent: float
    open_connections: int


class Metrics(Answer):
    """Figures of the service."""

    timestamp: datetime
    database: Database
    system: System
    uptime_seconds: int


class DatabaseStatistics(Answer):
    """Totals of the records."""

    total_executions: int
    running_executions: int
    completed_executions: int
    failed_executions: int
    total_steps: int
    total_artifacts: int
    database_size_mb: float
    oldest_execution: datetime | None
    newest_execution: datetime | None


class Optimized(Answer):
    """What the maintenance run did, and the figures after it."""

    status: str = "optimization_completed"
    timestamp: datetime
    operations_performed: list[str]
    metrics: Metrics


@probe.get("", response_model=Envelope[Health], responses={503: {"model": Envelope[Health]}})
async def health() -> Response:
    """Say whether the records, the files and the sockets can be reached; 503 when not."""
    database, storage, websocket = await asyncio.gather(
        _reached(executions.get(NOBODY)), _reached(blobs.info(LOGS, NOBODY)), _reached(_socket())
    )
    healthy = database and storage and websocket
    found = Health(
        status="healthy" if healthy else "unhealthy",
        timestamp=datetime.now(UTC),
        uptime_seconds=machine.uptime_seconds(),
        database="connected" if database else "disconnected",
        websocket="running" if websocket else "stopped",
        storage="accessible" if storage else "inaccessible",
    )
    answer = Envelope(success=healthy, data=found, error=None if healthy else "Unhealthy")
    return JSONResponse(answer.model_dump(mode="json"), 200 if healthy else 503)


@routes.get("/status")
async def get_system_status() -> Envelope[dict[str, Any]]:
    """The machine, the records and the sockets in figures."""
    totals, clients, size = await asyncio.gather(executions.totals({}), connections.count(), _size())
    return Envelope(
        data={
            "system": {
                "cpu_percent": machine.cpu_percent(),
                "memory_percent": machine.memory_percent(),
                "disk_usage_percent": machine.disk_usage_percent(),
                "load_average": machine.load_average(),
            },
            "database": {
                "status": "connected",
                "size_mb": megabytes(size),
                "wal_mode": True,
                "cache_hit_ratio": 0.0,
            },
            "websocket": {
                "status": "running" if realtime.client_url(HUB) else "stopped",
                "connected_clients": clients,
                "total_messages": int(totals.sum("messages")),
            },
        }
    )


@routes.get("/metrics")
async def get_metrics() -> Envelope[Metrics]:
    """Records, bytes and the machine in figures."""
    return Envelope(data=await _metrics())


@routes.get("/database")
async def get_database_statistics() -> Envelope[DatabaseStatistics]:
    """Executions by status, and all that belongs to them."""
    totals, files, oldest, newest = await asyncio.gather(
        executions.totals({}), artifacts.totals(), executions.page(limit=1, descending=False), executions.page(limit=1)
    )
    counts = totals.by("status")
    return Envelope(
        data=DatabaseStatistics(
            total_executions=totals.count,
            running_executions=counts[ExecutionStatus.RUNNING],
            completed_executions=counts[ExecutionStatus.COMPLETED],
            failed_executions=counts[ExecutionStatus.FAILED],
            total_steps=int(totals.sum("total_steps")),
            total_artifacts=files.count,
            database_size_mb=megabytes(int(totals.sum("log_bytes") + files.sum("file_size"))),
            oldest_execution=oldest.items[0].created_at if oldest.items else None,
            newest_execution=newest.items[0].created_at if newest.items else None,
        )
    )


@routes.post("/optimize")
async def optimize() -> Envelope[Optimized]:
    """Run the maintenance that otherwise runs every hour, and say what it did."""
    done = await maintain()
    return Envelope(data=Optimized(timestamp=datetime.now(UTC), operations_performed=done, metrics=await _metrics()))


def megabytes(size: int) -> float:
    """Bytes as megabytes."""
    return round(size / 1_000_000, 3)


async def _metrics() -> Metrics:
    totals, files, clients = await asyncio.gather(executions.totals({}), artifacts.totals(), connections.count())
    size = int(totals.sum("log_bytes") + files.sum("file_size"))
    counts = {"executions": totals.count, "steps": int(totals.sum("total_steps")), "artifacts": files.count}
    return Metrics(
        timestamp=datetime.now(UTC),
        database=Database(database_size_bytes=size, database_size_mb=megabytes(size), table_counts=counts),
        system=System(
            cpu_percent=machine.cpu_percent(),
            memory_percent=machine.memory_percent(),
            disk_usage_percent=machine.disk_usage_percent(),
            open_connections=clients,
        ),
        uptime_seconds=machine.uptime_seconds(),
    )


async def _size() -> int:
    totals, files = await asyncio.gather(executions.totals({}), artifacts.totals())
    return int(totals.sum("log_bytes") + files.sum("file_size"))


async def _socket() -> None:
    if await realtime.connection_exists(HUB, NOBODY) is None:
        raise ConnectionError("Web PubSub does not answer")


async def _reached(call: Awaitable[Any]) -> bool:
    """Whether a call came through; that something is not there is an answer too."""
    try:
        await asyncio.wait_for(call, PATIENCE)
    except (tables.NotFound, blobs.BlobNotFound):
        return True
    except Exception:  # whatever a client raises when nobody answers
        return False
    return True
