"""Executions: a handler is called in a container of its own."""

from tests.support.agents import agent_of, execute, ready
from tests.support.anymind import Anymind


async def test_smoke(anymind: Anymind):
    agent = await ready(anymind, agent_of("def handle(p):\n    print('hi')\n    return {'a': p['x']}\n"))
    done = await execute(anymind, agent, x=5)
    assert done["output_data"] == {"a": 5}, done
    print(await anymind.ok("GET", f"/logs/{agent}"))
