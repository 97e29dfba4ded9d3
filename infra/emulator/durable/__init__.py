"""An emulator of Durable Functions: the protocol of azure-functions-durable 1.7, with its state in one SQLite file."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from starlette.requests import Request

from infra.emulator.durable.database import DatabaseUnusable
from infra.emulator.durable.engine import Dispatcher, FunctionFailed, Invoke
from infra.emulator.durable.links import client_binding
from infra.emulator.durable.wire import ManagementApi

__all__ = ["DatabaseUnusable", "Engine", "FunctionFailed", "Invoke"]


class Engine:
    """The engine and its management API (an ASGI application for everything under /runtime/webhooks/durabletask)."""

    def __init__(
        self,
        database: Path,
        invoke: Invoke,
        *,
        hub: str = "LocalHub",
        base_url: str = "http://127.0.0.1:7071",
        max_activities: int = 10,
        max_orchestrators: int = 5,
        max_entities: int = 10,
        turn_seconds: float = 60,
        schema: int = 2,
        known: Callable[[str], bool] = lambda name: True,
    ):
        """The engine, not started yet.

        `invoke(trigger, function name, JSON text)` runs a function and returns JSON text or None; it raises
        FunctionFailed when the function raises, and KeyError when there is no such function.

        `max_activities`, `max_orchestrators` and `max_entities` limit how many functions of each kind run at the same
        time. An orchestrator that does not yield within `turn_seconds` fails its instance. `schema` is the highest
        replay schema offered to the SDK: 0, 1 or 2 for V1 to V3. `known` returns whether an orchestrator function
        exists; a request to start any other one is answered with an error.
        """
        self._dispatcher = Dispatcher(
            database, invoke, max_activities=max_activities, max_orchestrators=max_orchestrators,
            max_entities=max_entities, turn_seconds=turn_seconds, schema=schema, known=known,
        )  # fmt: skip
        self._management = ManagementApi(self._dispatcher, base_url, hub)
        self._binding = client_binding(base_url, hub)

    async def start(self) -> None:
        """Open or create the database and continue all unfinished work. Raises DatabaseUnusable."""
        await self._dispatcher.start()

    async def stop(self) -> None:
        """Finish the transactions in progress and cancel all other work; the next start continues it."""
        await self._dispatcher.stop()

    def client_binding(self) -> str:
        """The JSON text for a durableClient binding."""
        return self._binding

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one HTTP request; `scope["path"]` is the full path."""
        response = await self._management.answer(Request(scope, receive))
        await response(scope, receive, send)
