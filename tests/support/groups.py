"""The container groups of an environment, and the processes in them."""

import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp

from infra.local.environment import Environment


def authorization(environment: Environment) -> dict[str, str]:
    """The header with which the environment's Container Instances answer."""
    return {"Authorization": f"Bearer {environment.app_settings['RUNYARD_ARM_TOKEN']}"}


async def groups(environment: Environment) -> list[str]:
    """The names of the existing container groups."""
    url = (
        f"{environment.app_settings['RUNYARD_ARM_ENDPOINT']}/subscriptions/00000000-0000-0000-0000-000000000000"
        "/resourceGroups/runyard/providers/Microsoft.ContainerInstance/containerGroups?api-version=2023-05-01"
    )
    async with aiohttp.ClientSession(headers=authorization(environment)) as session, session.get(url) as answer:
        return [group["name"] for group in (await answer.json())["value"]]


async def group_body(environment: Environment, name: str) -> dict[str, Any]:
    """A container group as the container service shows it."""
    url = (
        f"{environment.app_settings['RUNYARD_ARM_ENDPOINT']}/subscriptions/00000000-0000-0000-0000-000000000000"
        f"/resourceGroups/runyard/providers/Microsoft.ContainerInstance/containerGroups/{name}?api-version=2023-05-01"
    )
    async with aiohttp.ClientSession(headers=authorization(environment)) as session, session.get(url) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.json()


async def removed(environment: Environment, job_id: str) -> bool:
    """Whether the container of a job does not exist."""
    return f"job-{job_id}" not in await groups(environment)


async def processes_with(text: str) -> list[int]:
    """The ids of the processes whose command line contains a text."""
    found: list[int] = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            try:
                if text in (folder / "cmdline").read_text():
                    found.append(int(folder.name))
            except OSError:
                continue
    return found


@contextlib.asynccontextmanager
async def limited(environment: Environment, **limits: Any) -> AsyncIterator[None]:
    """The quotas of the container service are these for a while; existing groups count too."""
    url = f"{environment.app_settings['RUNYARD_ARM_ENDPOINT']}/local/limits"
    async with aiohttp.ClientSession(headers=authorization(environment)) as session:

        async def change(body: dict[str, Any]) -> dict[str, Any]:
            async with session.put(url, json=body) as answer:
                assert answer.status == 200, await answer.text()
                return await answer.json()

        before = await change({})
        await change(limits)
        try:
            yield
        finally:
            await change(before)
