"""A proxy in front of the management API that fails chosen calls in chosen ways."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import aiohttp
from aiohttp import web
from yarl import URL

Fault = Literal["409", "429", "500", "time-out", "dropped", "late"]
"""An error, no answer, a connection that ends, or an error although the call was made."""

FAULTS: tuple[Fault, ...] = ("409", "429", "500", "time-out", "dropped", "late")

_OWN = {"connection", "keep-alive", "transfer-encoding", "content-length", "content-encoding", "host"}


@dataclass
class ArmProxy:
    """Passes calls on; `fault` decides by method and path which one fails, and how."""

    url: str = ""
    fault: Callable[[str, str], Fault | None] = lambda method, path: None
    calls: list[tuple[str, str, Fault | None]] = field(default_factory=list[tuple[str, str, Fault | None]])
    """Every call with the fault that it met."""

    @contextlib.contextmanager
    def failing(self, fault: Fault, method: str, ending: str, times: int = 1000) -> Any:
        """Fail the next `times` calls of this method whose path ends so, or holds it after a last slash."""
        left = times

        def decide(called: str, path: str) -> Fault | None:
            nonlocal left
            if called == method and ending in path and left > 0:
                left -= 1
                return fault
            return None

        self.fault = decide
        try:
            yield self
        finally:
            self.fault = lambda method, path: None


@contextlib.asynccontextmanager
async def arm_proxy(target: str) -> AsyncIterator[ArmProxy]:
    """A proxy of the management API at `target`."""
    proxy, connector = ArmProxy(), aiohttp.TCPConnector(limit=0, keepalive_timeout=3)
    async with aiohttp.ClientSession(connector=connector) as http:

        async def pass_on(request: web.Request) -> web.StreamResponse:
            fault = proxy.fault(request.method, request.path)
            proxy.calls.append((request.method, request.path, fault))
            body = await request.read()
            if fault == "time-out":
                await asyncio.sleep(600)
            if fault == "dropped":
                assert request.transport
                request.transport.abort()
                return web.Response()
            if fault in ("409", "429", "500"):
                return refusal(fault)
            headers = [(name, value) for name, value in request.headers.items() if name.lower() not in _OWN]
            url = URL(f"{target}{request.raw_path}", encoded=True)
            async with http.request(request.method, url, headers=headers, data=body) as answer:
                content = await answer.read()
            if fault == "late":
                return refusal("500")
            kept = {name: value for name, value in answer.headers.items() if name.lower() not in _OWN}
            return web.Response(status=answer.status, headers=kept, body=content)

        app = web.Application(client_max_size=2**24)
        app.router.add_route("*", "/{path:.*}", pass_on)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        proxy.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield proxy
        finally:
            await runner.cleanup()


def refusal(status: str) -> web.Response:
    """An error in the form of the service."""
    headers = {"Retry-After": "1"} if status == "429" else {}
    body = {"error": {"code": f"Test{status}", "message": f"refused with {status}"}}
    return web.json_response(body, status=int(status), headers=headers)
