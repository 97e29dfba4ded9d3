"""The tools of plugins, used in this process, and what lies outside of it."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from functions.ownpilot.core.tool_context import ToolContext
from functions.ownpilot.tools.use import use_tool
from infra.emulator.processes import free_ports
from infra.emulator.providers import KEY, wire
from infra.emulator.providers.mail import serving_mail
from infra.emulator.providers.mailbox import MailServers
from infra.local.environment import Environment
from tests.support.environments import connected
from tests.support.ownpilot import OwnPilot


@dataclass
class Outside:
    """Stand-ins of services and of mail servers, which this process may call."""

    url: str
    mail: MailServers
    http: httpx.AsyncClient

    async def answers(self, path: str, **members: Any) -> None:
        """Let a path answer something else."""
        (await self.http.put(f"{self.url}/local/answers", json={path: members})).raise_for_status()

    async def reset(self) -> None:
        """Let everything answer as it does by default."""
        (await self.http.put(f"{self.url}/local/answers", json={})).raise_for_status()
        self.mail.behaviour = ""


@asynccontextmanager
async def serving_outside(stack: Environment) -> AsyncIterator[Outside]:
    """Serve all of that, and connect this process with the stack."""
    [port] = free_ports(1)
    async with wire.serving(port), serving_mail() as mail, httpx.AsyncClient(trust_env=False) as http:
        hosts = ",".join(f"127.0.0.1:{each}" for each in (port, mail.smtp_port, mail.imap_port))
        async with connected(**stack.app_settings | {"RUNYARD_PRIVATE_HOSTS": hosts}):
            yield Outside(f"http://127.0.0.1:{port}", mail, http)


async def run(me: OwnPilot, name: str, /, **arguments: Any) -> Any:
    """What a tool answers, read from JSON where it is some."""
    result = await use_tool(ToolContext(me.user), name, arguments)
    assert not result.is_error, result.content
    try:
        return json.loads(result.content)
    except ValueError:
        return result.content


async def failed(me: OwnPilot, name: str, /, **arguments: Any) -> str:
    """Why a tool fails; no secret is told."""
    result = await use_tool(ToolContext(me.user), name, arguments)
    assert result.is_error, result.content
    assert KEY not in result.content
    return result.content
