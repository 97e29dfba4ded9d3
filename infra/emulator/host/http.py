"""HTTP functions: finding the function, running it, and streaming its request and response."""

import asyncio
import contextlib
import logging
from typing import Any

from fastapi.encoders import jsonable_encoder
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from infra.emulator.host.index import Function
from infra.emulator.host.operations import InvocationFailed, Invoker, TraceContext
from infra.emulator.host.routes import RouteTable

log = logging.getLogger("host")


class HttpFunctions:
    """An ASGI app that serves the routes of a route table.

    `body_limit` is in bytes; `response_timeout` is the seconds until the response must start, None for no limit.
    """

    def __init__(self, routes: RouteTable, invoker: Invoker, *, body_limit: int, response_timeout: float | None):
        self.routes, self.invoker = routes, invoker
        self.body_limit, self.response_timeout = body_limit, response_timeout

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        found = self.routes.match(scope["method"], scope["raw_path"].decode("ascii"))
        if found is None:
            return await Response(status_code=404)(scope, receive, send)
        exchange = Exchange(receive, send, self.body_limit)
        if int(dict(scope["headers"]).get(b"content-length", b"0")) > self.body_limit:
            return await exchange.refuse(413, "the request body is too large")
        if self.response_timeout is None:
            return await self._answer(*found, scope, exchange)
        late = asyncio.create_task(self._give_up(self.response_timeout, exchange))
        try:
            await self._answer(*found, scope, exchange)
        finally:
            late.cancel()

    async def _answer(self, function: Function, values: dict[str, str], scope: Any, exchange: "Exchange") -> None:
        headers = [(name, value) for name, value in scope["headers"] if name != b"x-ms-invocation-id"]
        known = dict(headers)
        trace = None
        if b"traceparent" in known:
            trace = TraceContext(*(known.get(name, b"").decode("latin-1") for name in (b"traceparent", b"tracestate")))
        # When a response has started, the server closes the connection, so that the client sees that it is incomplete.
        with contextlib.suppress(InvocationFailed):
            with self.invoker.invocation(function, trace) as invocation:
                headers.append((b"x-ms-invocation-id", invocation.invocation_id.encode()))
                scope = {**scope, "headers": headers, "path_params": values}
                request = Request(scope, exchange.receive)
                result = await self.invoker.run(function, invocation, **{function.trigger["name"]: request})
                if result is None:
                    raise TypeError("the function returned None instead of a response")
                response = result if isinstance(result, Response) else JSONResponse(jsonable_encoder(result))
                await response(scope, exchange.receive, exchange.send)
                invocation.outcome = f"{scope['method']} {scope['raw_path'].decode('ascii')} -> {exchange.status}"
                return
        await exchange.refuse(500, "Internal Server Error")

    async def _give_up(self, seconds: float, exchange: "Exchange") -> None:
        await asyncio.sleep(seconds)
        await exchange.refuse(504, "the function did not respond in time")


class Exchange:
    """One request and its response: limits the body, and lets the host respond instead of the function."""

    def __init__(self, receive: Any, send: Any, body_limit: int):
        self._receive, self._send = receive, send
        self._remaining = body_limit
        self._refused = False
        self.status = 0

    async def receive(self) -> Any:
        """The next ASGI message of the request; a disconnect after the body is too large or the host has responded."""
        if self._refused or self._remaining < 0:
            return {"type": "http.disconnect"}
        message = await self._receive()
        self._remaining -= len(message.get("body", b""))
        if self._remaining < 0:
            await self.refuse(413, "the request body is too large")
            return {"type": "http.disconnect"}
        return message

    async def send(self, message: Any) -> None:
        """Send an ASGI message of the function's response; discarded after the host has responded."""
        if self._refused:
            return
        if message["type"] == "http.response.start":
            self.status = message["status"]
        await self._send(message)

    async def refuse(self, status: int, text: str) -> None:
        """Respond instead of the function, unless its response has started."""
        if self.status:
            return
        self._refused, self.status = True, status
        await PlainTextResponse(text, status)({"type": "http"}, self._receive, self._send)
