"""Tools on files: they see the workspace of the conversation or run that uses them, and nothing else."""

from typing import Annotated, Any

from pydantic import Field

from functions.ownpilot.core.file_paths import file_path, normalised
from functions.ownpilot.core.file_shapes import check_content, content_of, row_of, tree_of
from functions.ownpilot.core.file_workspace_store import FileWorkspace, files_of_session, touch
from functions.ownpilot.core.tool_context import ToolContext, ToolError
from functions.ownpilot.tools.registry import tool

MAX_READ = 200_000
"""Bytes that `read_file` returns at most: a longer result of a tool would be cut."""

MAX_LISTED = 1000

FilePath = Annotated[str, Field(description="Path of a file in the workspace, such as output/report.md")]
FolderPath = Annotated[str, Field(description="Path of a folder in the workspace, such as output; empty: all of it")]


async def _workspace(context: ToolContext) -> FileWorkspace:
    return await files_of_session(context.owner, context.workspace or context.session, context.agent)


@tool(category="filesystem", tags=("directory", "mkdir", "create"))
async def create_folder(context: ToolContext, path: FolderPath) -> str:
    """Make a folder. It is shown in lists once it holds a file."""
    path = file_path(path)
    await (await _workspace(context)).files.check_folder(path)
    return f"Files can be written into {path}."


@tool(category="filesystem", tags=("save", "create", "text"))
async def write_file(context: ToolContext, path: FilePath, content: str) -> dict[str, Any]:
    """Write a text into a file, in place of what it holds. Folders in the path are made."""
    data = content.encode()
    check_content(len(data))
    workspace = await _workspace(context)
    row = await workspace.files.write(path, data)
    await touch(workspace)
    return {"path": row.path, "size": row.size}


@tool(category="filesystem", tags=("open", "content", "text"))
async def read_file(context: ToolContext, path: FilePath) -> str:
    """Read the text in a file: its first 200,000 bytes."""
    row, data = await (await _workspace(context)).files.read(path, MAX_READ + 1)
    text, encoding = content_of(data[:MAX_READ].decode(errors="ignore").encode() if len(data) > MAX_READ else data)
    if encoding != "utf-8" or "\0" in text:
        raise ToolError(f"{row.path} holds {row.size} bytes that are no text.")
    return text if len(data) <= MAX_READ else f"{text}\n[The file has {row.size} bytes; the rest is left out.]"


@tool(category="filesystem", tags=("directory", "folder", "ls"))
async def list_files(context: ToolContext, path: FolderPath = "", recursive: bool = False) -> dict[str, Any]:
    """List the files and folders in a folder; `recursive`: all files below it."""
    store = (await _workspace(context)).files
    rows = await store.list(path)
    found = [row_of(row) for row in rows] if recursive else tree_of(rows, normalised(path), recursive=False)
    shown = [
        {name: each[name] for name in ("path", "size", "isDirectory", "modifiedAt")} for each in found[:MAX_LISTED]
    ]
    return {"files": shown, "total": len(found)}


@tool(category="filesystem", tags=("remove",))
async def delete_file(context: ToolContext, path: FilePath) -> str:
    """Delete a file, or a folder with all files in it."""
    workspace = await _workspace(context)
    count = await workspace.files.delete(path)
    await touch(workspace)
    return "The file was deleted." if count == 1 else f"{count} files were deleted."


@tool(category="filesystem", tags=("rename",))
async def move_file(context: ToolContext, source: FilePath, destination: FilePath) -> dict[str, Any]:
    """Give a file another name or folder. There must be no file at the new path."""
    workspace = await _workspace(context)
    row = await workspace.files.move(source, destination)
    await touch(workspace)
    return {"path": row.path, "size": row.size}
