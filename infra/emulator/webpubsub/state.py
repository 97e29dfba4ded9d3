"""The connections of each hub with their groups, users and permissions, in memory."""

import asyncio
import logging
import secrets
from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from aiohttp import WSCloseCode, WSMsgType, web

from infra.emulator.webpubsub.messages import JSON_PROTOCOL, Frame, OutgoingMessage, control
from infra.emulator.webpubsub.settings import HubSettings

log = logging.getLogger(__name__)

BACKLOG = 16 * 2**20  # bytes queued for one client; a client with more is disconnected
FRAME_COST = 256  # bytes that a queued frame takes in addition to its content


class CloseRequest(NamedTuple):
    """The request to close a connection, queued after the frames that are sent before."""

    code: int
    reason: str


class HubConnection:
    """One client; frames to it wait in a bounded queue, so that a slow client does not delay any other."""

    def __init__(self, hub: "Hub", *, user_id: str | None, roles: Iterable[str] = ()):
        self.id = secrets.token_urlsafe(16)
        self.hub = hub
        self.user_id = user_id
        self.roles = set(roles)
        self.groups: set[str] = set()
        self.subprotocol: str | None = None
        self.state: str | None = None  # set by the event handler, and sent back to it with every event
        self.acks: set[int] = set()  # the `ackId`s of the requests that were carried out
        self.closing = False
        self.reason = ""  # why the service closed the connection
        self._outbox: asyncio.Queue[Frame | CloseRequest] = asyncio.Queue()
        self._waiting = 0
        self._transport: asyncio.Transport | None = None

    @property
    def speaks_json(self) -> bool:
        """Whether the client uses the JSON subprotocol."""
        return self.subprotocol == JSON_PROTOCOL

    def may(self, permission: str, group: str) -> bool:
        """Whether the client has the permission `joinLeaveGroup` or `sendToGroup`, for this group or for all groups."""
        return not self.roles.isdisjoint((f"webpubsub.{permission}", f"webpubsub.{permission}.{group}"))

    def send(self, message: OutgoingMessage) -> None:
        """Queue a message as a frame of the client's subprotocol."""
        self.put(message.json if self.speaks_json else message.plain)

    def put(self, frame: Frame) -> None:
        """Queue a frame; a client that has more than `BACKLOG` bytes queued is disconnected."""
        if self.closing:
            return
        self._waiting += len(frame.data) + FRAME_COST
        if self._waiting > BACKLOG:
            log.warning("%s reads too slowly: %d bytes waited, connection cut", self.id, self._waiting)
            self.hub.remove(self)
            self.closing, self.reason = True, "The client reads too slowly"
            if self._transport is not None:
                self._transport.abort()
            return
        self._outbox.put_nowait(frame)

    def close(self, reason: str = "", code: int = WSCloseCode.OK) -> None:
        """Close the connection after the frames that are queued; it leaves its groups immediately."""
        if self.closing:
            return
        self.hub.remove(self)
        if self.speaks_json:
            self.put(control({"type": "system", "event": "disconnected", "message": reason}))
        self.closing, self.reason = True, reason
        self._outbox.put_nowait(CloseRequest(code, reason))

    def end(self) -> None:
        """End the writer after the client has disconnected."""
        self._outbox.put_nowait(CloseRequest(WSCloseCode.OK, ""))

    async def write(self, ws: web.WebSocketResponse, transport: asyncio.Transport | None) -> None:
        """Send what is queued until the connection ends."""
        self._transport = transport
        while True:
            item = await self._outbox.get()
            if isinstance(item, CloseRequest):
                # A close frame has room for 125 bytes: two of them are the code, and characters must be whole.
                reason = item.reason.encode()[:123].decode(errors="ignore")
                await ws.close(code=item.code, message=reason.encode())
                return
            try:
                await ws.send_frame(item.data, WSMsgType.BINARY if item.binary else WSMsgType.TEXT)
            except ConnectionError:
                return  # the reader gets the same error and cleans up
            self._waiting -= len(item.data) + FRAME_COST


class Hub:
    """The connections of one hub."""

    def __init__(self, name: str, settings: HubSettings):
        self.name = name
        self.settings = settings
        self.connections: dict[str, HubConnection] = {}
        self.groups: defaultdict[str, dict[str, HubConnection]] = defaultdict(dict)
        self.users: defaultdict[str, dict[str, HubConnection]] = defaultdict(dict)

    def add(self, connection: HubConnection) -> None:
        """Add a connection to the hub, to its user and to its groups."""
        self.connections[connection.id] = connection
        if connection.user_id is not None:
            self.users[connection.user_id][connection.id] = connection
        for group in connection.groups:
            self.groups[group][connection.id] = connection

    def remove(self, connection: HubConnection) -> None:
        """Remove a connection from the hub; does nothing when it was removed before."""
        if self.connections.pop(connection.id, None) is None:
            return
        for group in list(connection.groups):
            self.leave(connection, group)
        if connection.user_id is not None:
            _discard(self.users, connection.user_id, connection)

    def join(self, connection: HubConnection, group: str) -> None:
        """Add a connection to a group; does nothing when it is a member, or is not connected any more."""
        if connection.id not in self.connections:
            return
        connection.groups.add(group)
        self.groups[group][connection.id] = connection

    def leave(self, connection: HubConnection, group: str) -> None:
        """Remove a connection from a group; does nothing when it is not a member."""
        connection.groups.discard(group)
        _discard(self.groups, group, connection)


def _discard(members: dict[str, dict[str, HubConnection]], name: str, connection: HubConnection) -> None:
    if name in members:
        members[name].pop(connection.id, None)
        if not members[name]:
            del members[name]


class Hubs(dict[str, Hub]):
    """All hubs by name; a hub without settings has no event handlers and allows no anonymous clients."""

    def __init__(self, settings: dict[str, HubSettings]):
        super().__init__({name: Hub(name, hub) for name, hub in settings.items()})

    def __missing__(self, name: str) -> Hub:
        self[name] = Hub(name, HubSettings())
        return self[name]
