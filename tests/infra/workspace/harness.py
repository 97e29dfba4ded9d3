"""Addresses and programs for the tests of a workspace."""

import asyncio
import json
import os
import random
import sys
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from infra.emulator.processes import ROOT, free_ports
from tests.support.waiting import eventually

needs_loopback_addresses = pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux has more than one loopback address, and lists connections in /proc"
)


started: list[asyncio.subprocess.Process] = []
"""The programs of this session."""


def an_address() -> str:
    """An address of this machine that nobody uses."""
    return f"127.9.{random.randrange(256)}.{random.randrange(1, 255)}"


async def program(name: str, **variables: str) -> asyncio.subprocess.Process:
    """Start a program of the workspace with these variables only."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-SEs", str(ROOT / "infra/workspace" / name), env={"PATH": os.environ["PATH"], **variables},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    started.append(process)
    return process


async def killed(process: asyncio.subprocess.Process) -> None:
    """End a program that a failed test has left running."""
    if process.returncode is None:
        process.kill()
        await process.communicate()


async def ended(process: asyncio.subprocess.Process) -> str:
    """End a program; returns what it has printed."""
    if process.returncode is None:
        process.terminate()
    return (await process.communicate())[0].decode()


class Reports:
    """Stands for the API: it records what workspaces report, and answers with `status`."""

    def __init__(self) -> None:
        self.port = free_ports(1)[0]
        self.url = f"http://127.0.0.1:{self.port}"
        self.requests: list[tuple[str, str | None, dict[str, Any]]] = []
        self.status = 200

    async def __aenter__(self) -> "Reports":
        self.runner = web.ServerRunner(web.Server(self._answer))
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", self.port).start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.runner.cleanup()

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        self.requests.append((request.path, request.headers.get("Authorization"), json.loads(await request.read())))
        return web.json_response({"message": "seen"}, status=self.status)

    async def until(self, *counts: tuple[int, int], last: bool = False) -> None:
        """Wait until these counts, or with `last` these as the newest, have been reported."""

        async def seen() -> list[tuple[int, int]]:
            return self.counts[-len(counts) :] if last else self.counts

        await eventually(seen, until=lambda reported: reported == list(counts))

    @property
    def counts(self) -> list[tuple[int, int]]:
        """The connections to the editor and to SSH of each report."""
        snapshots = [body["snapshot"] for _, _, body in self.requests]
        return [(one["activeIDEConnections"], one["activeSSHConnections"]) for one in snapshots]


def text_of(path: Path) -> str:
    return path.read_bytes().decode()
