"""Live updates: publishing to the sockets of a hub, and managing its connections and groups."""

import asyncio
import base64
import hmac
import logging
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import orjson

from shared import outbound
from shared.settings import settings

if TYPE_CHECKING:
    from azure.messaging.webpubsubservice.aio import WebPubSubServiceClient

log = logging.getLogger(__name__)

API_VERSION = "2024-12-01"
SCOPE = "https://webpubsub.azure.com/.default"
PATIENCE = 5.0  # seconds that one call may take, including its retries
PAUSE = 30.0  # seconds without publishing after a call that timed out

_clients: dict[str, "WebPubSubServiceClient"] = {}
_paused_until = 0.0


async def publish(
    hub: str,
    message: dict[str, Any],
    *,
    group: str | None = None,
    connection: str | None = None,
    where: str | None = None,
) -> None:
    """Send a JSON text frame to a group, to one connection, to all that the OData filter `where` selects, or to all.

    Messages arrive in the order in which their calls are awaited. A failure is logged, never raised. After a call that
    timed out nothing is published for `PAUSE` seconds, so that the caller does not wait for every single message.
    """
    if time.monotonic() < _paused_until:
        log.info("publish on hub %s skipped: a call has timed out in the last %s s", hub, PAUSE)
        return
    path, query = "", ""
    if connection is not None:
        path = f"/connections/{quote(connection, safe='')}"
    elif group is not None:
        path = f"/groups/{quote(group, safe='')}"
    elif where is not None:
        query = f"&filter={quote(where)}"
    await _attempt(
        hub, "publish", lambda: _post(f"/api/hubs/{hub}{path}/:send?api-version={API_VERSION}{query}", message)
    )


async def send(hub: str, user: str, message: dict[str, Any]) -> bool:
    """Send a JSON text frame to the connections of a user; return whether the service has taken it."""
    path = f"/api/hubs/{hub}/users/{quote(user, safe='')}/:send?api-version={API_VERSION}"
    return await _attempt(hub, "send", lambda: _post(path, message))


async def client_token(hub: str, user: str, minutes: int) -> str:
    """Return a token with which a client may connect to the hub as this user within so many minutes."""
    return (await _client(hub).get_client_access_token(user_id=user, minutes_to_expire=minutes))["token"]


async def close_connection(hub: str, connection_id: str, reason: str = "") -> bool:
    """Disconnect a client and return whether that succeeded; it also succeeds for a client that has disconnected."""
    return await _call(hub, "close_connection", lambda client: client.close_connection(connection_id, reason=reason))


async def close_group(hub: str, group: str, reason: str = "") -> bool:
    """Disconnect all clients of a group and return whether that succeeded."""
    return await _call(hub, "close_group", lambda client: client.close_group_connections(group, reason=reason))


async def add_to_group(hub: str, group: str, connection_id: str) -> bool:
    """Add a client to a group, whose messages it then receives, and return whether that succeeded."""
    return await _call(hub, "add_to_group", lambda client: client.add_connection_to_group(group, connection_id))


async def remove_from_group(hub: str, group: str, connection_id: str) -> bool:
    """Remove a client from a group and return whether that succeeded."""
    return await _call(
        hub, "remove_from_group", lambda client: client.remove_connection_from_group(group, connection_id)
    )


async def connection_exists(hub: str, connection_id: str) -> bool | None:
    """Return whether a client is connected; None when the call to the service fails."""
    found: list[bool] = []

    async def ask(client: Any) -> None:
        found.append(await client.connection_exists(connection_id))

    return found[0] if await _call(hub, "connection_exists", ask) else None


async def close() -> None:
    """Close the network connections; the next call opens new ones."""
    global _paused_until
    _paused_until = 0.0
    await outbound.close()
    while _clients:
        await _clients.popitem()[1].close()


async def _call(hub: str, what: str, operation: Callable[[Any], Awaitable[None]]) -> bool:
    return await _attempt(hub, what, lambda: operation(_client(hub)))


async def _post(path: str, message: dict[str, Any]) -> None:
    """Send a message without the SDK, which takes three times as long for it."""
    parts = connection_parts(settings().webpubsub)
    url = parts["endpoint"].rstrip("/") + (f":{parts['port']}" if "port" in parts else "") + path
    if "accesskey" in parts:
        token = _token(url, parts["accesskey"])
    else:
        from shared.credential import credential

        token = (await credential().get_token(SCOPE)).token
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    async with outbound.request("POST", url, limit=10_000, headers=headers, body=orjson.dumps(message)) as answer:
        if answer.status >= 300:
            raise RuntimeError(f"{answer.status} {(await answer.read())[:200]!r}")


def _token(url: str, key: str) -> str:
    """Return a JSON web token (HS256) that the access key signs for this address."""
    claims = _base64url(orjson.dumps({"aud": url, "exp": int(time.time()) + 60}))
    signed = f"{_HS256}.{claims}"
    return f"{signed}.{_base64url(hmac.digest(key.encode(), signed.encode(), 'sha256'))}"


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


_HS256 = _base64url(b'{"alg":"HS256","typ":"JWT"}')


async def _attempt(hub: str, what: str, operation: Callable[[], Awaitable[None]]) -> bool:
    global _paused_until
    if not settings().webpubsub:
        log.info("%s on hub %s skipped: RUNYARD_WEBPUBSUB is not set", what, hub)
        return False
    try:
        async with asyncio.timeout(PATIENCE):
            await operation()
    except TimeoutError:
        _paused_until = time.monotonic() + PAUSE
        log.warning("%s on hub %s failed: no answer within %s s", what, hub, PATIENCE)
        return False
    except Exception as error:
        # Of any type: a run must not fail because its live updates cannot be sent.
        log.warning("%s on hub %s failed: %s: %s", what, hub, type(error).__name__, error)
        return False
    return True


def _client(hub: str) -> "WebPubSubServiceClient":
    """Return the SDK's client of a hub, one for each hub, which keeps its connections open."""
    if hub not in _clients:
        from azure.messaging.webpubsubservice.aio import WebPubSubServiceClient

        retries = {"retry_total": 2, "retry_backoff_factor": 0.2}
        where = settings().webpubsub
        if "=" in where:
            _clients[hub] = WebPubSubServiceClient.from_connection_string(where, hub, **retries)
        else:
            from shared.credential import credential

            _clients[hub] = WebPubSubServiceClient(where, hub, credential(), **retries)
    return _clients[hub]


def client_url(hub: str) -> str:
    """Return the address at which clients open a WebSocket to the hub; empty without the setting `webpubsub`."""
    where = settings().webpubsub
    if not where:
        return ""
    parts = connection_parts(where)
    endpoint = parts["endpoint"].rstrip("/") + (f":{parts['port']}" if "port" in parts else "")
    return f"ws{endpoint.removeprefix('http')}/client/hubs/{hub}"


def connection_parts(where: str) -> dict[str, str]:
    """Return the parts of a connection string by lower-case name; for an address only `endpoint`."""
    if "=" not in where:
        return {"endpoint": where}
    return {name.lower(): value for name, _, value in (part.partition("=") for part in where.split(";")) if name}
