"""Artifacts: the files of runs."""

import hashlib
import json
import mimetypes
import re
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import Header, Query, Request
from starlette.responses import Response

from functions.gateway.bodies import ArtifactInfo, ArtifactList, ArtifactSummary, ArtifactUploaded, Message
from functions.gateway.execution import clean_name
from functions.gateway.models import Artifact
from functions.gateway.redaction import redacted_values
from functions.gateway.store import artifacts, recount_artifacts, runs
from shared import blobs, tables
from shared.access import CurrentClient
from shared.http.api import router
from shared.http.errors import BadRequest, NotFound, TooLarge
from shared.http.files import Found, serve_file
from shared.http.json import plain
from shared.http.multipart import Part, read_form
from shared.http.paging import Cursor, Limit, Offset, link_next
from shared.ids import new_id
from shared.jobs import ARTIFACTS
from shared.settings import settings

FORM_ROOM = 2 * 1024 * 1024
"""Bytes of an upload beside its file: the form's own and its fields."""

CONTENT_TYPE = re.compile(r"[\w.+-]{1,127}/[\w.+-]{1,127}(;[ -~]{0,200})?", re.ASCII)

of_run = router("/api/runs/{run_id}/artifacts", "artifacts")
routes = router("/api/artifacts", "artifacts")


@of_run.get("")
async def list_run_artifacts(
    run_id: str,
    client: CurrentClient,
    request: Request,
    response: Response,
    limit: Limit = 100,
    offset: Offset = 0,
    cursor: Cursor = None,
) -> ArtifactList:
    """The artifacts of one run, newest first."""
    run = await runs.get(run_id)
    return await _page({"run_id": run.id}, request, response, limit, offset, cursor)


async def _page(
    where: dict[str, Any], request: Request, response: Response, limit: int, offset: int, cursor: str | None
) -> ArtifactList:
    try:
        page = await artifacts.page(where, limit=limit, offset=offset, cursor=cursor)
    except tables.BadCursor as error:
        raise BadRequest("cursor: must come from a Link header") from error
    link_next(request, response, page)
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
            content_type=_content_type(part, name),
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


def _content_type(part: Part, name: str) -> str:
    """The part's own, else by extension."""
    if part.content_type and CONTENT_TYPE.fullmatch(part.content_type):
        return part.content_type
    return mimetypes.guess_type(name)[0] or "application/octet-stream"


def _metadata(fields: dict[str, list[str]]) -> dict[str, Any]:
    text = fields.get("metadata", ["{}"])[0]
    try:
        value = plain(json.loads(text))
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise BadRequest("metadata: must be a JSON object")
    return redacted_values(value)


@routes.get("")
async def list_artifacts(
    client: CurrentClient,
    request: Request,
    response: Response,
    limit: Limit = 100,
    offset: Offset = 0,
    cursor: Cursor = None,
    run_id: Annotated[str | None, Query()] = None,
    content_type: Annotated[str | None, Query()] = None,
) -> ArtifactList:
    """The artifacts of all runs, newest first."""
    where = {name: value for name, value in (("run_id", run_id), ("content_type", content_type)) if value is not None}
    return await _page(where, request, response, limit, offset, cursor)


@routes.get(
    "/{artifact_id}",
    response_class=Response,
    responses={
        200: {"content": {"*/*": {}}},
        206: {"description": "The part that was asked for"},
        304: {"description": "The file is still the one that the client has"},
        416: {"description": "The file has no such part"},
    },
)
async def download_artifact(
    artifact_id: str,
    client: CurrentClient,
    wanted: Annotated[str | None, Header(alias="Range")] = None,
    if_none_match: Annotated[str | None, Header()] = None,
    if_range: Annotated[str | None, Header()] = None,
) -> Response:
    """The file itself, or the part of it that `Range` asks for."""
    artifact = await artifacts.get(artifact_id)
    tag = artifact.sha256 or f"{artifact.id}-{artifact.size}"
    file = Found(artifact.filename, artifact.size, artifact.content_type, tag, artifact.container, artifact.blob)
    try:
        return await serve_file(file, wanted=wanted, if_none_match=if_none_match, if_range=if_range)
    except blobs.BlobNotFound as error:
        raise NotFound("Artifact not found") from error


@routes.get("/{artifact_id}/info", response_model=ArtifactInfo)
async def get_artifact_info(artifact_id: str, client: CurrentClient) -> Artifact:
    """An artifact without its bytes."""
    return await artifacts.get(artifact_id)


@routes.delete("/{artifact_id}")
async def delete_artifact(artifact_id: str, client: CurrentClient) -> Message:
    """Delete an artifact and its file."""
    artifact = await artifacts.get(artifact_id)
    await blobs.delete(artifact.container, artifact.blob)
    await artifacts.delete(artifact_id)
    try:
        await recount_artifacts(artifact.run_id)
    except tables.NotFound:  # its run is gone already
        pass
    return Message(message="Artifact deleted")
