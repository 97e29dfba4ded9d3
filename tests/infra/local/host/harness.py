"""Throw-away function apps, and hosts that serve them."""

import asyncio
import json
import os
import signal
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from infra.local import host
from infra.local.processes import Child, free_ports

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
    """A function app with this code below the usual imports and `app`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "host.json").write_text(json.dumps({"version": "2.0", **(host_json or {})}))
    (folder / "function_app.py").write_text(HEADER + textwrap.dedent(source))
    return folder


class Served:
    """A host that serves an app, and an HTTP client for it."""

    def __init__(self, app: Path, state: Path, options: list[str], env: dict[str, str] | None):
        self.app, self.state, self.options, self.env = app, state, options, env
        self.port = free_ports(1)[0]
        self.url = f"http://127.0.0.1:{self.port}"
        self.http = httpx.AsyncClient(base_url=self.url, timeout=20, trust_env=False)
        self.child: Child | None = None

    async def start(self) -> None:
        self.child = await host.start(self.app, self.port, state=self.state, options=self.options, env=self.env)

    @property
    def pid(self) -> int:
        assert self.child and self.child.process
        return self.child.process.pid

    def kill(self) -> None:
        """As a power cut would."""
        os.killpg(self.pid, signal.SIGKILL)

    async def restart(self) -> None:
        """kill -9, and start again on the same port and state."""
        assert self.child
        await self.child.kill()
        await self.start()

    async def stop(self) -> None:
        await self.http.aclose()
        if self.child:
            await self.child.stop()

    @property
    def log(self) -> str:
        return (self.state / "host.log").read_text()


async def eventually(condition: Callable[[], Any], seconds: float = 15) -> Any:
    """Wait until the condition, plain or awaitable, is truthy, and return what it gave."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return found
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.02)
