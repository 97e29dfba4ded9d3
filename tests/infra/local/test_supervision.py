"""The processes of an environment are started again when they end, and none is left when the environment ends."""

import asyncio
import contextlib
import os
import re
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from infra.emulator.host.reload import RESTART_SECONDS
from infra.emulator.processes import Child, NotReady
from infra.local.environment import Environment
from infra.local.supervision import supervise
from tests.support.gateway import register
from tests.support.waiting import eventually

pytestmark = pytest.mark.long


class Supervised:
    """A supervised environment, and what was said about it."""

    def __init__(self, environment: Environment):
        self.environment, self.said = environment, list[str]()
        self.task = asyncio.create_task(supervise(environment, self.said.append))

    async def hears(self, *lines: str) -> None:
        """Wait until so many lines are said, and compare them, in any order, with these patterns."""

        async def look() -> list[str]:
            assert not self.task.done(), self.task.exception()
            return self.said

        heard = sorted(await eventually(look, until=lambda said: len(said) >= len(lines), seconds=60))
        assert len(heard) == len(lines) and all(map(re.fullmatch, sorted(lines), heard)), heard
        self.said.clear()


@pytest.fixture(scope="module")
async def supervised(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Supervised]:
    environment = Environment.temporary(tmp_path_factory.mktemp("supervised"))
    environment.reload = True
    await environment.start()
    supervised = Supervised(environment)
    yield supervised
    supervised.task.cancel()
    with contextlib.suppress(asyncio.CancelledError, NotReady):
        await supervised.task
    await environment.stop()


def kill(child: Child | None) -> None:
    """Kill a service, but not the processes that it has forked."""
    assert child and child.process
    os.kill(child.process.pid, signal.SIGKILL)


async def forked_by(child: Child | None) -> list[int]:
    """The processes that a service has forked."""
    assert child and child.process
    return [
        int(pid) for pid in Path(f"/proc/{child.process.pid}/task/{child.process.pid}/children").read_text().split()
    ]


def test_the_pauses_before_a_restart_leave_most_of_five_seconds_for_the_start():
    """A service is started again at once, a process of the host after a pause; a start takes two seconds or so."""
    assert RESTART_SECONDS <= 1


async def test_every_service_that_is_killed_is_started_again(supervised: Supervised):
    environment = supervised.environment
    for child in (environment.storage, environment.containers, environment.webpubsub, environment.providers,
                  environment.host):  # fmt: skip
        kill(child)
    services = ("Azurite", "Container Instances", "The Functions host", "The providers", "Web PubSub")
    await supervised.hears(*(rf"{name} was killed \(signal 9\); started again\." for name in services))
    gateway = await register(environment)  # a client of the new host in the new storage
    run = await gateway.run("echo whole")
    assert (await gateway.reach(run["id"], seconds=90))["status"] == "completed"
    await gateway.http.aclose()


async def test_the_process_that_serves_and_the_one_that_loads_are_started_again(supervised: Supervised):
    host = supervised.environment.host
    [serving] = await forked_by(host)
    os.kill(serving, signal.SIGKILL)
    await supervised.hears(r"The process that served the app was killed \(signal 9\); starting it again\.")
    [loading] = await eventually(lambda: forked_by(host), until=lambda pids: pids and pids != [serving])
    os.kill(loading, signal.SIGKILL)
    # On a fast machine it serves already.
    await supervised.hears(r"The process that (loaded|served) the app was killed \(signal 9\); starting it again\.")
    async with httpx.AsyncClient(base_url=supervised.environment.url, timeout=60, trust_env=False) as http:
        assert (await http.get("/admin/host/ping")).status_code == 200


async def test_a_service_that_ends_again_and_again_ends_all(supervised: Supervised):
    with pytest.raises(
        NotReady, match=r"^Web PubSub was killed \(signal 9\), the third time within a minute; its log is "
    ):
        while True:
            webpubsub = supervised.environment.webpubsub
            kill(webpubsub)
            await eventually(lambda old=webpubsub: changed(supervised, old), seconds=60)


async def changed(supervised: Supervised, old: Child | None) -> bool:
    """Whether Web PubSub runs again; raises what has ended the supervision."""
    if supervised.task.done():
        await supervised.task
    return supervised.environment.webpubsub is not old
