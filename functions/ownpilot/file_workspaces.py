"""File workspaces: the files of a session, without containers."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import Query, Response
from fastapi.responses import StreamingResponse
from pydantic import Field

from functions.ownpilot.core.entry import Given, Moment, NotBlank, Shown
from functions.ownpilot.core.file_archive import zip_stream
from functions.ownpilot.core.file_cleanup import delete_workspace
from functions.ownpilot.core.file_paths import normalised
from functions.ownpilot.core.file_shapes import Encoding, bytes_of, check_content, content_of, tree_of
from functions.ownpilot.core.file_workspace_cleanup import start_cleanup
from functions.ownpilot.core.file_workspace_store import (
    FileWorkspace,
    SessionId,
    delete_all_old,
    file_workspaces,
    make_workspace,
    old_workspaces,
    touch,
    workspace_of,
)
from functions.ownpilot.core.owner import Owner, routes_for
from shared.http.bodies import example
from shared.http.files import DOWNLOAD, FileConditions, disposition, serve_file
from shared.http.json import Text
from shared.http.paging import MAX_LIMIT, Paging, paging
from shared.http.routes import options
from shared.http.shapes import Deleted
from shared.workflows import Workflows

routes = routes_for("file-workspaces")

FOLDERS = ("downloads", "output", "scripts", "temp")
"""Folders that are shown before they have a file."""

AT_ONCE = 100
"""Workspaces that a request cleans up itself; more are left to a workflow."""

MAX_BODY = 32 * 1024 * 1024
"""Bytes of a request that writes a file of 10 MiB: JSON may take several for one."""


class NewFileWorkspace(Given):
    """A workspace to make; with the `sessionId` of one that there is, it is that one."""

    model_config = example(name="My Workspace", description="Data analysis", tags=["python"])

    name: NotBlank | None = None
    agent_id: NotBlank | None = None
    session_id: SessionId | None = None
    description: Annotated[str | None, Field(max_length=2000)] = None
    tags: Annotated[list[NotBlank], Field(max_length=50)] = []


class FileWorkspaceShown(Shown):
    """A workspace: bytes and number of its files. `path` is where they are stored."""

    id: str
    name: str
    created_at: Moment
    updated_at: Moment
    agent_id: str | None = None
    session_id: str | None = None
    description: str | None = None
    tags: list[str]
    path: str
    size: int
    file_count: int


class FileWorkspaceList(Shown):
    """Part of the workspaces; `count` is the number of all of them."""

    workspaces: list[FileWorkspaceShown]
    count: int


class FileContent(Given):
    """The new content of a file: text, or bytes in base64."""

    model_config = example(content="Hello")

    content: Text
    encoding: Encoding = "utf-8"


class Cleanup(Given):
    """What is old: workspaces in which nothing has changed for so many days."""

    model_config = example(maxAgeDays=7)

    max_age_days: Annotated[float, Field(ge=0, le=36_500, allow_inf_nan=False)] = 7


async def _shown(workspace: FileWorkspace) -> FileWorkspaceShown:
    files = workspace.files
    usage = await files.usage()
    return FileWorkspaceShown.model_validate({
        **dict(workspace), "id": workspace.workspace_id, "path": files.folder.rstrip("/"), "size": usage.bytes,
        "file_count": usage.count,
    })  # fmt: skip


@routes.get("", response_model_exclude_none=True)
async def list_file_workspaces(owner: Owner, paging: Annotated[Paging, paging(MAX_LIMIT)]) -> FileWorkspaceList:
    """The workspaces, the last changed one first. Each costs a query for its size."""
    page = await file_workspaces.of(owner.id).page(
        limit=paging.limit, offset=paging.offset, order="updated_at", cursor=paging.cursor
    )
    paging.link(page)
    return FileWorkspaceList(workspaces=[*await asyncio.gather(*map(_shown, page.items))], count=page.total)


@routes.post("", status_code=201, response_model_exclude_none=True)
async def create_file_workspace(body: NewFileWorkspace, owner: Owner, response: Response) -> FileWorkspaceShown:
    """Make a workspace, or return that of the session with status 200."""
    workspace, is_new = await make_workspace(owner.id, **body.model_dump())
    if not is_new:
        response.status_code = 200
    return await _shown(workspace)


@routes.post("/cleanup")
async def clean_up_file_workspaces(body: Cleanup, owner: Owner, workflows: Workflows) -> dict[str, list[str]]:
    """Delete the workspaces in which nothing has changed for `maxAgeDays`. More than 100 are deleted within minutes."""
    before = datetime.now(UTC) - timedelta(days=body.max_age_days)
    old, kept = await old_workspaces(owner.id, before)
    if len(old) > AT_ONCE:
        await start_cleanup(workflows, owner.id, before)
        gone = [True] * len(old)
    else:
        gone = await delete_all_old(old, before)
    deleted = [each.workspace_id for each, done in zip(old, gone, strict=True) if done]
    kept += [each for each, done in zip(old, gone, strict=True) if not done]
    return {"deleted": deleted, "kept": [each.workspace_id for each in kept]}


@routes.get("/{workspace_id}", response_model_exclude_none=True)
async def get_file_workspace(workspace_id: str, owner: Owner) -> FileWorkspaceShown:
    """One workspace."""
    return await _shown(await workspace_of(owner.id, workspace_id))


@routes.delete("/{workspace_id}")
async def delete_file_workspace(workspace_id: str, owner: Owner) -> Deleted:
    """Delete a workspace with its files."""
    workspace = await workspace_of(owner.id, workspace_id)
    await delete_workspace(workspace.files, file_workspaces)
    return Deleted()


@routes.get("/{workspace_id}/download", response_class=StreamingResponse)
async def download_file_workspace(workspace_id: str, owner: Owner) -> StreamingResponse:
    """All files of a workspace as a ZIP file."""
    workspace = await workspace_of(owner.id, workspace_id)
    body = zip_stream(workspace.files, await workspace.files.list())
    headers = {"Content-Disposition": disposition(f"{workspace.name}.zip")}
    return StreamingResponse(body, media_type="application/zip", headers=headers)


@routes.get("/{workspace_id}/files")
async def list_workspace_files(workspace_id: str, owner: Owner, path: str = "") -> dict[str, Any]:
    """What is in a folder of a workspace, as a tree."""
    workspace = await workspace_of(owner.id, workspace_id)
    folder = normalised(path)
    extra = [(name, workspace.created_at) for name in FOLDERS] if not folder else []
    tree = await asyncio.to_thread(tree_of, await workspace.files.list(folder), folder, extra)
    return {"path": folder, "files": tree, "count": len(tree)}


async def _read(workspace_id: str, path: str, owner: Owner, conditions: FileConditions, download: bool) -> Any:
    files = (await workspace_of(owner.id, workspace_id)).files
    row = await files.find(path)
    if download:
        return await serve_file(files.download(row), conditions)
    check_content(row.size)
    content, encoding = content_of(await files.content(row))
    return {"path": row.path, "content": content, "size": row.size, "encoding": encoding}


Download = Annotated[bool, Query(description="The bytes of the file instead of JSON")]


@routes.get("/{workspace_id}/files/{path:path}", responses=DOWNLOAD, response_model=dict[str, Any])
async def read_workspace_file(
    workspace_id: str, path: str, owner: Owner, conditions: FileConditions, download: Download = False
) -> Any:
    """The content of a file: text, or base64 as `encoding` says; with `download=true` the bytes, also parts of them."""
    return await _read(workspace_id, path, owner, conditions, download)


@routes.get("/{workspace_id}/file/{path:path}", responses=DOWNLOAD, response_model=dict[str, Any])
async def read_workspace_file_of_page(
    workspace_id: str, path: str, owner: Owner, conditions: FileConditions, download: Download = False
) -> Any:
    """The content of a file, where the web page looks for it."""
    return await _read(workspace_id, path, owner, conditions, download)


@routes.put("/{workspace_id}/files/{path:path}")
@options(max_body=MAX_BODY)
async def write_workspace_file(workspace_id: str, path: str, body: FileContent, owner: Owner) -> dict[str, Any]:
    """Write a file of at most 10 MiB, in place of the one at this path."""
    workspace = await workspace_of(owner.id, workspace_id)
    row = await workspace.files.write(path, bytes_of(body.content, body.encoding))
    await touch(workspace)
    return {"path": row.path, "written": True}


@routes.delete("/{workspace_id}/files/{path:path}")
async def delete_workspace_file(workspace_id: str, path: str, owner: Owner) -> dict[str, Any]:
    """Delete a file, or a folder with all files in it."""
    workspace = await workspace_of(owner.id, workspace_id)
    await workspace.files.delete(path)
    await touch(workspace)
    return {"path": normalised(path), "deleted": True}
