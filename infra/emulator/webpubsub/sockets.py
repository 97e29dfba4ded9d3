"""Client connections: the WebSocket handshake, and reading and writing frames until the connection ends."""

import asyncio
import logging
from typing import Any

from aiohttp import WSCloseCode, WSMessage, WSMsgType, web

from infra.emulator.webpubsub import dialogues, tokens
from infra.emulator.webpubsub.messages import JSON_PROTOCOL, LARGEST, Malformed, control
from infra.emulator.webpubsub.service import SERVICE, WebPubSubService
from infra.emulator.webpubsub.state import Hub, HubConnection
from infra.emulator.webpubsub.upstream import DeliveryFailed, Upstream

log = logging.getLogger(__name__)

PATTERN_ROLES = ("webpubsub.sendToGroups.", "webpubsub.joinLeaveGroups.")
INBOX = 100  # frames of one client that wait to be handled; when there are more, its socket is not read


async def connect(request: web.Request) -> web.StreamResponse:
    """GET /client/hubs/{hub}: admit a client and serve it until it disconnects."""
    service = request.app[SERVICE]
    if request.headers.get("Upgrade", "").lower() != "websocket":
        return web.Response(status=426, headers={"Upgrade": "websocket"}, text="This address is for WebSocket clients")
    offered = [p.strip() for header in request.headers.getall("Sec-WebSocket-Protocol", []) for p in header.split(",")]
    foreign = [p for p in offered if p.endswith(".webpubsub.azure.v1") and p != JSON_PROTOCOL]
    if foreign and JSON_PROTOCOL not in offered:
        log.warning("501: subprotocol %s", foreign[0])
        return web.Response(status=501, text=f"The subprotocol {foreign[0]} is not implemented")

    connection = await _admit(service, service.hubs[request.match_info["hub"]], request, offered)
    if isinstance(connection, web.Response):
        return connection
    ws = web.WebSocketResponse(
        protocols=[connection.subprotocol] if connection.subprotocol else [], max_msg_size=LARGEST + 1, compress=False
    )
    try:
        await ws.prepare(request)
        await _serve(service.upstream, connection, ws, request.transport)
    finally:
        connection.hub.remove(connection)
        await service.upstream.notify(connection, "disconnected", {"reason": connection.reason})
    return ws


async def _admit(
    service: WebPubSubService, hub: Hub, request: web.Request, offered: list[str]
) -> HubConnection | web.Response:
    """The connection, when the token, the hub settings and the `connect` handler allow it; else the error response."""
    claims: dict[str, Any] = {}
    if token := service.token(request):
        try:
            claims = service.claims(token, request)
        except tokens.InvalidToken as error:
            return web.Response(status=401, text=f"Invalid access token: {error}")
    elif not hub.settings.anonymous:
        return web.Response(status=401, text=f"Hub {hub.name} requires an access token")

    connection = HubConnection(hub, user_id=claims.get("sub"), roles=tokens.listed(claims.get("role")))
    connection.groups.update(tokens.listed(claims.get("webpubsub.group")))
    try:
        granted = await service.upstream.connect(
            connection,
            {
                "claims": {name: tokens.listed(value) for name, value in claims.items()},
                "query": {name: request.query.getall(name) for name in request.query if name != "access_token"},
                "headers": {str(name): request.headers.getall(name) for name in request.headers},
                "subprotocols": offered,
                "clientCertificates": [],
            },
        )
    except DeliveryFailed as error:
        log.warning("connect of %s refused: %s", connection.id, error)
        if error.answer is not None and 400 <= error.answer.status < 500:
            status, content_type, body = error.answer
            return web.Response(status=status, body=body, content_type=content_type)
        return web.Response(status=500, text="The connect handler failed")

    connection.user_id = granted.userId or connection.user_id
    connection.groups.update(granted.groups)
    connection.roles.update(granted.roles)
    if patterns := [role for role in connection.roles if role.startswith(PATTERN_ROLES)]:
        log.warning("501: role %s", patterns[0])
        return web.Response(status=501, text=f"Pattern roles like {patterns[0]} are not implemented")
    connection.subprotocol = granted.subprotocol or (JSON_PROTOCOL if JSON_PROTOCOL in offered else None)
    if connection.subprotocol is not None and connection.subprotocol not in offered:
        log.error("connect chose the subprotocol %s that the client did not offer", connection.subprotocol)
        return web.Response(status=500, text="The connect handler chose a subprotocol that was not offered")
    return connection


async def _serve(
    upstream: Upstream, connection: HubConnection, ws: web.WebSocketResponse, transport: asyncio.Transport | None
) -> None:
    """Read and write the frames of one connection and deliver its events, until it ends."""
    inbox: asyncio.Queue[WSMessage | None] = asyncio.Queue(INBOX)
    if connection.speaks_json:
        known = {"userId": connection.user_id, "connectionId": connection.id}
        connection.put(control({"type": "system", "event": "connected", **known}))
    connection.hub.add(connection)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(connection.write(ws, transport))
        tasks.create_task(_work(upstream, connection, inbox))
        async for frame in ws:
            if frame.type in (WSMsgType.TEXT, WSMsgType.BINARY):  # any other type is an error, which ends the loop
                await inbox.put(frame)
        connection.hub.remove(connection)
        await inbox.put(None)
        connection.end()


async def _work(upstream: Upstream, connection: HubConnection, inbox: "asyncio.Queue[WSMessage | None]") -> None:
    """Deliver the events of one connection one after the other, so that the event handler gets them in order."""
    await upstream.notify(connection, "connected", {})
    handle = dialogues.subprotocol if connection.speaks_json else dialogues.plain
    while (frame := await inbox.get()) is not None:
        if connection.closing:
            continue
        binary = frame.type is WSMsgType.BINARY
        try:
            await handle(upstream, connection, frame.data if binary else frame.data.encode(), binary)
        except (DeliveryFailed, dialogues.Declined) as error:
            log.error("connection %s dropped: %s", connection.id, error)
            connection.close("The message was declined")
        except Malformed as error:
            log.warning("connection %s dropped: %s", connection.id, error)
            connection.close(f"Invalid message: {error}", WSCloseCode.POLICY_VIOLATION)
