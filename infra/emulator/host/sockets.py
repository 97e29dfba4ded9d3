"""Forwarding of WebSockets: connections to given paths are passed to another service, frame by frame."""

import asyncio
import contextlib
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.typing import Subprotocol

# These headers belong to one hop, or are set anew by the client of the second hop.
HOP = {"host", "connection", "upgrade", "content-length", "transfer-encoding"}
GOING_AWAY = 1001
# They mean a close without a code or without a frame, and must not be sent.
UNSENDABLE = (None, 1005, 1006)


class SocketProxy:
    """An ASGI app for WebSockets; `paths` maps a path to the URL to which its connections are forwarded."""

    def __init__(self, paths: dict[str, str]):
        self.paths = {path.rstrip("/").lower(): url for path, url in paths.items()}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()  # websocket.connect
        target = self.paths.get(scope["path"].rstrip("/").lower())
        if target is None:
            await refuse_socket(send, 404)
            return
        query = scope["query_string"].decode()
        headers = [(k.decode("latin-1"), v.decode("latin-1")) for k, v in scope["headers"]]
        try:
            upstream = await connect(
                f"{target}{'&' if '?' in target else '?'}{query}" if query else target,
                subprotocols=[Subprotocol(name) for name in scope["subprotocols"]] or None,
                additional_headers=[(k, v) for k, v in headers if k not in HOP and not k.startswith("sec-websocket-")],
                user_agent_header=None,
                compression=None,
                max_size=None,
                proxy=None,
            )
        except InvalidStatus as error:
            await refuse_socket(send, error.response.status_code, bytes(error.response.body or b""))
            return
        except (OSError, TimeoutError, InvalidHandshake) as error:
            await refuse_socket(send, 502, f"the socket service cannot be reached: {error}".encode())
            return
        async with upstream:
            await send({"type": "websocket.accept", "subprotocol": upstream.subprotocol})
            await _forward(upstream, receive, send)


async def _forward(upstream: ClientConnection, receive: Any, send: Any) -> None:
    """Copy frames in both directions until one side closes; the other side is closed with the same code and reason."""

    async def to_service() -> None:
        while (message := await receive())["type"] == "websocket.receive":
            text = message.get("text")
            await upstream.send(message["bytes"] if text is None else text)
        code = message.get("code")
        await upstream.close(GOING_AWAY if code in UNSENDABLE else code, message.get("reason") or "")

    async def to_client() -> None:
        # The iterator raises ConnectionClosed for all codes but 1000 and 1001.
        with contextlib.suppress(ConnectionClosed):
            async for data in upstream:
                await send({"type": "websocket.send", "text" if isinstance(data, str) else "bytes": data})
        code = GOING_AWAY if upstream.close_code in UNSENDABLE else upstream.close_code
        await send({"type": "websocket.close", "code": code, "reason": upstream.close_reason or ""})

    ways = [asyncio.create_task(to_service()), asyncio.create_task(to_client())]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        for way in ways:
            with contextlib.suppress(asyncio.CancelledError, ConnectionClosed, RuntimeError, OSError):
                await way


async def refuse_socket(send: Any, status: int, body: bytes = b"") -> None:
    """Respond to a handshake with an HTTP status instead of a WebSocket."""
    await send({"type": "websocket.http.response.start", "status": status, "headers": []})
    await send({"type": "websocket.http.response.body", "body": body})
