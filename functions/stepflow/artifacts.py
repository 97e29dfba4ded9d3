"""Artifacts: the files of executions."""

import json
import mimetypes
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import PurePosixPath
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import Query, Request
from starlette.responses import Response, StreamingResponse

from functions.stepflow.access import routes_for
from functions.stepflow.bodies import (
    ArtifactDetail,
    ArtifactList,
    ArtifactShown,
    ArtifactsOfExecution,
    ArtifactUploaded,
    Envelope,
    Message,
)
from functions.stepflow.records import Artifact, ArtifactType
from functions.stepflow.store import artifacts, artifacts_of, delete_artifact, executions
from shared import blobs
from shared.http.errors import BadRequest, NotFound, TooLarge
from shared.http.multipart import Part, read_form
from shared.http.paging import Limit, Offset
from shared.ids import new_id
from shared.jobs import ARTIFACTS
from shared.settings import settings

routes = routes_for("/api/artifacts", "artifacts")

FORM_ROOM = 2 * 1024 * 1024
"""Bytes of an upload beside its file: the form's own and its fields."""

FORM: dict[str, Any] = {
    "type": "object",
    "required": ["execution_id", "name", "file"],
    "properties": {
        "execution_id": {"type": "string"},
        "step_id": {"type": "string"},
        "name": {"type": "string"},
        "description": {"type": "string"},
        "artifact_type": {"type": "string", "enum": [*ArtifactType]},
        "tags": {"type": "array", "items": {"type": "string"}, "description": "Or a JSON list, or comma-separated"},
        "file": {"type": "string", "format": "binary"},
    },
}


@routes.get("")
async def list_artifacts(
    limit: Limit = 100,
    offset: Offset = 0,
    execution_id: Annotated[str | None, Query()] = None,
    step_id: Annotated[str | None, Query()] = None,
    artifact_type: str | None = None,
) -> Envelope[ArtifactList]:
    """All artifacts, newest first, or those of an execution, a step or a type."""
    kind = _type(artifact_type) if artifact_type is not None else None
    given = {"execution_id": execution_id, "step_id": step_id, "artifact_type": kind}
    where = {name: value for name, value in given.items() if value is not None}
    page = await artifacts.page(where, limit=limit, offset=offset)
    shown = [ArtifactShown.model_validate(artifact) for artifact in page.items]
    more = offset + len(shown) < page.total and bool(shown)
    return Envelope(data=ArtifactList(artifacts=shown, total_count=page.total, has_more=more))


@routes.post(
    "",
    status_code=201,
    openapi_extra={
        "x-max-body-size": settings().artifact_limit + FORM_ROOM,
        "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": FORM}}},
    },
)
async def upload_artifact(request: Request) -> Envelope[ArtifactUploaded]:
    """Store a file with an execution, streamed."""
    artifact_id = new_id()
    blob = f"stepflow.upload/{artifact_id}"
    fields, file = await read_form(request, lambda part, chunks: _save(blob, part, chunks))
    try:
        artifact = await _uploaded(artifact_id, blob, fields, file)
    except (BadRequest, NotFound):
        if file is not None:
            await blobs.delete(ARTIFACTS, blob)
        raise
    return Envelope(data=ArtifactUploaded.of(await artifacts.insert(artifact)))


@routes.get("/execution/{execution_id}")
async def list_execution_artifacts(execution_id: str) -> Envelope[ArtifactsOfExecution]:
    """All artifacts of an execution, oldest first."""
    execution = await executions.get(execution_id)
    shown = [ArtifactShown.model_validate(artifact) for artifact in await artifacts_of(execution.id)]
    return Envelope(data=ArtifactsOfExecution(artifacts=shown))


@routes.get("/{artifact_id}")
async def get_artifact(artifact_id: str) -> Envelope[ArtifactDetail]:
    """An artifact without its bytes."""
    artifact = await artifacts.get(artifact_id)
    return Envelope(data=ArtifactDetail(artifact=ArtifactShown.model_validate(artifact)))


@routes.get("/{artifact_id}/download", response_class=Response)
async def download_artifact(artifact_id: str) -> Response:
    """The file itself."""
    artifact = await artifacts.get(artifact_id)
    if artifact.blob is None:
        raise NotFound(f"Artifact has no file: {artifact.metadata.get('message', '')}")
    chunks = blobs.stream(ARTIFACTS, artifact.blob)
    try:
        first = await anext(chunks, b"")  # tells of a lost blob while there is a status to say it with
    except blobs.BlobNotFound as error:
        raise NotFound("Artifact not found") from error

    async def body() -> AsyncIterator[bytes]:
        yield first
        async for chunk in chunks:
            yield chunk

    headers = {"Content-Length": str(artifact.file_size), "Content-Disposition": disposition(artifact.file_name)}
    if artifact.sha256:
        headers["ETag"] = f'"{artifact.sha256}"'
    return StreamingResponse(body(), headers=headers, media_type=artifact.mime_type)


@routes.delete("/{artifact_id}")
async def delete_one_artifact(artifact_id: str) -> Envelope[Message]:
    """Delete an artifact with its file."""
    await delete_artifact(await artifacts.get(artifact_id))
    return Envelope(data=Message(message="Artifact deleted successfully"))


def disposition(name: str) -> str:
    """Content-Disposition of a file; a name that is not plain ASCII stands in `filename*`, after a plain stand-in."""
    plain = "".join(c if " " <= c <= "~" and c not in '"\\' else "_" for c in name)
    return f'attachment; filename="{plain}"' + ("" if plain == name else f"; filename*=utf-8''{quote(name, safe='')}")


class _Saved:
    """A file that has been stored."""

    def __init__(self, part: Part):
        self.name = PurePosixPath((part.filename or "").replace("\\", "/")).name
        self.content_type, self.digest, self.size = part.content_type, sha256(), 0


async def _save(blob: str, part: Part, chunks: AsyncIterator[bytes]) -> _Saved:
    saved, limit = _Saved(part), settings().artifact_limit

    async def measured() -> AsyncIterator[bytes]:
        async for chunk in chunks:
            saved.size += len(chunk)
            if saved.size > limit:
                raise TooLarge(f"File is over {limit} bytes")
            saved.digest.update(chunk)
            yield chunk

    await blobs.put(ARTIFACTS, blob, measured())
    return saved


async def _uploaded(artifact_id: str, blob: str, fields: dict[str, list[str]], file: _Saved | None) -> Artifact:
    """The record of an upload, its fields checked. `BadRequest`, `NotFound`."""

    def field(name: str) -> str:
        return fields.get(name, [""])[0].strip()

    for name in ("execution_id", "name"):
        if not field(name):
            raise BadRequest(f"{name}: Field required")
    if file is None:
        raise BadRequest("file: Field required")
    file_name = file.name or field("name")
    execution = await executions.get(field("execution_id"))
    if field("step_id") and execution.step_index(field("step_id")) is None:
        raise NotFound("Step not found")
    return Artifact(
        id=artifact_id,
        execution_id=execution.id,
        step_id=field("step_id") or None,
        name=field("name"),
        description=field("description"),
        file_name=file_name,
        file_size=file.size,
        mime_type=file.content_type or mimetypes.guess_type(file_name)[0] or "application/octet-stream",
        artifact_type=_type(field("artifact_type")) if field("artifact_type") else ArtifactType.of(file_name),
        tags=_tags(fields.get("tags", [])),
        blob=blob,
        sha256=file.digest.hexdigest(),
    )


def _type(text: str) -> ArtifactType:
    if text not in [*ArtifactType]:
        raise BadRequest(f"Unknown artifact_type: {text}")
    return ArtifactType(text)


def _tags(given: list[str]) -> list[str]:
    """Tags from repeated fields, a JSON list or comma-separated text."""
    if len(given) != 1:
        return [tag.strip() for tag in given if tag.strip()]
    text = given[0].strip()
    if text.startswith("["):
        try:
            tags = json.loads(text)
        except ValueError:
            tags = None
        if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
            raise BadRequest("tags: must be a list of texts")
        return tags
    return [tag.strip() for tag in text.split(",") if tag.strip()]
