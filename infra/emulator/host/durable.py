"""Durable Functions in the host: the engine, and the calls of orchestrators, entities and activities."""

import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import azure.functions as func
from azure.functions.durable_functions import ActivityTriggerConverter
from azure.functions.meta import Datum

from infra.emulator.durable import DatabaseUnusable, Engine, FunctionFailed
from infra.emulator.host.index import DURABLE_TRIGGERS, Function
from infra.emulator.host.operations import InvocationFailed, Invoker
from infra.emulator.host.settings import HostConfiguration, InvalidApp
from infra.emulator.host.wire import DURABLE_PATH, listen, serving


class DurableFunctions:
    """The durable functions of an app by trigger and name, in the form that the engine calls."""

    def __init__(self, functions: list[Function], invoker: Invoker):
        self._invoker = invoker
        self._functions = {(f.kind, f.durable_name.lower()): f for f in functions if f.kind in DURABLE_TRIGGERS}

    def has_orchestrator(self, name: str) -> bool:
        return ("orchestrationTrigger", name.lower()) in self._functions

    async def invoke(self, kind: str, name: str, payload: str) -> str | None:
        """Run one step, entity batch or activity; takes and returns JSON text.

        Raises:
            KeyError: the app has no function of this kind and name.
            FunctionFailed: the function raised.
        """
        function = self._functions[kind, name.lower()]
        try:
            with self._invoker.invocation(function) as invocation:
                if kind == "activityTrigger":
                    value = ActivityTriggerConverter.decode(Datum(payload, "string"), trigger_metadata=None)
                    result = await self._invoker.run(function, invocation, **{function.trigger["name"]: value})
                    return ActivityTriggerConverter.encode(result, expected_type=None).value
                wrapped = func.EntityContext if kind == "entityTrigger" else func.OrchestrationContext
                return await self._invoker.run(function, invocation, wrapped(payload))
        except InvocationFailed as failure:
            error = failure.__cause__
            # The message of a failed orchestrator contains its actions, so it must not be changed.
            text = f"{type(error).__name__}: {error}" if kind == "activityTrigger" else str(error)
            raise FunctionFailed(text or type(error).__name__) from error


@contextlib.asynccontextmanager
async def running(
    functions: list[Function], invoker: Invoker, configuration: HostConfiguration, *, state: Path, public_url: str
) -> AsyncIterator[Engine]:
    """Run the engine for these functions, with its database in the folder `state`.

    Functions call it on a port of its own, because the public port closes while they finish.

    Raises:
        InvalidApp: the database cannot be used.
    """
    durable = DurableFunctions(functions, invoker)
    state.mkdir(parents=True, exist_ok=True)
    engine = Engine(
        state / "durable.sqlite",
        durable.invoke,
        hub=configuration.get("extensions.durableTask.hubName", "LocalHub"),
        base_url=public_url,
        max_activities=configuration.get("extensions.durableTask.maxConcurrentActivityFunctions", 10),
        max_orchestrators=configuration.get("extensions.durableTask.maxConcurrentOrchestratorFunctions", 5),
        max_entities=configuration.get("extensions.durableTask.maxConcurrentEntityFunctions", 10),
        known=durable.has_orchestrator,
    )
    port = listen(0)
    rpc = {"rpcBaseUrl": f"http://127.0.0.1:{port.getsockname()[1]}{DURABLE_PATH}/"}
    invoker.client_binding = json.dumps(json.loads(engine.client_binding()) | rpc)
    async with serving(engine, port, drain_seconds=1):
        try:
            await engine.start()
        except DatabaseUnusable as error:
            raise InvalidApp(str(error)) from error
        try:
            yield engine
        finally:
            await engine.stop()
