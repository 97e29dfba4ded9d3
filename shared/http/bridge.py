"""Registers every FastAPI route as a Function of its own, over the FastAPI types of Azure Functions ("HTTP v2").

Requests and responses are streamed. The host tries routes in the order of their function names and does not prefer
literal paths. So the names are made here: `<api>_<rank>_<handler>`, where the rank has a digit for every path segment.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false

import asyncio
import re
import sys
from collections.abc import Callable
from typing import Any

import azure.durable_functions as df
import azure.functions as func
from azurefunctions.extensions.http.fastapi import Request as HttpV2Request
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from shared.http.api import Api
from shared.http.routes import Route

METHODS = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"]
_ASGI = [
    "type",
    "asgi",
    "http_version",
    "method",
    "scheme",
    "path",
    "raw_path",
    "query_string",
    "headers",
    "client",
    "server",
    "extensions",
]
_COORDINATORS = ("azure_functions_runtime.http_v2", "azure_functions_worker.http_v2")


async def durable_client(request: Request) -> df.DurableOrchestrationClient:
    """Return the durable client of this invocation; a FastAPI dependency.

    Asynchronous, as FastAPI runs other dependencies in a thread, which costs more than this.
    """
    binding, context = request.scope["runyard.durable"]
    return df.DurableOrchestrationClient(binding, context.invocation_id)


class LiveResponse(Response):
    """The response of an ASGI app that already runs inside the invocation.

    The app runs until its response starts, then the function returns and the body is streamed. So the logs and the time
    up to that point belong to the invocation.
    """

    def __init__(self, app: Callable[[Scope, Receive, Send], Any], scope: Scope, receive: Receive):
        self.background = None
        self._start: Message | None = None
        self._sink: asyncio.Future[Send] = asyncio.get_running_loop().create_future()
        self._started = asyncio.Event()
        self._task: asyncio.Task[None] = asyncio.create_task(app(scope, receive, self._send))
        self._task.add_done_callback(lambda _: self._started.set())

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
            self._started.set()
            return
        send = await self._sink
        if self._start:
            start, self._start = self._start, None
            await send(start)
        await send(message)

    async def ready(self) -> "LiveResponse":
        """Wait until the response starts; raises what the app raised before that."""
        await self._started.wait()
        if self._start is None:
            await self._task
        return self

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._sink.set_result(send)
        try:
            await self._task
        finally:
            _drop_coordinator_entry(scope)


def _drop_coordinator_entry(scope: Scope) -> None:
    """Delete this request's entry (about 2 kB) in the worker's HTTP coordinator, which never deletes one itself."""
    invocation = dict(scope["headers"]).get(b"x-ms-invocation-id", b"").decode()
    for name in _COORDINATORS:
        coordinator = getattr(sys.modules.get(name), "http_coordinator", None)
        getattr(coordinator, "_context_references", {}).pop(invocation, None)


def _template(path: str) -> str:
    """Return a FastAPI path as a template of the host: `/a/{id}` -> `a/{id}`, `/{rest:path}` -> `{*rest}`."""
    return re.sub(r"\{(\w+):\w+\}", r"{\1}", re.sub(r"\{(\w+):path\}", r"{*\1}", path.strip("/")))


def _rank(template: str) -> str:
    """Return a sort key: in each segment literals come before parameters, and those before catch-alls.

    It ends with 0, so that a path comes before a catch-all below it, which the host would let match nothing.
    """
    return "".join("2" if "{*" in part else "1" if "{" in part else "0" for part in template.split("/")) + "0"


def register(app: df.DFApp, api: Api) -> None:
    """Register a Function for each route of `api`, and one for all other paths below its prefix."""
    for route in api.own_routes:
        _register(app, api, route)
    _add(app, api, f"{api.prefix}/{{*path}}", METHODS, f"{api.prefix}_9_unknown_path", None)


def _register(app: df.DFApp, api: Api, route: Route) -> None:
    template = _template(api.prefix + route.path)
    methods = sorted(set(route.methods or ()) | ({"HEAD"} if "GET" in (route.methods or ()) else set()))
    _add(app, api, template, methods, f"{api.prefix}_{_rank(template)[1:]}_{route.name}", route)


def _add(app: df.DFApp, api: Api, template: str, methods: list[str], name: str, route: Route | None) -> None:
    async def serve(req: Any, context: func.Context, client: str | None) -> Response:
        scope: Scope = {key: req.scope[key] for key in _ASGI if key in req.scope}
        if route and scope["method"] == "HEAD" and "HEAD" not in (route.methods or ()):
            scope["method"] = "GET"  # the server omits the body
        scope |= {
            "root_path": f"/{api.prefix}",
            "state": {},
            "runyard.route": route,
            "runyard.values": dict(req.path_params),
            "runyard.durable": (client, context),
        }
        return await LiveResponse(api, scope, req.receive).ready()

    durable = route is not None and route.depends_on(durable_client)
    if durable:

        async def handler(req: HttpV2Request, client: str, context: func.Context) -> Response:  # pyright: ignore[reportRedeclaration]
            return await serve(req, context, client)
    else:

        async def handler(req: HttpV2Request, context: func.Context) -> Response:
            return await serve(req, context, None)

    handler.__name__ = name
    builder: Any = app.route(route=template, methods=methods, auth_level=func.AuthLevel.ANONYMOUS)(handler)
    if durable:
        app.generic_input_binding(arg_name="client", type="durableClient")(builder)
