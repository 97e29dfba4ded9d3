"""This process, or another host, as a part of an environment."""

import contextlib
import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from infra.emulator.processes import free_ports
from infra.local.environment import Environment
from shared import blobs, containers, outbound, queues, realtime, shares, tables
from shared.settings import settings
from shared.storage import connect
from tests.support.arm_faults import ArmProxy
from tests.support.gateway import Gateway


def services_outside(providers: int) -> dict[str, str]:
    """Settings under which the app calls the stand-in at this port instead of Google, Telegram, Slack and Discord."""
    at = f"http://127.0.0.1:{providers}"
    return {
        "GOOGLE_AUTH_URL": f"{at}/google/o/oauth2/v2/auth",
        "GOOGLE_TOKEN_URL": f"{at}/google/token",
        "GOOGLE_USERINFO_URL": f"{at}/google/v1/userinfo",
        "GOOGLE_REVOKE_URL": f"{at}/google/revoke",
        "TELEGRAM_API_BASE": f"{at}/telegram",
        "SLACK_API_BASE": f"{at}/slack/api",
        "DISCORD_API_BASE": f"{at}/discord/api/v10",
    }


@contextlib.asynccontextmanager
async def connected(**values: str) -> AsyncIterator[None]:
    """This process as a part of the app that has these settings."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in values.items():
            patch.setenv(name, value)
        await _forget_settings()
        connect()
        yield
    await _forget_settings()


async def _forget_settings() -> None:
    """Settings are read again, and connections made again, when they are needed next."""
    settings.cache_clear()
    for part in (tables, blobs, containers, outbound, queues, realtime, shares):
        await part.close()


@dataclasses.dataclass
class StrictHost:
    """A second instance of the app, on the same storage and services, that serves and allows less: see `STRICT`."""

    http: httpx.AsyncClient
    log: Path
    arm: ArmProxy
    """What stands between it and the management API."""

    async def run(self, client: Gateway, prompt: str, model: str = "bash") -> dict[str, Any]:
        """Create a run of a client that was registered elsewhere; answers it as it was accepted."""
        body = {"prompt": prompt, "model": model}
        answer = await self.http.post("/gateway/api/runs", json=body, headers=client.http.headers)
        assert answer.status_code == 201, answer.text
        return answer.json()


ROOT_KEY = "sk-the-key-of-the-first-administrator"

STRICT = {
    "RUNYARD_APIS": "gateway,anymind,dev8,ownpilot",
    "RUNYARD_ADMIN_KEY": ROOT_KEY,
    "RUNYARD_ARM_TIMEOUT": "1",
    "DEV8_AUTH_ENABLED": "true",
    "DEV8_USER_ENVIRONMENTS": "2",
    "DEV8_CORE_PRICE": "0.04",
    "DEV8_MEMORY_PRICE": "0.0045",
    "OWNPILOT_AUTH": "api-key",
    "OWNPILOT_PRIVATE_PROVIDERS": "false",
    "RUNYARD_ARTIFACT_LIMIT": "1000000",
    "RUNYARD_METRICS_OPEN": "false",
    "RUNYARD_KEY_CACHE": "1",
    "RUNYARD_RATE_SECOND": "20",
    "ANYMIND_RATE_MINUTE": "20",
    "RUNYARD_CLIENT_JOBS": "1",
    "RUNYARD_START_DEADLINE": "1",
    "RUNYARD_JOB_MEMORY": "0.2",
    "ANTHROPIC_API_KEY": "",
}
"""The settings of `StrictHost`: each is the subject of a test, and none changes what another test sees."""


ONLY_REQUESTS = {f"AzureWebJobs.maintenance_{what}.Disabled": "true" for what in ("minute", "hour", "deferred")}


@contextlib.asynccontextmanager
async def another_host(stack: Environment, state: Path, **settings: str) -> AsyncIterator[httpx.AsyncClient]:
    """A second instance of the app, on the same storage and services, and a client of it.

    It has workflows of its own, since a local host keeps them in a file. So its timers and its deferred work are off:
    they would take the jobs of the first instance for jobs without a workflow, and wake workflows that it lacks.
    """
    ports = {**stack.ports, "host": free_ports(1)[0]}
    second = dataclasses.replace(
        stack, state=state, ports=ports, host=None, settings={**stack.settings, **ONLY_REQUESTS, **settings}
    )  # fmt: skip
    stack.allow(f"{second.url}/jobs/")
    await second.start_host()
    assert second.host
    try:
        async with httpx.AsyncClient(base_url=second.url, timeout=60, trust_env=False) as http:
            yield http
    finally:
        await second.host.stop()
