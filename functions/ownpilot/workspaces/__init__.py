"""Workspaces: files of a person, and code that runs among them in a container."""

import json
from base64 import b64encode
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import Response
from fastapi.responses import StreamingResponse
from pydantic import Field

from functions.ownpilot.core.entry import Given, Moment, NotBlank, Shown, iso
from functions.ownpilot.core.file_archive import contents
from functions.ownpilot.core.file_shapes import MAX_CONTENT, content_of
from functions.ownpilot.core.files import FileRow
from functions.ownpilot.core.owner import Owner, routes_for
from functions.ownpilot.workspaces.config import ContainerConfig, config_of
from functions.ownpilot.workspaces.containers import containers_of
from functions.ownpilot.workspaces.deletion import delete
from functions.ownpilot.workspaces.records import Workspace, workspaces
from functions.ownpilot.workspaces.store import insert, note, sandbox_of, workspace_of
from shared import containers
from shared.health import CONTAINERS, Checks
from shared.http.bodies import example
from shared.http.conditions import IfMatch, show_version
from shared.http.files import disposition
from shared.http.paging import MAX_LIMIT, Paging, paging
from shared.http.shapes import Deleted
from shared.workflows import Workflows

routes = routes_for("workspaces")
checks = Checks({"docker": CONTAINERS})


class NewWorkspace(Given):
    """A workspace to make; what its configuration leaves out is as in the settings of the sandbox."""

    model_config = example(name="My workspace", containerConfig={"memoryMB": 512, "networkPolicy": "none"})

    name: NotBlank
    description: Annotated[str | None, Field(max_length=2000)] = None
    container_config: ContainerConfig | None = None


class WorkspacePatch(Given):
    """The members to change."""

    model_config = example(name="My workspace", containerConfig={"memoryLimit": "256m", "cpuLimit": "1"})

    name: NotBlank = ""
    description: Annotated[str | None, Field(max_length=2000)] = None
    container_config: ContainerConfig | None = None


class StorageUsage(Shown):
    """What its files take, and may take, in bytes."""

    used_bytes: int
    quota_bytes: int
    file_count: int


class WorkspaceShown(Shown):
    """A workspace; its container is `running` while code runs in it. `storageUsage` is there for a single one."""

    id: str
    user_id: str
    name: str
    description: str | None = None
    status: Literal["active"] = "active"
    storage_path: str
    container_config: dict[str, Any]
    container_status: Literal["running", "stopped"]
    created_at: Moment
    updated_at: Moment
    storage_usage: StorageUsage | None = None


class WorkspaceList(Shown):
    """Part of the workspaces; `count` is the number of all of them."""

    workspaces: list[WorkspaceShown]
    count: int


class WorkspaceChanged(Shown):
    """The workspace after the change."""

    updated: bool = True
    workspace: WorkspaceShown


def _shown(workspace: Workspace, usage: StorageUsage | None = None) -> WorkspaceShown:
    return WorkspaceShown.model_validate({
        **dict(workspace), "storage_path": workspace.store.folder.rstrip("/"), "storage_usage": usage,
        "container_status": "running" if workspace.queue else "stopped",
    })  # fmt: skip


@routes.get("", response_model_exclude_none=True)
async def list_workspaces(owner: Owner, paging: Annotated[Paging, paging(MAX_LIMIT)]) -> WorkspaceList:
    """The workspaces, the newest first."""
    page = await workspaces.of(owner.id).page(limit=paging.limit, offset=paging.offset, cursor=paging.cursor)
    paging.link(page)
    return WorkspaceList(workspaces=[_shown(each) for each in page.items], count=page.total)


@routes.post("", status_code=201, response_model_exclude_none=True)
async def create_workspace(body: NewWorkspace, owner: Owner, response: Response) -> WorkspaceShown:
    """Make a workspace. A person may have as many as `maxWorkspacesPerUser` of the sandbox's settings says."""
    sandbox = await sandbox_of(owner.id)
    config = (body.container_config or ContainerConfig()).over(config_of(sandbox))
    new = Workspace(user_id=owner.id, name=body.name, description=body.description, container_config=config)
    workspace = await insert(new, sandbox.max_workspaces_per_user)
    await note(owner, workspace, "workspace.create")
    show_version(response, workspace)
    return _shown(workspace)


@routes.get("/docker-status")
async def get_docker_status(owner: Owner) -> dict[str, Any]:
    """The containers in which code of the caller's workspaces runs, or waits for more code, as the service has them."""
    available, found = (await checks.results("docker"))["docker"], list[dict[str, Any]]()
    try:
        found = await containers_of(owner.id) if available else []
    except (containers.ContainersBusy, containers.ContainerRefused):
        available = False
    return {"dockerAvailable": available, "activeContainers": len(found), "containers": found}


@routes.get("/{workspace_id}", response_model_exclude_none=True)
async def get_workspace(workspace_id: str, owner: Owner, response: Response) -> WorkspaceShown:
    """One workspace, with what its files take."""
    workspace = await workspace_of(owner.id, workspace_id)
    usage = await workspace.store.usage()
    show_version(response, workspace)
    return _shown(workspace, StorageUsage(used_bytes=usage.bytes, quota_bytes=workspace.quota, file_count=usage.count))


@routes.patch("/{workspace_id}", response_model_exclude_none=True)
async def update_workspace(
    workspace_id: str, body: WorkspacePatch, owner: Owner, if_match: IfMatch, response: Response
) -> WorkspaceChanged:
    """Change the given members of a workspace and of its configuration; code that runs keeps its own."""

    def change(workspace: Workspace) -> None:
        for name in body.model_fields_set - {"container_config"}:
            setattr(workspace, name, getattr(body, name))
        if body.container_config is not None:
            workspace.container_config = body.container_config.over(workspace.container_config)

    await workspace_of(owner.id, workspace_id)
    workspace = await workspaces.of(owner.id).update(workspace_id, change, if_match=if_match)
    await note(owner, workspace, "workspace.update")
    show_version(response, workspace)
    return WorkspaceChanged(workspace=_shown(workspace))


@routes.delete("/{workspace_id}")
async def delete_one_workspace(workspace_id: str, owner: Owner, workflows: Workflows) -> Deleted:
    """Delete a workspace. What runs in it is stopped, and its files are deleted within a minute."""
    workspace = await workspace_of(owner.id, workspace_id)
    await delete(workspace, workflows)
    await note(owner, workspace, "workspace.delete")
    return Deleted()


@routes.get("/{workspace_id}/download", response_class=StreamingResponse)
async def download_workspace(workspace_id: str, owner: Owner) -> StreamingResponse:
    """All files as one JSON document, as the web page takes them; a file that is no text is in base64."""
    workspace = await workspace_of(owner.id, workspace_id)
    headers = {"Content-Disposition": disposition(f"{workspace.name}.json")}
    body = _document(workspace, await workspace.store.list())
    return StreamingResponse(body, media_type="application/json", headers=headers)


async def _document(workspace: Workspace, rows: Sequence[FileRow]) -> AsyncIterator[bytes]:
    """Yield the document file by file, and a large file in parts: that is in base64, whatever it is."""
    head = {"name": workspace.name, "id": workspace.id, "exportedAt": iso(datetime.now(UTC)), "totalFiles": len(rows)}
    yield json.dumps(head).encode()[:-1] + b', "files": ['
    comma = b""
    async for row, parts in contents(workspace.store, rows):
        head = {"path": row.path, "size": row.size}
        if row.size <= MAX_CONTENT:
            content, encoding = content_of(b"".join([part async for part in parts]))
            yield comma + json.dumps({**head, "encoding": encoding, "content": content}, ensure_ascii=False).encode()
        else:
            yield comma + json.dumps({**head, "encoding": "base64"}).encode()[:-1] + b', "content": "'
            async for part in in_base64(parts):
                yield part
            yield b'"}'
        comma = b","
    yield b"]}"


async def in_base64(parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield the base64 of bytes that come in parts."""
    rest = b""
    async for part in parts:
        data = rest + part
        whole = len(data) - len(data) % 3
        yield b64encode(data[:whole])
        rest = data[whole:]
    yield b64encode(rest)
