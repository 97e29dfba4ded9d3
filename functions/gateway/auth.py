"""Logging in: the registration of a client, and the check of a key."""

from fastapi import Request
from starlette.responses import JSONResponse, Response

from functions.gateway.clients import ClientName
from shared import tables
from shared.api_keys import INVALID, Client, client_of, clients, key_of, new_key
from shared.http.bodies import RequestBody, ResponseBody
from shared.http.errors import Conflict
from shared.http.json import Text
from shared.http.routes import options, router

routes = router("/api/auth", "auth")


class Login(RequestBody):
    """A client's name: a new one, since logging in is registering."""

    name: ClientName


class Credentials(RequestBody):
    """An API key to be checked; without one, that of the request's header or query."""

    api_key: Text | None = None


class Registered(ResponseBody):
    """A new client; the only response, beside a rotation's, that shows the key."""

    id: str
    name: str
    api_key: str


class Verified(ResponseBody):
    """Whose key it is."""

    valid: bool
    client_id: str
    client_name: str


class NotVerified(ResponseBody):
    """A key that opens nothing."""

    valid: bool
    error: str


@routes.post("/login", responses={409: {"description": "The name is taken"}})
async def login(body: Login) -> Registered:
    """Register a client under a new name; the response is the only one that shows its API key."""
    key, hashed = new_key()
    try:
        client = await clients.insert(Client(name=body.name, key_hash=hashed))
    except tables.RecordConflict as error:
        raise Conflict("Client already exists") from error
    return Registered(id=client.id, name=client.name, api_key=key)


# Its response shows a key, and no key is kept anywhere: a second request gets 409, whatever its Idempotency-Key.
@routes.post("/register", status_code=201)
@options(idempotent=False)
async def register(body: Login) -> Registered:
    """Register a client, as logging in does."""
    return await login(body)


@routes.post("/verify", response_model=Verified, responses={401: {"model": NotVerified}})
async def verify(request: Request, body: Credentials | None = None) -> Verified | Response:
    """Say whose key it is: the one in the body, or the one that the request itself shows."""
    key = body.api_key if body and body.api_key is not None else key_of(request)
    client = await client_of(key) if key else None
    if client is None:
        return JSONResponse({"valid": False, "error": INVALID}, 401)
    return Verified(valid=True, client_id=client.id, client_name=client.name)
