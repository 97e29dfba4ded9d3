"""Throughput of the emulated Durable Functions with trivial activities: many short chains, and one wide fan-out."""

import asyncio
import json
import tempfile
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import azure.durable_functions as df
import httpx

from bench.figures import Figure
from infra.emulator.durable import Engine

CHAINS, LENGTH, WIDTH = 400, 5, 1000
app = df.DFApp()


@app.orchestration_trigger(context_name="context")
def chain(ctx: Any) -> Generator[Any, Any, Any]:
    """Call activities one after the other."""
    value = 0
    for _ in range(ctx.get_input()):
        value = yield ctx.call_activity("add_one", value)
    return value


@app.orchestration_trigger(context_name="context")
def fan_out(ctx: Any) -> Generator[Any, Any, Any]:
    """Call activities concurrently."""
    return sum((yield ctx.task_all([ctx.call_activity("add_one", 0) for _ in range(ctx.get_input())])))


ORCHESTRATORS: dict[str, Any] = {str(f.get_function_name()): f.get_user_function() for f in app.get_functions()}


async def _invoke(kind: str, name: str, data: str) -> str | None:
    if kind == "activityTrigger":
        return json.dumps(json.loads(data) + 1)
    return await asyncio.to_thread(ORCHESTRATORS[name], data)


async def _drain(engine: Engine, orchestrator: str, size: int, instances: int) -> float:
    """Return the seconds from the first start to the last completion."""
    base = "http://engine/runtime/webhooks/durabletask"
    async with httpx.AsyncClient(transport=httpx.ASGITransport(engine)) as http:
        begin = time.perf_counter()
        for _ in range(instances):
            (await http.post(f"{base}/orchestrators/{orchestrator}", json=str(size))).raise_for_status()
        unfinished = {"runtimeStatus": "Pending,Running,Failed", "top": "1"}
        while found := (await http.get(f"{base}/instances", params=unfinished)).json():
            if found[0]["runtimeStatus"] == "Failed":
                raise RuntimeError(found[0]["output"])
            await asyncio.sleep(0.05)
        return time.perf_counter() - begin


async def run() -> list[Figure]:
    """Measure each load."""
    figures: list[Figure] = []
    loads = [(f"{CHAINS} chains of {LENGTH}", "chain", LENGTH, CHAINS), (f"a fan-out of {WIDTH}", "fan_out", WIDTH, 1)]
    for load, orchestrator, size, instances in loads:
        with tempfile.TemporaryDirectory() as folder:
            engine = Engine(Path(folder) / "durable.db", _invoke)
            await engine.start()
            seconds = await _drain(engine, orchestrator, size, instances)
            await engine.stop()
        figures.append(Figure(f"{load} activities", instances * size / seconds, "1/s"))
    return figures
