"""Clients: the holders of API keys."""

import contextlib
from datetime import datetime
from typing import Annotated

from fastapi import Response
from pydantic import StringConstraints

from functions.gateway import updates
from shared import tables
from shared.api_keys import Client, CurrentClient, clients, forget_key, new_key, require_administrator
from shared.http.bodies import Done, RequestBody, ResponseBody, example
from shared.http.conditions import IfMatch, show_version
from shared.http.errors import Conflict
from shared.http.paging import Paging, paging
from shared.http.routes import router

routes = router("/api/clients", "clients")

ClientName = Annotated[str, StringConstraints(strict=True, strip_whitespace=True, min_length=1, max_length=100)]


class ClientChange(RequestBody):
    """A client's new name."""

    model_config = example(name="my other laptop")

    name: ClientName


class ClientDetail(ResponseBody):
    """A client without its key."""

    id: str
    name: str
    created_at: datetime
    last_active: datetime


class ClientList(ResponseBody):
    """A page of clients; `total` counts all."""

    clients: list[ClientDetail]
    total: int


class NewKey(ResponseBody):
    """A client's new API key; only this response shows it."""

    api_key: str


@routes.get("")
async def list_clients(caller: CurrentClient, paging: Annotated[Paging, paging()]) -> ClientList:
    """All clients, newest first."""
    require_administrator(caller)
    page = await paging.page(clients)
    return ClientList(clients=[ClientDetail.model_validate(client) for client in page.items], total=page.total)


@routes.get("/{client_id}", response_model=ClientDetail)
async def get_client(client_id: str, caller: CurrentClient, response: Response) -> Client:
    """One client."""
    require_administrator(caller, client_id)
    client = await clients.get(client_id)
    show_version(response, client)
    return client


@routes.patch("/{client_id}", response_model=ClientDetail)
async def update_client(
    client_id: str, body: ClientChange, caller: CurrentClient, response: Response, if_match: IfMatch
) -> Client:
    """Rename a client."""
    require_administrator(caller, client_id)

    def rename(client: Client) -> None:
        client.name = body.name

    try:
        client = await clients.update(client_id, rename, if_match=if_match)
    except tables.RecordChanged:
        raise
    except tables.RecordConflict as error:
        raise Conflict("Client already exists") from error
    forget_key(client.key_hash)
    show_version(response, client)
    return client


@routes.delete("/{client_id}")
async def delete_client(client_id: str, caller: CurrentClient) -> Done:
    """Delete a client and revoke its API key; its runs continue and are kept."""
    require_administrator(caller, client_id)
    client = await clients.get(client_id)
    await updates.close_later(client.key_hash)
    await clients.delete(client_id)
    await _revoke(client)
    return Done(message="Client deleted successfully")


@routes.post("/{client_id}/rotate-key")
async def rotate_key(client_id: str, caller: CurrentClient) -> NewKey:
    """Give a client a new API key; the old one is revoked."""
    require_administrator(caller, client_id)
    key, hashed = new_key()
    old: list[Client] = []

    def rotate(client: Client) -> None:
        old.append(client.model_copy())
        client.key_hash = hashed

    await updates.close_later((await clients.get(client_id)).key_hash)
    await clients.update(client_id, rotate)
    await _revoke(old[-1])
    return NewKey(api_key=key)


async def _revoke(client: Client) -> None:
    """Remove a revoked key from this instance's cache and close the sockets that it opened."""
    forget_key(client.key_hash)
    with contextlib.suppress(ConnectionError):  # then the deferred work closes them
        await updates.close_connections(client.key_hash)
