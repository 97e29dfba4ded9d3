"""Functions written with the real SDK, the engine that runs them, and the SDK's client over HTTP."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import azure.durable_functions as df
import uvicorn
from azure.durable_functions.models.utils.df_serialization import df_dumps, df_loads

from infra.emulator.durable import Engine, FunctionFailed
from infra.emulator.processes import free_ports

FINISHED = {"Completed", "Failed", "Terminated"}


@dataclass(frozen=True)
class InstanceStatus:
    """The status of an instance, as the SDK's client returns it."""

    id: str
    status: str
    output: Any
    input: Any
    custom_status: Any
    history: Any


class Functions:
    """Runs the functions of an app as the worker does: activities on the event loop, others in threads."""

    def __init__(self, app: df.DFApp):
        self._functions: dict[str, Any] = {str(f.get_function_name()).lower(): f for f in app.get_functions()}

    def known(self, name: str) -> bool:
        """Whether the app has an orchestrator with this name."""
        found = self._functions.get(name.lower())
        return found is not None and found.get_trigger().type == "orchestrationTrigger"

    async def __call__(self, kind: str, name: str, data: str) -> str | None:
        function = self._functions[name.lower()]
        trigger = function.get_trigger()
        if trigger.type != kind:
            raise KeyError(name)
        call = function.get_user_function()
        try:
            if kind != "activityTrigger":
                return await asyncio.to_thread(call, data)
            result = call(**{trigger.name: df_loads(data)})
            return df_dumps(await result if inspect.isawaitable(result) else result)
        except Exception as error:
            raise FunctionFailed(f"{type(error).__name__}: {error}") from error


class EngineServer:
    """An HTTP server in this process, which passes every request to the present engine."""

    def __init__(self) -> None:
        self.engine: Callable[..., Awaitable[None]] | None = None
        port = free_ports(1)[0]
        self.base_url = f"http://127.0.0.1:{port}"
        where = {"host": "127.0.0.1", "port": port}
        self._server = uvicorn.Server(
            uvicorn.Config(self._serve, interface="asgi3", lifespan="off", log_level="warning", **where)
        )

    async def _serve(self, scope: Any, receive: Any, send: Any) -> None:
        assert self.engine
        await self.engine(scope, receive, send)

    async def start(self) -> None:
        self._serving = asyncio.create_task(self._server.serve())
        await eventually(lambda: self._server.started)

    async def stop(self) -> None:
        self._server.should_exit = True
        await self._serving


class TaskHub:
    """An engine with a database of its own, served over HTTP, and the SDK's client for it."""

    def __init__(self, functions: Functions, server: EngineServer, database: Path, **options: Any):
        self._server = server
        self.database = database
        self.base_url = server.base_url
        self.api = f"{server.base_url}/runtime/webhooks/durabletask"
        options = {"known": functions.known, **options}
        self._new = lambda: Engine(database, functions, base_url=server.base_url, **options)

    async def start(self) -> "TaskHub":
        self.engine = self._new()
        self._server.engine = self.engine
        await self.engine.start()
        self.client = df.DurableOrchestrationClient(self.engine.client_binding())
        return self

    async def stop(self) -> None:
        await self.engine.stop()

    async def restart_engine(self) -> None:
        """Stop the engine and start another one with the same database."""
        await self.stop()
        await self.start()

    async def run(self, name: str, input: Any = None) -> InstanceStatus:
        """Start an orchestration and wait for its end; returns its status."""
        return await self.finished(await self.client.start_new(name, client_input=input))

    async def status(self, id: str, **options: bool) -> InstanceStatus | None:
        """The status of an instance, None when it does not exist."""
        status = await self.client.get_status(id, **options)
        if not status or not status.runtime_status:
            return None
        history = getattr(status, "historyEvents", None)
        value = status.runtime_status.value
        return InstanceStatus(id, value, status.output, status.input_, status.custom_status, history)

    async def finished(self, id: str, seconds: float = 60) -> InstanceStatus:
        """Wait until the instance has ended; returns its status."""
        return await self.reached(id, *FINISHED, seconds=seconds)

    async def reached(self, id: str, *wanted: str, seconds: float = 60) -> InstanceStatus:
        """Wait until the instance has one of these statuses; returns its status."""
        deadline = time.monotonic() + seconds
        while True:
            status = await self.status(id)
            if status and status.status in wanted:
                return status
            assert time.monotonic() < deadline, f"{id} is {status}, not one of {wanted}"
            await asyncio.sleep(0.01)


async def eventually(condition: Callable[[], Any], seconds: float = 60) -> Any:
    """Wait until the condition, plain or awaitable, is true; returns its value."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if inspect.isawaitable(value):
            value = await value
        if value:
            return value
        assert time.monotonic() < deadline, "it did not happen"
        await asyncio.sleep(0.01)
