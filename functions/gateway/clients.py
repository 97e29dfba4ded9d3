"""Clients: who holds an API key."""

from fastapi import Request, Response

from functions.gateway import updates
from functions.gateway.bodies import ClientDetail, ClientList, Login, Message, NewKey
from shared import tables
from shared.access import Client, CurrentClient, clients, forget, new_key
from shared.http.api import router
from shared.http.conditions import IfMatch, show_version
from shared.http.errors import BadRequest, Conflict
from shared.http.paging import Cursor, Limit, Offset, link_next

routes = router("/api/clients", "clients")


@routes.get("")
async def list_clients(
    caller: CurrentClient,
    request: Request,
    response: Response,
    limit: Limit = 50,
    offset: Offset = 0,
    cursor: Cursor = None,
) -> ClientList:
    """All clients, newest first."""
    try:
        page = await clients.page(limit=limit, offset=offset, cursor=cursor)
    except tables.BadCursor as error:
        raise BadRequest("cursor: must come from a Link header") from error
    link_next(request, response, page)
    return ClientList(clients=[ClientDetail.model_validate(client) for client in page.items], total=page.total)


@routes.get("/{client_id}", response_model=ClientDetail)
async def get_client(client_id: str, caller: CurrentClient, response: Response) -> Client:
    """One client."""
    client = await clients.get(client_id)
    show_version(response, client)
    return client


@routes.patch("/{client_id}", response_model=ClientDetail)
async def update_client(
    client_id: str, body: Login, caller: CurrentClient, response: Response, if_match: IfMatch
) -> Client:
    """Rename a client."""

    def rename(client: Client) -> None:
        client.name = body.name

    try:
        client = await clients.update(client_id, rename, if_match=if_match)
    except tables.PreconditionFailed:
        raise
    except tables.Conflict as error:
        raise Conflict("Client already exists") from error
    forget(client.key_hash)
    show_version(response, client)
    return client


@routes.delete("/{client_id}")
async def delete_client(client_id: str, caller: CurrentClient) -> Message:
    """Delete a client and revoke its key; its runs go on, and stay."""
    client = await clients.get(client_id)
    await clients.delete(client_id)
    await _revoke(client)
    return Message(message="Client deleted successfully")


@routes.post("/{client_id}/rotate-key")
async def rotate_key(client_id: str, caller: CurrentClient) -> NewKey:
    """Give a client a new key; the old one opens nothing from now on."""
    key, hashed = new_key()
    old: list[Client] = []

    def rotate(client: Client) -> None:
        old.append(client.model_copy())
        client.key_hash = hashed

    await clients.update(client_id, rotate)
    await _revoke(old[-1])
    return NewKey(api_key=key)


async def _revoke(client: Client) -> None:
    """What a key that is gone still held open."""
    forget(client.key_hash)
    await updates.hang_up(client.id)
