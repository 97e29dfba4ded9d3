"""Artifacts: the files of runs."""

import hashlib
import json
import mimetypes
from collections.abc import AsyncIterator
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import Query, Request
from starlette.responses import Response, StreamingResponse

from functions.gateway.access import CurrentClient
from functions.gateway.execution import clean_name
from functions.gateway.models import Artifact, ArtifactInfo, ArtifactList, ArtifactSummary, ArtifactUploaded
from functions.gateway.store import artifacts, recount_artifacts, runs
from shared import blobs
from shared.http.api import router
from shared.http.errors import BadRequest, NotFound, TooLarge
from shared.http.multipart import Part, read_form
from shared.http.paging import Limit, Offset
from shared.ids import new_id
from shared.jobs import ARTIFACTS
from shared.settings import settings

FORM_ROOM = 2 * 1024 * 1024
"""Bytes of an upload beside its file: the form's own and its fields."""

of_run = router("/api/runs/{run_id}/artifacts", "artifacts")
routes = router("/api/artifacts", "artifacts")


@of_run.get("")
async def list_run_artifacts(
    run_id: str, client: CurrentClient, limit: Limit = 100, offset: Offset = 0
) -> ArtifactList:
    """The artifacts of one run, newest first."""
    run = await runs.get(run_id)
    page = await artifacts.page({"run_id": run.id}, limit=limit, offset=offset)
    return ArtifactList(artifacts=[ArtifactSummary.model_validate(a) for a in page.items], total=page.total)


@of_run.post(
    "",
    status_code=201,
    response_model=ArtifactUploaded,
    openapi_extra={
        "x-max-body-size": settings().artifact_limit + FORM_ROOM,
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {
                    "schema": {
                        "type": "object",
                        "required": ["file"],
                        "properties": {
                            "file": {"type": "string", "format": "binary"},
                            "metadata": {"type": "string", "description": "A JSON object"},
                        },
                    }
                }
            },
        },
    },
)
async def upload_artifact(run_id: str, client: CurrentClient, request: Request) -> Artifact:
    """Store a file with a run, streamed; `metadata` is a JSON object in a text field."""
    run = await runs.get(run_id)
    limit = settings().artifact_limit
    artifact_id = new_id()
    blob, digest, size = f"gateway.upload/{run.id}/{artifact_id}", hashlib.sha256(), 0

    async def save(part: Part, chunks: AsyncIterator[bytes]) -> Part:
        async def measured() -> AsyncIterator[bytes]:
            nonlocal size
            async for chunk in chunks:
                size += len(chunk)
                if size > limit:
                    raise TooLarge("File too large")
                digest.update(chunk)
                yield chunk

        await blobs.put(ARTIFACTS, blob, measured())
        return part

    fields, part = await read_form(request, save)
    try:
        if part is None:
            raise BadRequest("file: Field required")
        name = clean_name(part.filename or "")
        artifact = Artifact(
            id=artifact_id,
            run_id=run.id,
            client_id=run.client_id,
            filename=name,
            size=size,
            content_type=part.content_type or mimetypes.guess_type(name)[0] or "application/octet-stream",
            metadata=_metadata(fields),
            container=ARTIFACTS,
            blob=blob,
            sha256=digest.hexdigest(),
        )
    except BadRequest:
        await blobs.delete(ARTIFACTS, blob)
        raise
    artifact = await artifacts.insert(artifact)
    await recount_artifacts(run.id)
    return artifact


def _metadata(fields: dict[str, list[str]]) -> dict[str, Any]:
    text = fields.get("metadata", ["{}"])[0]
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise BadRequest("metadata: must be a JSON object")
    return value


@routes.get("")
async def list_artifacts(
    client: CurrentClient,
    limit: Limit = 100,
    offset: Offset = 0,
    run_id: Annotated[str | None, Query()] = None,
    content_type: Annotated[str | None, Query()] = None,
) -> ArtifactList:
    """The artifacts of all runs, newest first."""
    where = {name: value for name, value in (("run_id", run_id), ("content_type", content_type)) if value is not None}
    page = await artifacts.page(where, limit=limit, offset=offset)
    return ArtifactList(artifacts=[ArtifactSummary.model_validate(a) for a in page.items], total=page.total)


@routes.get("/{artifact_id}", response_class=Response)
async def download_artifact(artifact_id: str, client: CurrentClient) -> Response:
    """The file itself."""
    artifact = await artifacts.get(artifact_id)
    chunks = blobs.stream(artifact.container, artifact.blob)
    try:
        first = await anext(chunks, b"")  # tells of a lost blob while there is a status to say it with
    except blobs.BlobNotFound as error:
        raise NotFound("Artifact not found") from error

    async def body() -> AsyncIterator[bytes]:
        yield first
        async for chunk in chunks:
            yield chunk

    headers = {
        "Content-Length": str(artifact.size),
        "Content-Disposition": f"attachment; filename*=utf-8''{quote(artifact.filename)}"
        if not artifact.filename.isascii()
        else f'attachment; filename="{artifact.filename}"',
    }
    if artifact.sha256:
        headers["ETag"] = f'"{artifact.sha256}"'
    return StreamingResponse(body(), headers=headers, media_type=artifact.content_type)


@routes.get("/{artifact_id}/info", response_model=ArtifactInfo)
async def get_artifact_info(artifact_id: str, client: CurrentClient) -> Artifact:
    """An artifact without its bytes."""
    return await artifacts.get(artifact_id)
