"""Starting the services of an environment again when they end."""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from pathlib import Path

from infra.emulator.processes import NOTICE, Child, NotReady
from infra.local.environment import Environment

DEATHS, WITHIN = 3, 60.0
"""A service that ends so many times within so many seconds is not started again."""

Say = Callable[[str], None]


async def supervise(environment: Environment, say: Say) -> None:
    """Start each service again when it ends, until cancelled; `say` gets one line about each event.

    Raises:
        NotReady: a service ends again and again. The others still run.
    """
    services: dict[str, tuple[Callable[[], Child | None], Callable[[], Awaitable[None]]]] = {
        "Azurite": (lambda: environment.storage, environment.start_storage),
        "Container Instances": (lambda: environment.containers, environment.start_containers),
        "Web PubSub": (lambda: environment.webpubsub, environment.start_webpubsub),
        "The providers": (lambda: environment.providers, environment.start_providers),
        "The Functions host": (lambda: environment.host, environment.start_host),
    }
    try:
        async with asyncio.TaskGroup() as group:
            for name, (child, start) in services.items():
                if found := child():
                    group.create_task(_keep(name, child, start, say))
                    if found is environment.host:
                        group.create_task(_repeat_notices(found.log, say))
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None


async def _keep(name: str, current: Callable[[], Child | None], start: Callable[[], Awaitable[None]], say: Say) -> None:
    deaths: deque[float] = deque(maxlen=DEATHS)
    while child := current():
        how, is_running = await child.ended(), False
        while not is_running:
            deaths.append(time.monotonic())
            if len(deaths) == DEATHS and deaths[-1] - deaths[0] < WITHIN:
                raise NotReady(f"{name} {how}, the third time within a minute; its log is {child.log}")
            try:
                await start()
                is_running = True
            except NotReady:
                how = "did not start"
        say(f"{name} {how}; started again.")


async def _repeat_notices(log: Path, say: Say) -> None:
    """Say what the host prints about its own processes, about changed files, and about an app that does not load."""
    with log.open(errors="replace") as lines:
        lines.seek(0, 2)
        while True:
            while line := lines.readline():
                if line.startswith((NOTICE, "ERROR ")) and line.endswith("\n"):
                    say(line.removeprefix(NOTICE).rstrip())
            await asyncio.sleep(0.2)
