"""Clients and their API keys: finds the caller of a request by the hash of its key, and what the key allows.

A key has a scope, client or administrator, and opens all APIs or some. The first administrator is whoever holds the key
in `RUNYARD_ADMIN_KEY`; it gives others their scope.
"""

import hashlib
import secrets
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

from fastapi import Depends, Request
from pydantic import Field

from shared.caller_cache import CallerCache
from shared.http.admission import Guard
from shared.http.errors import Forbidden, Unauthorized
from shared.settings import settings
from shared.tables import Collection, Record

INVALID = "Invalid or missing API key"
NOT_OPENED = "This API key does not open this API"


class Scope(StrEnum):
    """What a key allows besides the use of the APIs: an administrator manages other clients, and what all share."""

    CLIENT = "client"
    ADMINISTRATOR = "administrator"


class Client(Record):
    """The holder of an API key; only the key's SHA-256 is stored. `apis` are those that the key opens, None for all."""

    name: str
    key_hash: str
    last_active: datetime = Field(default_factory=lambda: datetime.now(UTC))
    scope: Scope = Scope.CLIENT
    apis: list[str] | None = None

    @property
    def is_administrator(self) -> bool:
        """Whether this client may act for others."""
        return self.scope is Scope.ADMINISTRATOR

    def opens(self, api: str) -> bool:
        """Whether the key opens the API with this prefix."""
        return self.apis is None or api in self.apis


clients = Collection("Clients", Client, unique=["name", "key_hash"])
ROOT_ID = "00000000-0000-7000-8000-000000000001"
"""The id of the administrator that the settings name; it has no record."""

_callers = CallerCache(clients, "key_hash", used="last_active")


def new_key(prefix: str = "sk-") -> tuple[str, str]:
    """Return a new API key, the prefix and 43 characters (256 random bits), and the hash of it to store."""
    key = f"{prefix}{secrets.token_urlsafe(32)}"
    return key, key_hash(key)


def key_hash(key: str) -> str:
    """Return the key's SHA-256 in hex."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


async def client_of(key: str, *, fresh: bool = False) -> Client | None:
    """Return the client of a key, None when the key is not valid; marks the client active.

    The key of `RUNYARD_ADMIN_KEY` is that of an administrator without a record.

    `fresh=True` bypasses the cache of `RUNYARD_KEY_CACHE` seconds; for that long an instance that has just seen a key
    may accept it after its revocation.
    """
    hashed, admin_key = key_hash(key), settings().admin_key
    if admin_key and secrets.compare_digest(hashed, key_hash(admin_key)):
        return Client(id=ROOT_ID, name="administrator", key_hash=hashed, scope=Scope.ADMINISTRATOR)
    return await _callers.find(hashed, fresh=fresh)


def forget_key(hashed: str) -> None:
    """Remove a key from this instance's cache."""
    _callers.forget(hashed)


async def current_client(request: Request) -> Client:
    """Return the caller by its key, as `key_of` finds it.

    `Unauthorized` without a valid key, `Forbidden` when the key does not open the API of this request.
    """
    known: Client | None = getattr(request.state, "client", None)
    if known is not None:
        return known
    key = key_of(request)
    client = await client_of(key) if key else None
    if client is None:
        raise Unauthorized(INVALID)
    if not client.opens(request.app.prefix):
        raise Forbidden(NOT_OPENED)
    request.state.client = client
    return client


def key_of(request: Request) -> str:
    """Return the key in `Authorization: Bearer <key>`, else in the header `X-API-Key`, else in the query's `api_key`.

    The first of them that is there decides, also when it is wrong.
    """
    header = request.headers.get("authorization")
    if header is not None:
        scheme, _, key = header.partition(" ")
        return key.strip() if scheme.lower() == "bearer" else ""
    return request.headers.get("x-api-key", request.query_params.get("api_key", ""))


def require_administrator(caller: Client, client_id: str | None = None) -> None:
    """`Forbidden` for a client that manages what is not its own; `client_id` is whose it is, None for all clients'.

    While registration is open, every client may: anyone can have a key then.
    """
    if settings().registration == "open" or caller.is_administrator or caller.id == client_id:
        return
    raise Forbidden("This needs an administrator's key")


async def registrar(request: Request) -> Client | None:
    """Return the client who registers somebody: None for a stranger, who may while registration is open.

    `Unauthorized` or `Forbidden` when it is closed and the caller shows no administrator's key.
    """
    key = key_of(request)
    caller = await client_of(key) if key else None
    if settings().registration == "closed":
        if caller is None:
            raise Unauthorized(INVALID)
        if not caller.is_administrator:
            raise Forbidden("Only an administrator registers clients")
    return caller


Registrar = Annotated[Client | None, Depends(registrar)]
"""Parameter type of a route that registers callers."""

CurrentClient = Annotated[Client, Depends(current_client)]
"""Parameter type of every route that needs a key."""

SCHEMES: dict[str, dict[str, Any]] = {
    "bearerKey": {"type": "http", "scheme": "bearer"},
    "headerKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "queryKey": {"type": "apiKey", "in": "query", "name": "api_key"},
}
"""The OpenAPI security schemes: the ways to send a key."""

CLIENT_KEYS = Guard(current_client, SCHEMES)
"""The guard of an API whose callers are clients with a key."""
