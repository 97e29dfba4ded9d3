"""The host of one app: loads it, starts its triggers, serves it, and stops in order."""

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from infra.emulator.host import index
from infra.emulator.host.http import HttpFunctions
from infra.emulator.host.index import DURABLE_TRIGGERS, Function
from infra.emulator.host.operations import Invoker
from infra.emulator.host.queues import Queues
from infra.emulator.host.routes import RouteTable
from infra.emulator.host.settings import HostConfiguration, apply_app_settings, is_disabled
from infra.emulator.host.sockets import SocketProxy
from infra.emulator.host.timers import Timers
from infra.emulator.host.wire import AdminApi, Front, serving
from infra.emulator.origins import Origins

log = logging.getLogger("host")

BODY_LIMIT = 104_857_600


@dataclass(frozen=True)
class Options:
    """How to serve: the folder of the app, the folder for the state of the host, and time limits in seconds."""

    app: Path
    state: Path
    sockets: dict[str, str] = field(default_factory=dict)
    response_timeout: float | None = None
    drain_seconds: int = 10
    origins: Origins = field(default_factory=Origins)


class Host:
    """An app, imported and checked.

    Raises:
        InvalidApp: the app breaks a rule of the host.
        Exception: whatever the import of the app raises.
    """

    def __init__(self, options: Options, listener: socket.socket):
        self.options, self._listener = options, listener
        self.address = f"127.0.0.1:{listener.getsockname()[1]}"
        os.environ.setdefault("WEBSITE_HOSTNAME", self.address)
        apply_app_settings(options.app)
        self.configuration = HostConfiguration(options.app)
        self.functions = index.load(options.app)
        enabled = [function for function in self.functions if not is_disabled(function.name)]
        self.routes = RouteTable(enabled, self.configuration.route_prefix)
        self.invoker = Invoker(
            options.app,
            timeout=self.configuration.function_timeout,
            threads=int(os.environ.get("PYTHON_THREADPOOL_THREAD_COUNT", "0")) or None,
        )
        self.timers = Timers(self.functions, self.invoker, options.state / "timers")
        self.queues = Queues(self.functions, self.invoker, self.configuration)

    def table(self) -> str:
        """The functions with their addresses, one on a line, then the functions that were dropped."""
        addresses = {
            route.function.name: f"[{','.join(sorted(route.methods)) or '*'}] http://{self.address}/{route.path}"
            for route in self.routes.routes
        }
        served = [f for f in self.functions if f.kind != "httpTrigger" or f.name in addresses]
        lines = [f"    {f.name}: {addresses.get(f.name, f.kind)}" for f in served]
        return "\n".join(["", "Functions:", "", *lines, "", *(f"ERROR {line}" for line in self.routes.conflicts)])

    async def run(self, stop: asyncio.Event, started: Callable[[], None]) -> None:
        """Serve until `stop` is set, then finish running requests; `started` is called when requests are accepted.

        Raises:
            InvalidApp: the state folder cannot be used.
        """
        drain = self.options.drain_seconds
        async with contextlib.AsyncExitStack() as stack:
            engine = await stack.enter_async_context(self._durable()) if self._is_durable else None
            await stack.enter_async_context(self.timers.running(drain_seconds=drain))
            await stack.enter_async_context(self.queues.running(drain_seconds=drain))
            await stack.enter_async_context(serving(self._front(engine), self._listener, drain_seconds=drain))
            started()
            await stop.wait()
        self.invoker.close()

    @property
    def _is_durable(self) -> bool:
        return any(f.clients or f.kind in DURABLE_TRIGGERS for f in self.functions)

    def _durable(self) -> contextlib.AbstractAsyncContextManager[Any]:
        # Imported here, so that only apps with durable functions load it.
        from infra.emulator.host.durable import running

        return running(
            self.functions,
            self.invoker,
            self.configuration,
            state=self.options.state,
            public_url=f"http://{self.address}",
        )

    def _front(self, engine: Any | None) -> Front:
        functions = HttpFunctions(
            self.routes,
            self.invoker,
            body_limit=int(os.environ.get("FUNCTIONS_REQUEST_BODY_SIZE_LIMIT", BODY_LIMIT)),
            response_timeout=self.options.response_timeout,
        )
        routes = {route.function.name: route for route in self.routes.routes}
        described = [
            {
                "name": f.name,
                "trigger": f.kind,
                "route": routes[f.name].path if f.name in routes else None,
                "methods": sorted(routes[f.name].methods) if f.name in routes else [],
                "invoke_url_template": f"http://{self.address}/{routes[f.name].path}" if f.name in routes else None,
            }
            for f in self.functions
        ]
        admin = AdminApi(self.functions, described, self._fire)
        return Front(functions, SocketProxy(self.options.sockets), admin, engine, self.options.origins)

    def _fire(self, function: Function, given: str) -> None:
        """Run a timer or queue function now, in the background.

        Raises:
            NotImplementedError: the function has another trigger.
        """
        if function.kind == "timerTrigger":
            self.timers.fire(function)
        elif function.kind == "queueTrigger":
            self.queues.fire(function, given)
        else:
            raise NotImplementedError(f"{function.name}: the host cannot start a {function.kind} by request")
