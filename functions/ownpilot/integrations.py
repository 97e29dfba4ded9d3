"""Services outside that a person has connected, and which there are."""

from typing import Annotated, Any

from functions.ownpilot.core import google
from functions.ownpilot.core.audit_log import record_change
from functions.ownpilot.core.entry import Moment, Shown, iso
from functions.ownpilot.core.google import GoogleFailed
from functions.ownpilot.core.integration_store import (
    PROVIDER,
    Integration,
    disconnect,
    integration_of,
    integrations,
    renewed,
)
from functions.ownpilot.core.owner import Owner, routes_for
from shared.http.errors import BadGateway
from shared.http.paging import MAX_LIMIT, Paging, paging

routes = routes_for("integrations")

NEEDED = ["google_oauth_client_id", "google_oauth_client_secret"]
SERVICES = {
    "gmail": ("Gmail", "Read, send and manage e-mail", "mail"),
    "calendar": ("Google Calendar", "Read and manage events of calendars", "calendar"),
    "drive": ("Google Drive", "Read and manage files", "folder"),
}
"""The name of each service, what it is for, and its icon."""

List = Annotated[Paging, paging(MAX_LIMIT)]


class IntegrationShown(Shown):
    """A connected service. `status` is active, expired, revoked or error, which `errorMessage` explains."""

    id: str
    provider: str
    service: str
    email: str | None
    status: str
    scopes: list[str]
    last_sync_at: Moment | None
    error_message: str | None
    created_at: Moment
    updated_at: Moment


def _shown(found: Integration) -> IntegrationShown:
    return IntegrationShown.model_validate({**dict(found), "status": found.shown_status})


@routes.get("")
async def list_integrations(owner: Owner, paging: List) -> list[IntegrationShown]:
    """The connected services, by name."""
    page = await integrations.of(owner.id).page(
        order=("service",), limit=paging.limit, offset=paging.offset, cursor=paging.cursor
    )
    paging.link(page)
    return [_shown(each) for each in page.items]


@routes.get("/connected")
async def list_connected(owner: Owner, paging: List) -> list[IntegrationShown]:
    """The connected services, by name."""
    return await list_integrations(owner, paging)


@routes.get("/available")
async def list_available(owner: Owner) -> list[dict[str, Any]]:
    """The services that can be connected, and whether what they need is configured."""
    is_configured = await google.client_of(owner.id) is not None
    return [
        {
            "provider": PROVIDER, "service": service, "name": name, "description": about, "icon": icon,
            "requiredConfig": NEEDED, "isConfigured": is_configured,
        }
        for service, (name, about, icon) in SERVICES.items()
    ]  # fmt: skip


@routes.get("/{integration_id}")
async def get_integration(integration_id: str, owner: Owner) -> IntegrationShown:
    """One connected service."""
    return _shown(await integration_of(owner.id, integration_id))


@routes.delete("/{integration_id}")
async def delete_integration(integration_id: str, owner: Owner) -> dict[str, Any]:
    """Disconnect a service: the token is revoked at Google, and the integration is deleted even if that fails."""
    found = await disconnect(owner.id, integration_id)
    await record_change(owner, "integration", found.id, "revoke")
    return {"message": f"{found.service} is disconnected", "deleted": True}


@routes.post("/{integration_id}/sync")
async def sync_integration(integration_id: str, owner: Owner) -> dict[str, Any]:
    """Check a connection: its token is renewed, and Google asked whose account it is."""
    found = await renewed(owner.id, integration_id)
    try:
        email = await google.email_of(found.token("sealed_access") or "")
    except GoogleFailed as error:
        raise BadGateway(str(error), code="SYNC_FAILED") from error

    def note(stored: Integration) -> None:
        stored.last_sync_at, stored.email = stored.refreshed_at, email or stored.email

    found = await integrations.of(owner.id).update(found.id, note)
    return {"message": f"{found.service} is connected", "expiresAt": iso(found.expires_at)}
