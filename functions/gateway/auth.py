"""Logging in: the registration of a client."""

from functions.gateway.access import new_key
from functions.gateway.models import Client, Login, Registered
from functions.gateway.store import clients
from shared import tables
from shared.http.api import router
from shared.http.errors import Conflict

routes = router("/api/auth", "auth")


@routes.post("/login")
async def login(body: Login) -> Registered:
    """Register a client under a new name; the answer is the only one that shows its API key."""
    key, hashed = new_key()
    try:
        client = await clients.insert(Client(name=body.name, key_hash=hashed))
    except tables.Conflict as error:
        raise Conflict("Client already exists") from error
    return Registered(id=client.id, name=client.name, api_key=key)
