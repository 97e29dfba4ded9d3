"""Artifacts: the files of runs."""

import asyncio
import json
import uuid
from datetime import datetime
from typing import Annotated, Any

from fastapi import Query, Request
from starlette.responses import Response

from functions.gateway.job import clean_name
from functions.gateway.records import Artifact
from functions.gateway.redaction import redacted_values
from functions.gateway.store import artifacts, delete_artifact_and_file, recount_artifacts, runs
from shared import blobs, tables
from shared.api_keys import CurrentClient
from shared.http.bodies import Done, ResponseBody
from shared.http.errors import BadRequest, NotFound
from shared.http.files import (
    DOWNLOAD,
    FILE,
    FORM_ROOM,
    FileConditions,
    StoredFile,
    deleted_on_error,
    read_upload,
    receive_upload,
    serve_file,
)
from shared.http.json import plain
from shared.http.paging import Paging, given, paging
from shared.http.requests import MAX_MEMBERS, has_more_members
from shared.http.routes import options, router
from shared.jobs import ARTIFACTS
from shared.settings import settings

FORM: dict[str, Any] = {
    "type": "object",
    "required": ["file"],
    "properties": {
        "file": FILE,
        "metadata": {"type": "string", "description": "A JSON object", "examples": ['{"source": "by hand"}']},
    },
}

of_run = router("/api/runs/{run_id}/artifacts", "artifacts")
routes = router("/api/artifacts", "artifacts")


class ArtifactSummary(ResponseBody):
    """An artifact in a list; `size` in bytes."""

    id: str
    run_id: str
    filename: str
    size: int
    content_type: str
    created_at: datetime


class ArtifactUploaded(ArtifactSummary):
    """An artifact that has just been stored."""

    metadata: dict[str, Any]


class ArtifactInfo(ArtifactUploaded):
    """The properties of an artifact, without its content."""

    path: str


class ArtifactList(ResponseBody):
    """A page of artifacts; `total` counts all that match."""

    artifacts: list[ArtifactSummary]
    total: int


async def _page(paging: Paging, where: dict[str, Any]) -> ArtifactList:
    page = await paging.page(artifacts, where)
    return ArtifactList(artifacts=[ArtifactSummary.model_validate(a) for a in page.items], total=page.total)


@of_run.get("")
async def list_run_artifacts(
    run_id: str, client: CurrentClient, paging: Annotated[Paging, paging(100)]
) -> ArtifactList:
    """The artifacts of one run, newest first."""
    run = await runs.get(run_id)
    return await _page(paging, {"run_id": run.id})


@of_run.post(
    "",
    status_code=201,
    response_model=ArtifactUploaded,
    openapi_extra={"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": FORM}}}},
)
@options(max_body=settings().artifact_limit + FORM_ROOM)
async def upload_artifact(run_id: str, client: CurrentClient, request: Request) -> Artifact:
    """Store a file with a run, streamed; `metadata` is a JSON object in a text field."""
    try:
        run = await runs.get(run_id)
    except tables.RecordNotFound:
        fields, has_file = await read_upload(request)
        if not has_file:  # a form without a file is wrong whatever the run
            raise BadRequest("file: Field required") from None
        await _metadata(fields)
        raise
    blob = f"gateway.upload/{run.id}/{uuid.uuid4()}"
    async with deleted_on_error(ARTIFACTS, blob):
        fields, upload = await receive_upload(request, ARTIFACTS, blob, limit=settings().artifact_limit)
        if upload is None:
            raise BadRequest("file: Field required")
        name = clean_name(upload.name)
        artifact = Artifact(
            run_id=run.id,
            client_id=run.client_id,
            filename=name,
            size=upload.size,
            content_type=upload.type_as(name),
            metadata=await _metadata(fields),
            container=ARTIFACTS,
            blob=blob,
            sha256=upload.sha256,
        )
    artifact = await artifacts.insert(artifact)
    if artifact.blob != blob:  # this request repeats one that has stored the file
        await blobs.delete(ARTIFACTS, blob)
    try:
        await recount_artifacts(run)
    except tables.RecordNotFound:  # the run was deleted during the upload
        await delete_artifact_and_file(artifact)
        raise
    return artifact


async def _metadata(fields: dict[str, list[str]]) -> dict[str, Any]:
    text = fields.get("metadata", ["{}"])[0]
    if has_more_members(text.encode(), MAX_MEMBERS):
        raise BadRequest(f"metadata: must not have more than {MAX_MEMBERS} members and elements")
    try:
        value = plain(json.loads(text))
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise BadRequest("metadata: must be a JSON object")
    return await asyncio.to_thread(redacted_values, value)  # a megabyte takes a tenth of a second


@routes.get("")
async def list_artifacts(
    client: CurrentClient,
    paging: Annotated[Paging, paging(100)],
    run_id: Annotated[str | None, Query()] = None,
    content_type: Annotated[str | None, Query()] = None,
) -> ArtifactList:
    """The artifacts of all runs, newest first."""
    return await _page(paging, given(run_id=run_id, content_type=content_type))


@routes.get("/{artifact_id}", response_class=Response, responses=DOWNLOAD)
async def download_artifact(artifact_id: str, client: CurrentClient, conditions: FileConditions) -> Response:
    """The content of an artifact, or the part of it that the header `Range` requests."""
    artifact = await artifacts.get(artifact_id)
    tag = artifact.sha256 or f"{artifact.id}-{artifact.size}"
    file = StoredFile(artifact.filename, artifact.size, artifact.content_type, tag, artifact.container, artifact.blob)
    try:
        return await serve_file(file, conditions)
    except blobs.BlobNotFound as error:
        raise NotFound("Artifact not found") from error


@routes.get("/{artifact_id}/info", response_model=ArtifactInfo)
async def get_artifact_info(artifact_id: str, client: CurrentClient) -> Artifact:
    """The properties of an artifact, without its content."""
    return await artifacts.get(artifact_id)


@routes.delete("/{artifact_id}")
async def delete_artifact(artifact_id: str, client: CurrentClient) -> Done:
    """Delete an artifact and its file."""
    artifact = await artifacts.get(artifact_id)
    await delete_artifact_and_file(artifact)
    try:
        await recount_artifacts(await runs.get(artifact.run_id))
    except tables.RecordNotFound:  # its run has been deleted
        pass
    return Done(message="Artifact deleted")
