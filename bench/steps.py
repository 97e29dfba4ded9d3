"""StepFlow: many steps that a command prints at once, until the last one is on the socket."""

import asyncio
import statistics
import time
from typing import Any

import orjson
from websockets.asyncio.client import connect

from bench.figures import Figure
from bench.services import running
from tests.support.stepflow import StepFlow, client_of

STEPS, ROUNDS = 5_000, 3
PRINTED = f"""
import time
print(*(f"STEP_START: {{n}}\\nSTEP_COMPLETE: {{n}}" for n in range({STEPS})), sep="\\n")
print(f"printed {{time.time()}}", flush=True)
time.sleep(2)
"""
"""The command goes on for a while, so that its end brings no event that was late."""


async def run() -> list[Figure]:
    """Measure everything, over HTTP and a WebSocket."""
    async with running() as client, client_of(client.environment) as stepflow:
        await _once(stepflow)
        found = [await _once(stepflow) for _ in range(ROUNDS)]
    printed = f"{STEPS:,} steps printed at once"
    return [
        Figure(f"{printed}: all on the socket", statistics.median(all_ for all_, _ in found), "s", at_most=3),
        Figure(
            f"{printed}: the last event after its line", statistics.median(last for _, last in found), "s", at_most=1
        ),
    ]


async def _once(stepflow: StepFlow) -> tuple[float, float]:
    """The seconds from the first event to the last one, and from the last line to its event."""
    arrived: list[float] = []
    async with connect(f"{stepflow.sockets}/ws", max_size=None, proxy=None) as socket:
        execution = await stepflow.create(["python3", "-c", PRINTED])
        while len(arrived) < STEPS:
            async with asyncio.timeout(60):
                last = orjson.loads(await socket.recv())
            arrived += [time.time()] * sum(map(_ends_step, [*last["data"].get("earlier", ()), last]))
    await stepflow.reach(execution)
    [line] = [each for each in await stepflow.logs(execution) if each.startswith("printed ")]
    return arrived[-1] - arrived[0], arrived[-1] - float(line.split()[1])


def _ends_step(message: dict[str, Any]) -> bool:
    return message["type"] == "step_update" and message["data"]["step"]["status"] == "completed"
