"""Live updates: publishing to the sockets of a hub, and reading the events that the hub sends.

Where the setting `webpubsub` has an access key, events are proven by its signature over the connection id. With an
identity there is no key to check it with; then the handler's address in the hub settings ends in `?code=` and the
setting `events_code`. An event that neither proves is nobody's.
"""

import asyncio
import base64
import hashlib
import hmac
import json
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import unquote

from shared.settings import settings

if TYPE_CHECKING:
    from azure.messaging.webpubsubservice.aio import WebPubSubServiceClient

log = logging.getLogger(__name__)

PATIENCE = 10.0  # seconds that one call may take, retries and the waits between them included
SILENCE = 30.0  # seconds without publishing, after a call that took longer
SYSTEM_EVENTS = ("connect", "connected", "disconnected")

_clients: dict[str, "WebPubSubServiceClient"] = {}
_silent_until = 0.0


async def publish(
    hub: str,
    message: dict[str, Any],
    *,
    group: str | None = None,
    connection: str | None = None,
    where: str | None = None,
) -> None:
    """Send a JSON text frame to a group, to one connection, to all that the OData filter `where` selects, or to all.

    Awaited one after the other, messages arrive in that order. A failure is logged, never raised; and when the service
    does not answer, nothing is published for a while, so that no work has to wait for it message by message.
    """
    if time.monotonic() < _silent_until:
        log.info("publish on hub %s dropped: the service did not answer lately", hub)
        return
    if connection is not None:
        await _call(hub, "publish", lambda client: client.send_to_connection(connection, message))
    elif group is not None:
        await _call(hub, "publish", lambda client: client.send_to_group(group, message))
    else:
        options = {} if where is None else {"filter": where}
        await _call(hub, "publish", lambda client: client.send_to_all(message, **options))


async def close_connection(hub: str, connection_id: str, reason: str = "") -> bool:
    """Disconnect a client; whether that was done. It is when the client has gone already."""
    return await _call(hub, "close_connection", lambda client: client.close_connection(connection_id, reason=reason))


async def close_group(hub: str, group: str, reason: str = "") -> bool:
    """Disconnect everybody in a group; whether that was done."""
    return await _call(hub, "close_group", lambda client: client.close_group_connections(group, reason=reason))


async def add_to_group(hub: str, group: str, connection_id: str) -> bool:
    """Let a client receive what is published to a group; whether that was done."""
    return await _call(hub, "add_to_group", lambda client: client.add_connection_to_group(group, connection_id))


async def remove_from_group(hub: str, group: str, connection_id: str) -> bool:
    """Stop a client from receiving what is published to a group; whether that was done."""
    return await _call(
        hub, "remove_from_group", lambda client: client.remove_connection_from_group(group, connection_id)
    )


async def connection_exists(hub: str, connection_id: str) -> bool | None:
    """Whether a client is connected; None when the service does not say."""
    found: list[bool] = []

    async def ask(client: Any) -> None:
        found.append(await client.connection_exists(connection_id))

    return found[0] if await _call(hub, "connection_exists", ask) else None


async def close() -> None:
    """Give the network connections back; the next call opens new ones."""
    global _silent_until
    _silent_until = 0.0
    while _clients:
        await _clients.popitem()[1].close()


async def _call(hub: str, what: str, operation: Callable[[Any], Awaitable[None]]) -> bool:
    global _silent_until
    if not settings().webpubsub:
        log.info("%s on hub %s dropped: no Web PubSub is set", what, hub)
        return False
    try:
        client = _client(hub)
        async with asyncio.timeout(PATIENCE):
            await operation(client)
    except TimeoutError:
        _silent_until = time.monotonic() + SILENCE
        log.warning("%s on hub %s failed: no answer within %s s", what, hub, PATIENCE)
        return False
    except Exception as error:
        # Whatever it is: no work fails because somebody could not watch it.
        log.warning("%s on hub %s failed: %s: %s", what, hub, type(error).__name__, error)
        return False
    return True


def _client(hub: str) -> "WebPubSubServiceClient":
    """The one client of a hub; it keeps its connections open."""
    if hub not in _clients:
        from azure.messaging.webpubsubservice.aio import WebPubSubServiceClient

        few = {"retry_total": 2, "retry_backoff_factor": 0.2}
        where = settings().webpubsub
        if "=" in where:
            _clients[hub] = WebPubSubServiceClient.from_connection_string(where, hub, **few)
        else:
            from shared.credential import credential

            _clients[hub] = WebPubSubServiceClient(where, hub, credential(), **few)
    return _clients[hub]


def client_url(hub: str) -> str:
    """The address at which clients open a WebSocket to the hub; empty when no Web PubSub is set."""
    where = settings().webpubsub
    if not where:
        return ""
    parts = _parts(where)
    endpoint = parts["endpoint"].rstrip("/") + (f":{parts['port']}" if "port" in parts else "")
    return f"ws{endpoint.removeprefix('http')}/client/hubs/{hub}"


def verify_signature(connection_id: str, header: str) -> bool:
    """Whether `header` (ce-signature) proves that the service sent an event of this connection; without a key never."""
    key = _parts(settings().webpubsub).get("accesskey")
    if not key:
        return False
    expected = "sha256=" + hmac.new(key.encode(), connection_id.encode(), hashlib.sha256).hexdigest()
    # One signature for each of the service's two keys.
    return any(hmac.compare_digest(expected.encode(), given.strip().encode()) for given in header.split(","))


def _parts(where: str) -> dict[str, str]:
    """The parts of a connection string by lower-case name; of an address, that alone."""
    if "=" not in where:
        return {"endpoint": where}
    return {name.lower(): value for name, _, value in (part.partition("=") for part in where.split(";")) if name}


def encode_state(state: dict[str, Any]) -> str:
    """The value of an answer's ce-connectionState header; the connection's next events carry the state."""
    return base64.b64encode(json.dumps(state).encode()).decode()


@dataclass(frozen=True)
class Event:
    """Something that happened to a connection, or that its client sent.

    `type` is connect, connected, disconnected, message or a name of the client's choice; a client that chooses the name
    of a system event gets `user.` before it. `data` is what the client sent, or JSON of a system event.
    """

    hub: str
    type: str
    connection_id: str
    user_id: str | None
    state: dict[str, Any]
    data: bytes
    content_type: str

    @property
    def json_object(self) -> dict[str, Any]:
        """What the client sent, where that is a JSON object; an empty one for anything else."""
        try:
            value = json.loads(self.data)
        except (ValueError, RecursionError):
            return {}
        return cast("dict[str, Any]", value) if isinstance(value, dict) else {}

    @classmethod
    def parse(cls, headers: Mapping[str, str], body: bytes) -> "Event":
        """The event of a request to the handler; ValueError when it is none."""
        given = {name.lower(): value for name, value in headers.items()}
        try:
            kind, hub, connection_id = given["ce-type"], given["ce-hub"], given["ce-connectionid"]
        except KeyError as missing:
            raise ValueError(f"The header {missing} is missing") from None
        source, _, name = kind.removeprefix("azure.webpubsub.").partition(".")
        if not kind.startswith("azure.webpubsub.") or source not in ("sys", "user") or not name:
            raise ValueError(f"{kind} is no event of Web PubSub")
        name = unquote(name)
        if source == "user" and name in SYSTEM_EVENTS:
            name = f"user.{name}"
        user_id = given.get("ce-userid")
        return cls(
            hub=hub,
            type=name,
            connection_id=connection_id,
            user_id=unquote(user_id) if user_id else None,
            state=_decode_state(given.get("ce-connectionstate", "")),
            data=body,
            content_type=given.get("content-type", "").partition(";")[0].strip(),
        )


def _decode_state(header: str) -> dict[str, Any]:
    if not header:
        return {}
    try:
        state = json.loads(base64.b64decode(header))
    except ValueError:
        state = None
    if not isinstance(state, dict):
        raise ValueError("The connection state is not the one that was set")
    return state  # pyright: ignore[reportUnknownVariableType]
