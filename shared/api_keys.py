"""Who calls an API: clients and their keys, known by their hash, looked up once in a few seconds."""

import hashlib
import secrets
import time
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import Depends, Request
from pydantic import Field

from shared import tables
from shared.http.admission import Guard
from shared.http.errors import Unauthorized
from shared.settings import settings
from shared.tables import Collection, Record

ACTIVE_EVERY = timedelta(minutes=1)
INVALID = "Invalid or missing API key"


class Client(Record):
    """Someone with an API key, known by the key's SHA-256 only."""

    name: str
    key_hash: str
    last_active: datetime = Field(default_factory=lambda: datetime.now(UTC))


clients = Collection("Clients", Client, unique=["name", "key_hash"])
_seen: dict[str, tuple[Client, float]] = {}


def new_key() -> tuple[str, str]:
    """An API key (256 random bits) and the hash that is stored of it."""
    key = f"sk-{secrets.token_urlsafe(32)}"
    return key, key_hash(key)


def key_hash(key: str) -> str:
    """SHA-256 in hex."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


async def client_of(key: str, *, fresh: bool = False) -> Client | None:
    """The client that a key belongs to, None for a key that opens nothing; marks the client active.

    With `fresh` nothing that this instance remembers counts. Otherwise a revoked key may still open for as long as
    `RUNYARD_KEY_CACHE` says on an instance that has just seen it.
    """
    hashed = key_hash(key)
    client, until = _seen.get(hashed, (None, 0.0)) if not fresh else (None, 0.0)
    try:
        if client is None or until < time.monotonic():
            until = time.monotonic() + settings().key_cache
            client = await clients.find("key_hash", hashed)
        if datetime.now(UTC) - client.last_active > ACTIVE_EVERY:
            client = await clients.update(client.id, _touch)
    except tables.RecordNotFound:
        _seen.pop(hashed, None)
        return None
    if len(_seen) > 10_000:
        _seen.clear()
    _seen[hashed] = (client, until)
    return client


def forget(hashed: str) -> None:
    """Stop this instance from knowing a key."""
    _seen.pop(hashed, None)


def _touch(client: Client) -> None:
    client.last_active = datetime.now(UTC)


async def current_client(request: Request) -> Client:
    """The caller, by `Authorization: Bearer <key>`, or by the query's `api_key` where there is no such header."""
    known: Client | None = getattr(request.state, "client", None)
    if known is not None:
        return known
    key = key_of(request)
    client = await client_of(key) if key else None
    if client is None:
        raise Unauthorized(INVALID)
    request.state.client = client
    return client


def key_of(request: Request) -> str:
    """The key that a request shows; the header decides where there is one, also when it is wrong."""
    header = request.headers.get("authorization")
    if header is not None:
        scheme, _, key = header.partition(" ")
        return key.strip() if scheme.lower() == "bearer" else ""
    return request.query_params.get("api_key", "")


CurrentClient = Annotated[Client, Depends(current_client)]
"""Parameter type of every route that needs a key."""

SCHEMES: dict[str, dict[str, Any]] = {
    "bearerKey": {"type": "http", "scheme": "bearer"},
    "queryKey": {"type": "apiKey", "in": "query", "name": "api_key"},
}
"""How a key is shown, in the words of OpenAPI."""

CLIENT_KEYS = Guard(current_client, SCHEMES)
"""The guard of an API whose callers are clients with a key."""
