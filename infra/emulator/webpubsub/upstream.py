"""Delivery of events to the event handlers of a hub: CloudEvents over HTTP, signed with the access key."""

import asyncio
import hashlib
import hmac
import logging
import uuid
from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.parse import quote

import aiohttp
import orjson
from pydantic import BaseModel, ValidationError

from infra.emulator.webpubsub.messages import CONTENT_TYPES, Malformed, Payload
from infra.emulator.webpubsub.settings import Handler
from infra.emulator.webpubsub.state import HubConnection

log = logging.getLogger(__name__)

TIMEOUT = aiohttp.ClientTimeout(total=60)
# CloudEvents attributes are sent as printable ASCII; other characters are percent-encoded.
PLAIN = "".join(chr(c) for c in range(0x21, 0x7F) if chr(c) not in '"%')


class HandlerResponse(NamedTuple):
    """The HTTP response of an event handler."""

    status: int
    content_type: str
    body: bytes


class ConnectResponse(BaseModel):
    """The properties that a `connect` handler may set for a client."""

    userId: str | None = None  # noqa: N815
    groups: list[str] = []
    roles: list[str] = []
    subprotocol: str | None = None


class DeliveryFailed(Exception):
    """No handler accepted the event; `answer` is the handler's error response, None when there was no response."""

    def __init__(self, reason: str, answer: HandlerResponse | None = None):
        super().__init__(reason)
        self.answer = answer


def signature(key: str, connection_id: str) -> str:
    """The signature that proves to a handler that the sender of an event holds the access key."""
    return "sha256=" + hmac.new(key.encode(), connection_id.encode(), hashlib.sha256).hexdigest()


class Upstream:
    """Delivers events over one keep-alive HTTP session."""

    def __init__(self, origin: str, key: str):
        self._origin, self._key = origin, key
        # No limit, so that no event waits for another one; idle connections are closed before the handler closes them.
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=2)
        self._session = aiohttp.ClientSession(connector=connector, timeout=TIMEOUT)
        self._validated: set[str] = set()
        self._validating = asyncio.Lock()

    async def close(self) -> None:
        """Close the HTTP session."""
        await self._session.close()

    async def connect(self, connection: HubConnection, client: dict[str, Any]) -> ConnectResponse:
        """Ask the `connect` handler whether the client may connect, and with which user id, groups and roles.

        Raises:
            DeliveryFailed: the handler refuses the client, or does not answer.
        """
        if connection.hub.settings.handler("connect", system=True) is None:
            return ConnectResponse()
        answer = await self._deliver(connection, "connect", "application/json", orjson.dumps(client), system=True)
        try:
            return ConnectResponse.model_validate_json(answer.body) if answer.body else ConnectResponse()
        except ValidationError as error:
            raise DeliveryFailed(f"The answer to connect cannot be read: {error}") from None

    async def notify(self, connection: HubConnection, event: str, content: dict[str, str]) -> None:
        """Deliver `connected` or `disconnected`; an error is logged and changes nothing."""
        if connection.hub.settings.handler(event, system=True) is None:
            return
        try:
            await self._deliver(connection, event, "application/json", orjson.dumps(content), system=True)
        except DeliveryFailed as error:
            log.error("%s of %s: %s", event, connection.id, error)

    async def user_event(self, connection: HubConnection, event: str, payload: Payload) -> Payload | None:
        """Deliver what a client sent; the handler's reply to the client, None when it has none.

        Raises:
            DeliveryFailed: no handler is registered for the event, or its answer is not a 2xx.
        """
        if connection.hub.settings.handler(event, system=False) is None:
            raise DeliveryFailed(f"No handler is registered for the event {event!r} of hub {connection.hub.name!r}")
        content_type = payload.content_type + ("; charset=utf-8" if payload.type == "text" else "")
        answer = await self._deliver(connection, event, content_type, payload.data, system=False)
        if answer.status == 204 or not answer.body:
            return None
        known = answer.content_type if answer.content_type in CONTENT_TYPES else "application/octet-stream"
        try:
            return Payload.of_body(known, answer.body)
        except Malformed as error:
            raise DeliveryFailed(f"The answer to {event}: {error}") from None

    async def _deliver(
        self, connection: HubConnection, event: str, content_type: str, body: bytes, *, system: bool
    ) -> HandlerResponse:
        hub = connection.hub
        handler = hub.settings.handler(event, system=system)
        assert handler is not None
        headers = {
            "Content-Type": content_type,
            "WebHook-Request-Origin": self._origin,
            "ce-specversion": "1.0",
            "ce-type": f"azure.webpubsub.{'sys' if system else 'user'}.{quote(event, safe=PLAIN)}",
            "ce-source": f"/hubs/{hub.name}/client/{connection.id}",
            "ce-id": str(uuid.uuid4()),
            "ce-time": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "ce-signature": signature(self._key, connection.id),
            "ce-connectionId": connection.id,
            "ce-hub": hub.name,
            "ce-eventName": quote(event, safe=PLAIN),
        }
        if connection.user_id is not None:
            headers["ce-userId"] = quote(connection.user_id, safe=PLAIN)
        if connection.subprotocol is not None:
            headers["ce-subprotocol"] = connection.subprotocol
        if connection.state is not None:
            headers["ce-connectionState"] = connection.state
        url = handler.url_for(hub.name, event)
        try:
            await self._validate(handler, hub.name)
            async with self._session.post(url, data=body, headers=headers, allow_redirects=False) as response:
                answer = HandlerResponse(response.status, response.content_type, await response.read())
        except (aiohttp.ClientError, TimeoutError) as error:
            raise DeliveryFailed(f"{_shown(url)}: {type(error).__name__} {error}") from None
        if not 200 <= answer.status < 300:
            said = answer.body[:200].decode(errors="replace")
            raise DeliveryFailed(f"{_shown(url)} answered {answer.status} {said}", answer)
        blocking = not system or event == "connect"
        if blocking and "ce-connectionState" in response.headers:
            connection.state = response.headers["ce-connectionState"]
        return answer

    async def _validate(self, handler: Handler, hub: str) -> None:
        """Ask the handler before the first delivery whether it accepts events of this origin (abuse protection)."""
        url = handler.url_for(hub, "validate")
        if url in self._validated:
            return
        async with self._validating:
            if url in self._validated:
                return
            asked = {"WebHook-Request-Origin": self._origin}
            async with self._session.options(url, headers=asked, allow_redirects=False) as response:
                allowed = [o.strip() for o in response.headers.get("WebHook-Allowed-Origin", "").split(",")]
            if "*" not in allowed and self._origin not in allowed:
                raise DeliveryFailed(
                    f"OPTIONS {_shown(url)} answered {response.status} without allowing {self._origin}"
                )
            self._validated.add(url)


def _shown(url: str) -> str:
    """The address without its query, which is secret and must not be logged."""
    return url.partition("?")[0]
