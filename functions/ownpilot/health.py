"""Health of the assistant and of the services that it needs, at `/health` and at `/api/v1/health`."""

import time
from datetime import UTC, datetime
from typing import Any, Literal

from fastapi import APIRouter, Response

from functions.ownpilot.core.entry import Moment, Shown
from shared.health import CONTAINERS, RECORDS, Checks
from shared.http.bodies import Done
from shared.http.routes import options, router
from shared.settings import settings

VERSION = "1.0.0"
STARTED = time.monotonic()
PAUSE = 2.0
"""Seconds between two checks that anybody may ask for: the service allows so many calls in an hour."""

SERVICE = "Azure Container Instances"
IMAGES = {"python": "python:3.11-slim", "javascript": "node:20-slim", "shell": "alpine:latest"}

checks = Checks({"database": RECORDS, "docker": CONTAINERS})


class Check(Shown):
    """One check."""

    name: str
    status: Literal["pass", "warn", "fail"]
    message: str


class Database(Shown):
    """Where the records are: `host` is the name of the storage account."""

    type: str
    connected: bool
    host: str


class Sandbox(Shown):
    """Whether code can run in containers."""

    docker_available: bool
    docker_version: str | None
    code_execution_enabled: bool
    security_mode: Literal["strict", "relaxed"]


class Health(Shown):
    """`uptime` in seconds."""

    status: Literal["healthy", "degraded", "unhealthy"]
    version: str = VERSION
    uptime: float
    checks: list[Check]
    database: Database
    sandbox: Sandbox


class State(Shown):
    """`ok`, or `unavailable`."""

    status: str


class SandboxReport(Shown):
    """What the container service can do; it pulls an image when a container needs it."""

    docker_available: bool
    docker_version: str | None
    security_flags_supported: bool
    relaxed_security_required: bool
    images_available: dict[str, bool]
    last_checked: Moment
    error: str | None = None


class Pull(Shown):
    """Whether containers of this image can be started."""

    success: bool
    error: str | None = None


class Pulled(Shown):
    """One result for each language."""

    images: dict[str, Pull]


@options(counted=False)
async def get_health() -> Health:
    """Check records and containers, side by side; results are a few seconds old at most."""
    passed = await checks.results()
    account, connected, docker = settings().account.name, passed["database"], passed["docker"]
    return Health(
        status="healthy" if all(passed.values()) else "degraded",
        uptime=round(time.monotonic() - STARTED, 1),
        checks=[
            Check(name="core", status="pass", message="Core module loaded"),
            Check(
                name="database",
                status="pass" if connected else "fail",
                message=f"azure-tables {'connected' if connected else 'does not answer'} ({account})",
            ),
            Check(
                name="docker",
                status="pass" if docker else "warn",
                message=f"{SERVICE} {'can run code' if docker else 'does not answer'}",
            ),
        ],
        database=Database(type="azure-tables", connected=connected, host=account),
        sandbox=Sandbox(
            docker_available=docker,
            docker_version=SERVICE if docker else None,
            code_execution_enabled=docker,
            security_mode="strict",
        ),
    )


@options(counted=False, enveloped=False)
async def get_liveness() -> State:
    """Confirm that this process answers."""
    return State(status="ok")


@options(counted=False, enveloped=False)
async def get_readiness(response: Response) -> State:
    """Confirm that records can be read; 503 when they cannot."""
    ready = (await checks.results("database"))["database"]
    response.status_code = 200 if ready else 503
    return State(status="ok" if ready else "unavailable")


@options(counted=False)
async def get_sandbox(refresh: bool = False) -> SandboxReport:
    """What the container service can do; `refresh` asks it again, if the last check was 2 seconds ago."""
    if refresh:
        CONTAINERS.forget(older=PAUSE)
    available = (await checks.results("docker"))["docker"]
    return SandboxReport(
        docker_available=available,
        docker_version=SERVICE if available else None,
        security_flags_supported=available,
        relaxed_security_required=False,
        images_available=dict.fromkeys(IMAGES.values(), available),
        last_checked=CONTAINERS.checked_at or datetime.now(UTC),
        error=None if available else f"{SERVICE} does not answer",
    )


@options(counted=False)
async def reset_sandbox() -> Done:
    """Forget the last result, if it is 2 seconds old: the next check asks the container service again."""
    CONTAINERS.forget(older=PAUSE)
    return Done(message="The next check asks the container service again")


@options(counted=False)
async def pull_images() -> Pulled:
    """Say of each image whether containers of it can be started; the service pulls images when it starts them."""
    available = (await checks.results("docker"))["docker"]
    pull = Pull(success=True) if available else Pull(success=False, error=f"{SERVICE} does not answer")
    return Pulled(images=dict.fromkeys(IMAGES, pull))


def _routes(prefix: str) -> APIRouter:
    made = router(prefix, "health")
    made.get("")(get_health)
    made.get("/live")(get_liveness)
    made.get("/ready", responses={503: {"model": State}})(get_readiness)
    shown: dict[str, Any] = {"response_model_exclude_none": True}
    made.get("/sandbox", **shown)(get_sandbox)
    made.post("/sandbox/reset")(reset_sandbox)
    made.post("/sandbox/pull-images", **shown)(pull_images)
    return made


probe = _routes("/health")
routes = _routes("/api/v1/health")
