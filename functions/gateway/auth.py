"""Authentication: registers clients and checks API keys."""

from typing import Annotated, Any

from fastapi import Body, Request
from starlette.responses import JSONResponse, Response

from functions.gateway.clients import ClientName
from shared import tables
from shared.api_keys import INVALID, SCHEMES, Client, Registrar, Scope, client_of, clients, key_of, new_key
from shared.http.bodies import RequestBody, ResponseBody, example
from shared.http.errors import BadRequest, Conflict, Forbidden
from shared.http.json import Text
from shared.http.routes import options, router
from shared.settings import settings

routes = router("/api/auth", "auth")

OPTIONAL_KEY = {"security": [{}, *({name: []} for name in SCHEMES)]}
"""The description of a route that also serves callers without a key."""


class Login(RequestBody):
    """The name of a new client: logging in registers it. Only an administrator may give `scope` and `apis`.

    `apis` are the APIs that the key opens; by default all.
    """

    model_config = example(name="my laptop")

    name: ClientName
    scope: Scope = Scope.CLIENT
    apis: list[Text] | None = None


class Credentials(RequestBody):
    """The API key to check; by default the one in the request's header or query."""

    model_config = example()

    api_key: Text | None = None


class Registered(ResponseBody):
    """A new client. Only this response and that of a key rotation show an API key."""

    id: str
    name: str
    api_key: str


class Verified(ResponseBody):
    """The client whose API key is valid."""

    valid: bool
    client_id: str
    client_name: str


class NotVerified(ResponseBody):
    """The API key is not valid."""

    valid: bool
    error: str


TAKEN: dict[int | str, dict[str, Any]] = {409: {"description": "The name is taken"}}


@routes.post("/login", responses=TAKEN, openapi_extra=OPTIONAL_KEY)
async def login(body: Login, registrar: Registrar) -> Registered:
    """Register a client under a new name; only this response shows its API key."""
    if body.scope is not Scope.CLIENT or body.apis is not None:
        if registrar is None or not registrar.is_administrator:
            raise Forbidden("Only an administrator gives a scope or APIs")
        if unknown := sorted({*(body.apis or [])} - {*settings().api_names}):
            raise BadRequest(f"apis: there is no API {unknown[0]}")
    key, hashed = new_key()
    try:
        client = await clients.insert(Client(name=body.name, key_hash=hashed, scope=body.scope, apis=body.apis))
    except tables.RecordConflict as error:
        raise Conflict("Client already exists") from error
    return Registered(id=client.id, name=client.name, api_key=key)


# Not idempotent: the response would have to be stored, and API keys are never stored. A repeat gets 409.
@routes.post("/register", status_code=201, responses=TAKEN, openapi_extra=OPTIONAL_KEY)
@options(idempotent=False)
async def register(body: Login, registrar: Registrar) -> Registered:
    """Register a client under a new name; the same as `POST /api/auth/login`."""
    return await login(body, registrar)


@routes.post("/verify", response_model=Verified, responses={401: {"model": NotVerified}}, openapi_extra=OPTIONAL_KEY)
async def verify(
    request: Request, body: Annotated[Credentials, Body(default_factory=Credentials)]
) -> Verified | Response:
    """Check the API key in the body or, without one, in the request's header or query."""
    key = body.api_key if body.api_key is not None else key_of(request)
    client = await client_of(key) if key else None
    if client is None:
        return JSONResponse({"valid": False, "error": INVALID}, 401)
    return Verified(valid=True, client_id=client.id, client_name=client.name)
