"""How functions share the threads of a host."""

import asyncio
import threading
from pathlib import Path

from infra.emulator.host.index import Function
from infra.emulator.host.operations import Invoker


async def test_orchestrators_that_never_yield_leave_room_for_others(tmp_path: Path):
    release = threading.Event()
    invoker = Invoker(tmp_path, timeout=None, threads=2)

    def function(kind: str, call: object) -> Function:
        return Function(name="f", trigger={"type": kind, "name": "context"}, call=call, clients=(), wants_context=False)  # pyright: ignore[reportArgumentType]

    async def run(kind: str, call: object) -> object:
        one = function(kind, call)
        with invoker.invocation(one) as invocation:
            return await invoker.run(one, invocation, "{}")

    stuck = [asyncio.create_task(run("orchestrationTrigger", lambda _: release.wait(30))) for _ in range(40)]
    try:
        async with asyncio.timeout(25):
            assert await run("orchestrationTrigger", lambda payload: payload) == "{}"
            assert await run("activityTrigger", lambda payload: payload) == "{}"
    finally:
        release.set()
        await asyncio.gather(*stuck)
        invoker.close()
