"""File workspaces as they are kept: one for each session, or made by hand, whose files are in a `FileStore`."""

import asyncio
import re
import secrets
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from pydantic import Field, StringConstraints

from functions.ownpilot.core.entry import CAMEL, Entry, Moment, NotBlank
from functions.ownpilot.core.file_cleanup import delete_workspace
from functions.ownpilot.core.files import FileStore
from shared import tables
from shared.http.errors import BadRequest, InvalidRequest, NotFound
from shared.settings import settings
from shared.tables import Collection

UNNAMED = "default"
"""The session of tools that are used outside of one."""

TOUCH = timedelta(minutes=1)
"""A change of a file moves the time of its workspace, unless that has moved within this time."""

SESSION = r"\w[\w.:@-]{0,127}"
"""The id of a session, which is a part of addresses: letters, digits and `_ . : @ -`."""

SessionId = Annotated[str, StringConstraints(pattern=f"^{SESSION}$")]


class FileWorkspace(Entry):
    """A workspace. Clients know it by `workspace_id`; its own id is the place of its files.

    So one that is deleted and made again under the same name has none of the old files. `changed_at` is about when a
    file was changed last.
    """

    model_config = CAMEL

    workspace_id: str
    name: NotBlank
    agent_id: str | None = None
    session_id: str | None = None
    description: str | None = None
    tags: list[str] = []
    changed_at: Moment = Field(default_factory=lambda: datetime.now(UTC))

    @property
    def files(self) -> FileStore:
        """Its files."""
        return FileStore(self.user_id, self.id)


file_workspaces = Collection("OwnpilotFileWorkspaces", FileWorkspace, plain=True, unique=["workspace_id"])


class WorkspaceNotFound(NotFound):
    """404: the user has no such workspace."""

    code = "WORKSPACE_NOT_FOUND"


async def workspace_of(owner: str, workspace_id: str) -> FileWorkspace:
    """Return a workspace. `WorkspaceNotFound`. 2 calls."""
    try:
        return await file_workspaces.of(owner).find("workspace_id", workspace_id)
    except tables.RecordNotFound:
        raise WorkspaceNotFound(f"There is no file workspace {workspace_id[:100]}") from None


async def make_workspace(owner: str, session_id: str | None, **members: Any) -> tuple[FileWorkspace, bool]:
    """Return the workspace of a session and whether it is new; without a session, always a new one.

    `members` are those of a new one. `BadRequest` LIMIT_REACHED when there are `RUNYARD_MAX_RECORDS` of them. Of two
    calls at once, both get the same workspace.
    """
    workspace_id = session_id or secrets.token_hex(4)
    try:
        if session_id:
            return await workspace_of(owner, session_id), False
    except WorkspaceNotFound:
        pass
    own = file_workspaces.of(owner)
    if (count := await own.count()) >= settings().max_records:
        raise BadRequest(f"There are {count} workspaces already: delete some first", code="LIMIT_REACHED")
    members = {"name": f"Workspace {workspace_id}", **{name: value for name, value in members.items() if value}}
    new = FileWorkspace(user_id=owner, workspace_id=workspace_id, session_id=session_id, **members)
    try:
        return await own.insert(new), True
    except tables.RecordConflict:
        if not session_id:
            raise
        return await workspace_of(owner, session_id), False


async def files_of_session(owner: str, session: str, agent_id: str | None = None) -> FileWorkspace:
    """Return the workspace of a conversation or run, which is made if there is none. `InvalidRequest`."""
    session = session or UNNAMED
    if not re.fullmatch(SESSION, session):
        raise InvalidRequest("The session's id cannot name a workspace")
    return (await make_workspace(owner, session, agent_id=agent_id))[0]


async def touch(workspace: FileWorkspace) -> None:
    """Write down that a file was changed: 1 call at most once a minute."""
    now = datetime.now(UTC)
    if now - workspace.updated_at < TOUCH:
        return

    def move(it: FileWorkspace) -> None:
        it.changed_at = now

    try:
        await file_workspaces.of(workspace.user_id).update(workspace, move)
    except tables.RecordNotFound:
        pass  # deleted meanwhile, and its files with it


async def old_workspaces(owner: str, before: datetime) -> tuple[list[FileWorkspace], list[FileWorkspace]]:
    """Return the workspaces that nothing was changed in since that moment, and the others."""
    found = [each async for each in file_workspaces.of(owner).all()]
    return [each for each in found if each.updated_at < before], [each for each in found if each.updated_at >= before]


async def delete_old(workspace: FileWorkspace, before: datetime) -> bool:
    """Delete a workspace with its files, unless something was changed in it meanwhile."""
    own = file_workspaces.of(workspace.user_id)
    try:
        current = await own.get(workspace.id)
        if current.updated_at >= before:
            return False
        await delete_workspace(current.files, file_workspaces, if_match=current.etag)
    except tables.RecordChanged:
        return False
    except tables.RecordNotFound:
        pass
    return True


async def delete_all_old(workspaces: list[FileWorkspace], before: datetime) -> list[bool]:
    """`delete_old` for each of them, eight at a time."""
    turns = asyncio.Semaphore(8)

    async def one(each: FileWorkspace) -> bool:
        async with turns:
            return await delete_old(each, before)

    return [*await asyncio.gather(*map(one, workspaces))]
