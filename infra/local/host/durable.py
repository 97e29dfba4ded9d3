"""Durable Functions: the engine of this app, and how it runs orchestrators, entities and activities."""

import asyncio
import json
from pathlib import Path

import azure.functions as func
from azure.functions.durable_functions import ActivityTriggerConverter
from azure.functions.meta import Datum

from infra.local.durable import Engine, FunctionFailed
from infra.local.host.index import DURABLE_TRIGGERS, Function
from infra.local.host.invocations import Failure, Invoker
from infra.local.host.settings import HostConfiguration

# An orchestrator or entity only computes: one that takes longer is stuck.
TURN_SECONDS = 60.0


class DurableFunctions:
    """The durable functions of an app by trigger and name; the engine calls `invoke`."""

    def __init__(self, functions: list[Function], invoker: Invoker, *, turn_seconds: float = TURN_SECONDS):
        self._invoker, self._turn_seconds = invoker, turn_seconds
        self._functions = {(f.kind, f.durable_name.lower()): f for f in functions if f.kind in DURABLE_TRIGGERS}

    async def invoke(self, kind: str, name: str, payload: str) -> str | None:
        """Run one turn, batch or activity; JSON text in and out.

        Raises:
            KeyError: the app has no such function.
            FunctionFailed: the function raised, or an orchestrator or entity did not come back in time.
        """
        function = self._functions[kind, name.lower()]
        try:
            with self._invoker.invocation(function) as invocation:
                if kind == "activityTrigger":
                    value = ActivityTriggerConverter.decode(Datum(payload, "string"), trigger_metadata=None)
                    result = await self._invoker.run(function, invocation, **{function.trigger["name"]: value})
                    return ActivityTriggerConverter.encode(result, expected_type=None).value
                wrapped = func.EntityContext if kind == "entityTrigger" else func.OrchestrationContext
                async with asyncio.timeout(self._turn_seconds):
                    return await self._invoker.run(function, invocation, wrapped(payload))
        except Failure as failure:
            error = failure.__cause__
            # The text of a failed orchestrator carries its actions: it must stay as it is.
            kept = str(error) if kind != "activityTrigger" else f"{type(error).__name__}: {error}"
            raise FunctionFailed(kept or type(error).__name__) from error


def make_engine(
    configuration: HostConfiguration, functions: list[Function], invoker: Invoker, *, state: Path, base_url: str
) -> Engine:
    """The engine of these functions, with the limits of `host.json`; its state is one file below `state`."""
    return Engine(
        state / "durable.sqlite",
        DurableFunctions(functions, invoker).invoke,
        hub=configuration.get("extensions.durableTask.hubName", "LocalHub"),
        base_url=base_url,
        max_activities=configuration.get("extensions.durableTask.maxConcurrentActivityFunctions", 10),
        max_orchestrators=configuration.get("extensions.durableTask.maxConcurrentOrchestratorFunctions", 5),
        max_entities=configuration.get("extensions.durableTask.maxConcurrentEntityFunctions", 10),
    )


def client_binding(engine: Engine, rpc_url: str) -> str:
    """The text of a durable client binding whose calls go to `rpc_url`; its links stay those of the public address."""
    return json.dumps({**json.loads(engine.client_binding()), "rpcBaseUrl": f"{rpc_url}/"})
