"""The emulator, an event handler that records its requests, and clients."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from azure.messaging.webpubsubservice.aio import WebPubSubServiceClient
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from infra.emulator.processes import free_ports
from infra.emulator.webpubsub import KEY, connection_string, wire
from infra.emulator.webpubsub.messages import JSON_PROTOCOL
from infra.emulator.webpubsub.service import WebPubSubService
from infra.emulator.webpubsub.settings import HUBS


@dataclass
class DeliveredRequest:
    """One request to the event handler."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes

    @property
    def event(self) -> str:
        return self.path.rsplit("/", 1)[1]


@dataclass
class EventHandler:
    """Records every request and answers 204, or with the function in `answers` for the event."""

    port: int
    received: list[DeliveredRequest] = field(default_factory=list)
    answers: dict[str, Callable[[DeliveredRequest], Awaitable[web.Response]]] = field(default_factory=dict)
    allowed: str | None = "*"

    async def handle(self, request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        delivered = DeliveredRequest(request.method, request.path, request.query_string, headers, await request.read())
        self.received.append(delivered)
        if request.method == "OPTIONS":
            return web.Response(headers={"WebHook-Allowed-Origin": self.allowed} if self.allowed else {})
        answer = self.answers.get(delivered.event)
        return await answer(delivered) if answer else web.Response(status=204)

    def events(self) -> list[str]:
        """The names of the delivered events, in order."""
        return [delivered.event for delivered in self.received if delivered.method == "POST"]

    def last(self, event: str) -> DeliveredRequest:
        return [delivered for delivered in self.received if delivered.method == "POST" and delivered.event == event][-1]

    def answer_with(self, event: str, body: Any = None, *, status: int = 200, state: str | None = None) -> None:
        """Answer this event with text, bytes or JSON from now on."""

        async def answer(_: DeliveredRequest) -> web.Response:
            headers = {} if state is None else {"ce-connectionState": state}
            if isinstance(body, str):
                return web.Response(status=status, text=body, headers=headers)
            if isinstance(body, bytes):
                return web.Response(status=status, body=body, headers=headers)
            return web.json_response(body, status=status, headers=headers)

        self.answers[event] = answer


@dataclass
class Bench:
    """Everything one test needs."""

    port: int
    service: WebPubSubService
    handler: EventHandler
    stack: AsyncExitStack

    def sdk(self, hub: str = "open") -> WebPubSubServiceClient:
        client = WebPubSubServiceClient.from_connection_string(connection_string(self.port), hub, retry_total=0)
        self.stack.push_async_callback(client.close)
        return client

    def url(self, hub: str = "open") -> str:
        return f"ws://127.0.0.1:{self.port}/client/hubs/{hub}"

    async def client(self, hub: str = "open", *, url: str | None = None, **options: Any) -> ClientConnection:
        """A connected plain client."""
        before = set(self.service.hubs[hub].connections)
        client = await self.stack.enter_async_context(connect(url or self.url(hub), compression=None, **options))
        await eventually(lambda: set(self.service.hubs[hub].connections) - before)
        return client

    async def json_client(self, hub: str = "open", *, url: str | None = None) -> tuple[ClientConnection, str]:
        """A connected client of the JSON subprotocol, and its connection id."""
        client = await self.stack.enter_async_context(
            connect(url or self.url(hub), compression=None, subprotocols=[Subprotocol(JSON_PROTOCOL)])
        )
        greeting = await read_json(client)
        assert greeting["event"] == "connected"
        return client, greeting["connectionId"]

    async def token_url(self, hub: str = "open", **options: Any) -> str:
        return (await self.sdk(hub).get_client_access_token(**options))["url"]

    def id_of(self, hub: str = "open") -> str:
        """The id of the newest connection."""
        return list(self.service.hubs[hub].connections)[-1]


@asynccontextmanager
async def running() -> AsyncIterator[Bench]:
    """Start an emulator and an event handler; both, and all clients, are closed at the end."""
    port, handler_port = free_ports(2)
    handler = EventHandler(handler_port)
    app = web.Application(client_max_size=2**22)
    app.router.add_route("*", "/{path:.*}", handler.handle)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", handler_port).start()
    all_events = {
        "url": f"http://127.0.0.1:{handler_port}/realtime/{{hub}}/{{event}}?code=secret",
        "user_events": "*",
        "system_events": ["connect", "connected", "disconnected"],
    }
    hubs = HUBS.validate_python(
        {
            "open": {"anonymous": True, "handlers": [all_events]},
            "closed": {"handlers": [all_events]},
            "quiet": {"anonymous": True},
        }
    )
    try:
        async with wire.serving(port, hubs, key=KEY) as service:
            async with AsyncExitStack() as stack:
                yield Bench(port, service, handler, stack)
    finally:
        await runner.cleanup()


async def read_json(client: ClientConnection) -> dict[str, Any]:
    """The next frame, which must come within a minute."""
    return json.loads(await read(client))


async def read(client: ClientConnection) -> str | bytes:
    """The next frame, which must come within a minute."""
    async with asyncio.timeout(60):
        return await client.recv()


async def eventually(condition: Callable[[], Any], seconds: float = 60) -> Any:
    """Wait until the condition is true; returns its value."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not (value := condition()):
        assert asyncio.get_running_loop().time() < deadline, "it did not happen in time"
        await asyncio.sleep(0.005)
    return value
