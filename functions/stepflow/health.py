"""The health check of StepFlow, statistics of its records and its machine, and the cleanup on demand."""

import asyncio
from datetime import UTC, datetime
from typing import Any

from functions.stepflow import machine
from functions.stepflow.access import routes_for
from functions.stepflow.records import ExecutionStatus
from functions.stepflow.store import artifacts, connections, executions
from functions.stepflow.timers import run_cleanup
from functions.stepflow.updates import HUB
from shared import realtime
from shared.health import FILES, RECORDS, Checks, sockets
from shared.http.bodies import ResponseBody
from shared.http.errors import Unavailable
from shared.http.routes import router

VERSION = "1.0.0"

probe = router("/api/health", "health")
routes = routes_for("/api/health", "health")
checks = Checks({"database": RECORDS, "storage": FILES, "websocket": sockets(HUB)})


class Health(ResponseBody):
    """`status` is `healthy` when records, files and Web PubSub can be reached, else `unhealthy`."""

    status: str
    timestamp: datetime
    version: str = VERSION
    uptime_seconds: int
    database: str
    websocket: str
    storage: str


class Database(ResponseBody):
    """Numbers of records; the sizes are the total of all artifacts and logs."""

    database_size_bytes: int
    database_size_mb: float
    table_counts: dict[str, int]
    wal_mode: str = "wal"
    cache_size: int = 0
    storage_path: str = "/storage"


class System(ResponseBody):
    """Usage of the machine in percent, and the number of open WebSocket connections."""

    cpu_percent: float
    memory_percent: float
    disk_usage_percent: float
    open_connections: int


class Metrics(ResponseBody):
    """Metrics of the records and the machine."""

    timestamp: datetime
    database: Database
    system: System
    uptime_seconds: int


class DatabaseStatistics(ResponseBody):
    """Numbers of records, and when the oldest and the newest execution were created."""

    total_executions: int
    running_executions: int
    completed_executions: int
    failed_executions: int
    total_steps: int
    total_artifacts: int
    database_size_mb: float
    oldest_execution: datetime | None
    newest_execution: datetime | None


class Optimized(ResponseBody):
    """What the cleanup did, and the metrics after it."""

    status: str = "optimization_completed"
    timestamp: datetime
    operations_performed: list[str]
    metrics: Metrics


@probe.get("", responses={503: {"description": "Storage or Web PubSub cannot be reached; `data` says which"}})
async def get_health() -> Health:
    """Check whether records, files and Web PubSub can be reached; 503 when one of them cannot."""
    passed = await checks.results()
    healthy = all(passed.values())
    report = Health(
        status="healthy" if healthy else "unhealthy",
        timestamp=datetime.now(UTC),
        uptime_seconds=machine.uptime_seconds(),
        database="connected" if passed["database"] else "disconnected",
        websocket="running" if passed["websocket"] else "stopped",
        storage="accessible" if passed["storage"] else "inaccessible",
    )
    if not healthy:
        raise Unavailable("Unhealthy", details=report.model_dump(mode="json"))
    return report


@routes.get("/status")
async def get_system_status() -> dict[str, Any]:
    """Get the usage of the machine, and the state of the records and of the WebSocket."""
    totals, clients, size = await asyncio.gather(executions.totals({}), connections.count(), _size())
    return {
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


@routes.get("/metrics")
async def get_metrics() -> Metrics:
    """Get the numbers of records, their size, and the usage of the machine."""
    return await _metrics()


@routes.get("/database")
async def get_database_statistics() -> DatabaseStatistics:
    """Get the number of executions by status, of their steps and of their artifacts."""
    totals, files, oldest, newest = await asyncio.gather(
        executions.totals({}), artifacts.totals(), executions.page(limit=1, descending=False), executions.page(limit=1)
    )
    counts = totals.by("status")
    return DatabaseStatistics(
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


@routes.post("/optimize")
async def optimize() -> Optimized:
    """Run the hourly cleanup now; return what it did and the metrics after it."""
    done = await run_cleanup()
    return Optimized(timestamp=datetime.now(UTC), operations_performed=done, metrics=await _metrics())


def megabytes(size: int) -> float:
    """Convert bytes to megabytes."""
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
