"""Temporary function apps, and hosts that serve them."""

import asyncio
import contextlib
import json
import os
import signal
import textwrap
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx

from infra.emulator.processes import Child, free_ports, python

HEADER = """
import asyncio
import logging
import os
import time
from datetime import timedelta

import azure.durable_functions as df
import azure.functions as func
from azurefunctions.extensions.http.fastapi import JSONResponse, Request, Response, StreamingResponse
from pydantic import BaseModel

app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)
"""


def write_app(folder: Path, source: str, *, host_json: dict[str, Any] | None = None) -> Path:
    """Write a function app: `HEADER` and this code; returns its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "host.json").write_text(json.dumps({"version": "2.0", **(host_json or {})}))
    (folder / "function_app.py").write_text(HEADER + textwrap.dedent(source))
    return folder


class ServedApp:
    """A host that serves an app, and an HTTP client for it."""

    def __init__(self, app: Path, state: Path, options: list[str], env: dict[str, str] | None):
        self.app, self.state, self.options, self.env = app, state, options, env
        self.port = free_ports(1)[0]
        self.url = f"http://127.0.0.1:{self.port}"
        self.http = httpx.AsyncClient(base_url=self.url, timeout=60, trust_env=False)
        self.child: Child | None = None

    async def start(self) -> None:
        """Start the host and wait until it accepts requests. Raises NotReady when the app cannot be served."""
        where = ["--app", str(self.app), "--port", str(self.port), "--state", str(self.state)]
        command = python("infra.emulator.host", *where, *self.options)
        self.child = Child("Functions host", command, log=self.state / "host.log", env=self.env)
        await self.child.start(lambda: serving(self.port))

    @property
    def pid(self) -> int:
        assert self.child and self.child.process
        return self.child.process.pid

    def kill(self) -> None:
        """Kill the host and its child processes with SIGKILL."""
        os.killpg(self.pid, signal.SIGKILL)

    async def restart(self) -> None:
        """Kill the host with SIGKILL, and start it again with the same port and state."""
        assert self.child
        await self.child.kill()
        await self.start()

    async def stop(self) -> None:
        """Kill the host, which is faster than an orderly stop; that has tests of its own."""
        await self.http.aclose()
        if self.child:
            await self.child.kill()

    def processor_seconds(self) -> float:
        """The processor time that the host has used, the user's and the system's."""
        numbers = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(numbers[11]) + int(numbers[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def log(self) -> str:
        return (self.state / "host.log").read_text()


@contextlib.asynccontextmanager
async def shared(
    folder: Path,
    source: str,
    *options: str,
    host_json: dict[str, Any] | None = None,
    env: dict[str, str] | None = None,
) -> AsyncIterator[ServedApp]:
    """One host for several tests, which neither stop nor change it; each host costs a second of a processor."""
    served = ServedApp(write_app(folder / "app", source, host_json=host_json), folder / "state", list(options), env)
    await served.start()
    try:
        yield served
    finally:
        await served.stop()


async def serving(port: int) -> bool:
    """Whether a host on this loopback port accepts requests. Raises OSError while no process listens there."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(b"GET /admin/host/ping HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n")
        return (await asyncio.wait_for(reader.readline(), 1)).startswith(b"HTTP/1.1 200")
    except TimeoutError:
        return False
    finally:
        writer.close()


Serve = Callable[..., Awaitable[ServedApp]]
"""The fixture `serve`."""


async def eventually(condition: Callable[[], Any], seconds: float = 60) -> Any:
    """Wait until the condition, plain or awaitable, is true; returns its value."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return found
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.02)
