"""What one run costs: the requests that storage gets."""

from pathlib import Path

import pytest

from bench.recorder import recording
from infra.emulator import azurite
from infra.local.environment import Environment
from tests.support.environments import another_host
from tests.support.gateway import Gateway


@pytest.mark.parametrize(
    ("prompt", "calls", "rows", "blobs"), [("true", 9, 29, 0), ("echo hello", 11, 36, 4)], ids=["silent", "one line"]
)
async def test_a_short_run_costs_few_calls(
    stack: Environment, gateway: Gateway, tmp_path: Path, prompt: str, calls: int, rows: int, blobs: int
):
    async with recording({"blob": stack.ports["blob"], "table": stack.ports["table"]}) as recorder:
        ports = {**stack.ports, **recorder.ports}
        through = azurite.connection_string(ports["blob"], ports["queue"], ports["table"], stack.keys.storage)
        stack.allow(f"http://127.0.0.1:{ports['blob']}/{azurite.ACCOUNT}/")
        async with another_host(stack, tmp_path, AzureWebJobsStorage=through) as http:
            http.headers.update(gateway.http.headers)
            own = Gateway(http, gateway.id, gateway.key)
            for _ in range(2):  # the first one makes what every process makes once
                await recorder.quiet()
                recorder.passed.clear()
                run = await own.run(prompt)
                await gateway.reach(run["id"])  # through the other host, which is not counted
                await recorder.quiet()
            counts = recorder.counts()
    assert counts["table"] <= calls, recorder.passed
    assert counts["rows written"] <= rows, recorder.passed
    assert counts["blob"] <= blobs, recorder.passed
