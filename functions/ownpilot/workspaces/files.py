"""Files of a workspace."""

import asyncio
from collections.abc import Iterator
from typing import Any

from functions.ownpilot.core.entry import Given, iso
from functions.ownpilot.core.file_paths import normalised
from functions.ownpilot.core.file_shapes import Encoding, bytes_of, check_content, content_of, tree_of
from functions.ownpilot.core.owner import Owner, routes_for
from functions.ownpilot.workspaces.store import note, workspace_of
from shared.http.bodies import example
from shared.http.errors import BadRequest
from shared.http.json import Text
from shared.http.routes import options

routes = routes_for("workspaces")

MAX_BODY = 64 * 1024 * 1024
"""Bytes of a request that writes a file of 10 MiB: JSON may take six for one."""


class NewContent(Given):
    """The new content of a file: text, or bytes in base64."""

    model_config = example(content="print('hello')")

    content: Text | None = None
    encoding: Encoding = "utf-8"


@routes.get("/{workspace_id}/files")
async def list_files_of_workspace(
    workspace_id: str, owner: Owner, path: str = "", recursive: bool = False
) -> dict[str, Any]:
    """What is in a folder, folders first; `recursive`: also what is in those. A query for each 1,000 files."""
    workspace = await workspace_of(owner.id, workspace_id)
    folder = normalised(path)
    tree = await asyncio.to_thread(tree_of, await workspace.store.list(folder), folder, recursive=recursive)
    rows = [*_flat(tree)]
    return {"path": folder, "files": rows, "count": len(rows)}


def _flat(tree: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for each in tree:
        yield _row(each)
        yield from _flat(each.get("children", []))


def _row(node: dict[str, Any]) -> dict[str, Any]:
    return {name: node[name] for name in ("name", "path", "isDirectory", "size", "modifiedAt")}


@routes.get("/{workspace_id}/files/{path:path}")
async def read_file_of_workspace(workspace_id: str, path: str, owner: Owner) -> dict[str, Any]:
    """The content of a file of at most 10 MiB: text, or base64 as `encoding` says."""
    workspace = await workspace_of(owner.id, workspace_id)
    row = await workspace.store.find(path)
    check_content(row.size)
    content, encoding = content_of(await workspace.store.content(row))
    await note(owner, workspace, "file.read", path=row.path, size=row.size)
    return {
        "path": row.path, "content": content, "size": row.size, "encoding": encoding, "modifiedAt": iso(row.updated_at),
    }  # fmt: skip


@routes.put("/{workspace_id}/files/{path:path}")
@options(max_body=MAX_BODY)
async def write_file_of_workspace(workspace_id: str, path: str, body: NewContent, owner: Owner) -> dict[str, Any]:
    """Write a file of at most 10 MiB, in place of the one at this path. Code that runs meanwhile does not see it."""
    if body.content is None:
        raise BadRequest("content: must be given", code="INVALID_INPUT")
    workspace = await workspace_of(owner.id, workspace_id)
    row = await workspace.store.write(path, bytes_of(body.content, body.encoding))
    await note(owner, workspace, "file.write", path=row.path, size=row.size)
    return {"path": row.path, "written": True, "size": row.size}


@routes.delete("/{workspace_id}/files/{path:path}")
async def delete_file_of_workspace(workspace_id: str, path: str, owner: Owner) -> dict[str, Any]:
    """Delete a file, or a folder with all files in it."""
    workspace = await workspace_of(owner.id, workspace_id)
    count = await workspace.store.delete(path)
    await note(owner, workspace, "file.delete", path=normalised(path), files=count)
    return {"path": normalised(path), "deleted": True}
