"""What the parts of the benchmarks measure: the whole app with a client, or storage alone."""

import asyncio
import contextlib
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from bench.recorder import Recorder, recording
from infra.emulator import azurite, webpubsub
from infra.emulator.processes import Child, free_ports, listening, python
from infra.local.environment import NODE_MODULES, Environment
from tests.support.environments import connected
from tests.support.gateway import FINAL
from tests.support.values import UNLIMITED

BIG = 100_000_000
"""Bytes of the largest artifact."""

SETTINGS = {"RUNYARD_ARTIFACT_LIMIT": str(BIG), **UNLIMITED}


@dataclass
class Client:
    """A registered client of the gateway in an environment."""

    http: aiohttp.ClientSession
    environment: Environment
    key: str

    @property
    def url(self) -> str:
        """The base URL of the gateway."""
        return f"{self.environment.url}/gateway"

    @property
    def headers(self) -> dict[str, str]:
        """The header with the client's key; not one of the session, as a socket must not send it."""
        return {"Authorization": f"Bearer {self.key}"}

    @property
    def host(self) -> int:
        """The process id of the Functions host."""
        assert self.environment.host and self.environment.host.process
        return self.environment.host.process.pid

    async def read(self, path: str) -> bytes:
        """The body of a path below the host's URL."""
        async with self.http.get(f"{self.environment.url}{path}", headers=self.headers) as answer:
            answer.raise_for_status()
            return await answer.read()

    async def create(self, prompt: str = "true", model: str = "bash") -> str:
        """Create a run; returns its id."""
        body = {"prompt": prompt, "model": model}
        async with self.http.post(f"{self.url}/api/runs", json=body, headers=self.headers) as answer:
            answer.raise_for_status()
            return (await answer.json())["id"]

    async def finish(self, run_id: str) -> dict[str, Any]:
        """Wait until a run has completed. RuntimeError when it has ended otherwise."""
        while True:
            run = orjson.loads(await self.read(f"/gateway/api/runs/{run_id}"))
            if run["status"] in FINAL:
                _check(run)
                return run
            await asyncio.sleep(0.1)

    @contextlib.asynccontextmanager
    async def updates(self) -> AsyncIterator["Updates"]:
        """The live updates, which one socket receives until the end of the block."""
        async with self.http.ws_connect(f"{self.url}/ws") as socket:
            await socket.send_json({"type": "auth", "api_key": self.key})
            while (await socket.receive_json(timeout=60))["type"] != "auth_success":
                pass
            yield Updates(socket)


@dataclass
class Updates:
    """A socket that receives the updates of all runs."""

    socket: aiohttp.ClientWebSocketResponse

    async def completed(self, count: int) -> dict[str, float]:
        """The moments (`time.time`) at which the next `count` runs were reported as completed, by their ids."""
        moments: dict[str, float] = {}
        while len(moments) < count:
            event = await self.socket.receive_json(timeout=120)
            if event["type"] == "run_complete":
                _check(event)
                moments[event["run_id"]] = time.time()
        return moments


def _check(run: dict[str, Any]) -> None:
    if run["status"] != "completed":
        raise RuntimeError(f"a run ended wrongly: {run}")


async def started_client(environment: Environment, stack: contextlib.AsyncExitStack) -> Client:
    """A new client of a started environment; its first run, which pays for imports, is done."""
    session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(600), connector=aiohttp.TCPConnector(limit=0))
    http = await stack.enter_async_context(session)
    async with http.post(f"{environment.url}/gateway/api/auth/login", json={"name": f"bench {time.time_ns()}"}) as got:
        got.raise_for_status()
        key = (await got.json())["api_key"]
    client = Client(http, environment, key)
    await client.finish(await client.create())
    return client


@contextlib.asynccontextmanager
async def running(*, app: Path | None = None, **settings: str) -> AsyncIterator[Client]:
    """The whole environment with these settings, and a client of it; `app` is the folder of another app to serve."""
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        environment = Environment.temporary(folder, **SETTINGS, **settings)
        environment.serve = app is None
        stack.push_async_callback(environment.stop)
        await environment.start()
        if app is not None:
            environment.host = await _host(app, environment, folder)
        await stack.enter_async_context(connected(**environment.app_settings))
        yield await started_client(environment, stack)


@contextlib.asynccontextmanager
async def recorded(*services: str, **settings: str) -> AsyncIterator[tuple[Client, Recorder]]:
    """The whole environment with these settings, proxies in front of these services, and a client of it."""
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        environment = Environment.temporary(folder, **SETTINGS, **settings)
        ports = dict(environment.ports)
        recorder = await stack.enter_async_context(recording({name: ports[name] for name in services}))
        ports |= recorder.ports
        through: dict[str, str] = {}
        if "table" in services:
            given = azurite.connection_string(ports["blob"], ports["queue"], ports["table"], environment.keys.storage)
            through["AzureWebJobsStorage"] = given
        if "webpubsub" in services:
            through["RUNYARD_WEBPUBSUB"] = webpubsub.connection_string(ports["webpubsub"], environment.keys.webpubsub)
        through["RUNYARD_ARM_ENDPOINT"] = f"http://127.0.0.1:{ports['containers']}"
        through["RUNYARD_PUBLIC_URL"] = f"http://127.0.0.1:{ports['host']}"
        environment.settings = {**environment.settings, **through}
        stack.push_async_callback(environment.stop)
        await environment.start()
        environment.allow(f"http://127.0.0.1:{ports['host']}/jobs/")
        environment.allow(f"http://127.0.0.1:{ports['blob']}/{azurite.ACCOUNT}/")
        await stack.enter_async_context(connected(**environment.app_settings))
        yield await started_client(environment, stack), recorder


async def _host(app: Path, environment: Environment, folder: Path) -> Child:
    port = environment.ports["host"]
    arguments = ["--app", str(app), "--port", str(port), "--state", f"{folder}/host"]
    command = python("infra.emulator.host", *arguments)
    host = Child("host", command, log=folder / "host.log", env=environment.app_settings)
    await host.start(lambda: listening(port))
    return host


@contextlib.asynccontextmanager
async def storage() -> AsyncIterator[None]:
    """A new storage emulator in memory, which this process's records use."""
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        ports = free_ports(3)
        child = await azurite.start(
            (ports[0], ports[1], ports[2]), node_modules=NODE_MODULES, folder=None, log=folder / "azurite.log"
        )
        stack.push_async_callback(child.stop)
        await stack.enter_async_context(
            connected(AzureWebJobsStorage=azurite.connection_string(ports[0], ports[1], ports[2]))
        )
        yield
