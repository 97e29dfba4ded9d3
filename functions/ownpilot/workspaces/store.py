"""Workspaces of a person: found, made, and what an audit keeps of what is done in them."""

from typing import Any

from functions.ownpilot.core.audit_log import Subject, record_event
from functions.ownpilot.core.owner import Person
from functions.ownpilot.core.settings_store import recent
from functions.ownpilot.settings.sandbox import SANDBOX, SandboxSettings
from functions.ownpilot.workspaces.records import Workspace, workspaces
from shared import tables
from shared.http.errors import BadRequest, NotFound


async def workspace_of(owner: str, workspace_id: str) -> Workspace:
    """Return a workspace. `NotFound` WORKSPACE_NOT_FOUND. 1 call."""
    try:
        return await workspaces.of(owner).get(workspace_id)
    except tables.RecordNotFound:
        raise NotFound("There is no such workspace", code="WORKSPACE_NOT_FOUND") from None


async def sandbox_of(owner: str) -> SandboxSettings:
    """Return how a person's code is run; what another instance has changed may be missing for 5 s. 1 query, or none."""
    rows = await recent(owner)
    return SandboxSettings.model_validate(rows[SANDBOX].value if SANDBOX in rows else {})


async def insert(workspace: Workspace, limit: int) -> Workspace:
    """Store a new workspace. `BadRequest` WORKSPACE_LIMIT_EXCEEDED when the person has `limit` already.

    It is counted before and after: of two that come together for the last place, both may be refused, but there are
    never more than the limit.
    """
    own = workspaces.of(workspace.user_id)
    if await own.count() < limit:
        workspace = await own.insert(workspace)
        if await own.count() <= limit:
            return workspace
        await own.delete(workspace.id)
    raise BadRequest(f"You have {limit} workspaces, and may have no more", code="WORKSPACE_LIMIT_EXCEEDED")


async def note(owner: Person, workspace: Workspace, type_: str, **details: Any) -> None:
    """Write down what was done with a file of a workspace."""
    subject = Subject("workspace", workspace.id, workspace.name)
    await record_event(owner.id, type_, subject, details=details, correlation_id=owner.request_id)
