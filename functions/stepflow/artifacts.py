"""Artifacts: the files of executions."""

import json
import uuid
from datetime import datetime
from pathlib import PurePosixPath
from typing import Annotated, Any

from fastapi import Query, Request
from starlette.responses import Response

from functions.stepflow import updates
from functions.stepflow.access import routes_for
from functions.stepflow.records import MAX_NAME, MAX_TAG, MAX_TAGS, Artifact, ArtifactType
from functions.stepflow.store import artifacts, artifacts_of, delete_artifact_and_file, executions
from shared import blobs, tables
from shared.http.bodies import Done, ResponseBody
from shared.http.errors import BadRequest, NotFound
from shared.http.files import (
    ANY_TYPE,
    DOWNLOAD,
    FILE,
    FORM_ROOM,
    FileConditions,
    StoredFile,
    Upload,
    deleted_on_error,
    receive_upload,
    serve_file,
)
from shared.http.json import plain
from shared.http.paging import Paging, given, paging
from shared.http.routes import options
from shared.jobs import ARTIFACTS
from shared.settings import settings

routes = routes_for("/api/artifacts", "artifacts")

MAX_DESCRIPTION = 10_000

FORM: dict[str, Any] = {
    "type": "object",
    "required": ["execution_id", "name", "file"],
    "properties": {
        "execution_id": {"type": "string", "examples": ["0190f7a2-0000-7000-8000-000000000000"]},
        "step_id": {"type": "string", "examples": [""]},
        "name": {"type": "string", "examples": ["Report"]},
        "description": {"type": "string", "examples": [""]},
        "artifact_type": {
            "type": "string",
            "enum": [*ArtifactType],
            "description": "By default a type that fits the file's name",
        },
        "tags": {
            "type": "array",
            "items": {"type": "string"},
            "description": "Or a JSON list, or separated by commas",
            "examples": [["example"]],
        },
        "file": FILE,
    },
}


class ArtifactShown(ResponseBody):
    """An artifact; `file_size` is in bytes, `download_url` is relative to the API's base URL."""

    id: str
    execution_id: str
    step_id: str | None
    name: str
    description: str
    file_path: str
    file_name: str
    file_size: int
    mime_type: str | None
    artifact_type: ArtifactType
    created_at: datetime
    tags: list[str]
    is_public: bool
    retention_days: int
    download_url: str
    exists: bool
    file_extension: str
    metadata: dict[str, Any]


class ArtifactList(ResponseBody):
    """A page of artifacts; `total_count` is the number of matching artifacts on all pages."""

    artifacts: list[ArtifactShown]
    total_count: int
    has_more: bool


class ArtifactsOfExecution(ResponseBody):
    """All artifacts of an execution, oldest first."""

    artifacts: list[ArtifactShown]


class ArtifactDetail(ResponseBody):
    """One artifact."""

    artifact: ArtifactShown


class ArtifactUploaded(ArtifactDetail):
    """An artifact that has just been stored."""

    artifact_id: str

    @classmethod
    def of(cls, artifact: Artifact) -> "ArtifactUploaded":
        """Return the response body for an artifact."""
        return cls(artifact_id=artifact.id, artifact=ArtifactShown.model_validate(artifact))


@routes.get("")
async def list_artifacts(
    paging: Annotated[Paging, paging(100)],
    execution_id: Annotated[str | None, Query()] = None,
    step_id: Annotated[str | None, Query()] = None,
    artifact_type: Annotated[str | None, Query(json_schema_extra={"enum": [*ArtifactType]})] = None,
) -> ArtifactList:
    """List artifacts, newest first; filter by execution, step or type."""
    kind = _type(artifact_type) if artifact_type is not None else None
    where = given(execution_id=execution_id, step_id=step_id, artifact_type=kind)
    page = await paging.page(artifacts, where)
    shown = [ArtifactShown.model_validate(artifact) for artifact in page.items]
    return ArtifactList(artifacts=shown, total_count=page.total, has_more=page.cursor is not None)


@routes.post(
    "",
    status_code=201,
    openapi_extra={"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": FORM}}}},
)
@options(max_body=settings().artifact_limit + FORM_ROOM)
async def upload_artifact(request: Request) -> ArtifactUploaded:
    """Upload a file as an artifact of an execution."""
    blob = f"stepflow.upload/{uuid.uuid4()}"
    async with deleted_on_error(ARTIFACTS, blob):
        fields, upload = await receive_upload(request, ARTIFACTS, blob, limit=settings().artifact_limit)
        artifact = await _artifact_of(blob, fields, upload)
    artifact = await artifacts.insert(artifact)
    if artifact.blob != blob:  # this request repeats one that has stored the file
        await blobs.delete(ARTIFACTS, blob)
    try:
        await executions.get(artifact.execution_id)
    except tables.RecordNotFound:  # it was deleted during the upload
        await delete_artifact_and_file(artifact)
        raise
    await updates.publish(artifact.execution_id, [updates.artifact_created(artifact)])
    return ArtifactUploaded.of(artifact)


@routes.get("/execution/{execution_id}")
async def list_execution_artifacts(execution_id: str) -> ArtifactsOfExecution:
    """List all artifacts of an execution, oldest first."""
    execution = await executions.get(execution_id)
    shown = [ArtifactShown.model_validate(artifact) for artifact in await artifacts_of(execution.id)]
    return ArtifactsOfExecution(artifacts=shown)


@routes.get("/{artifact_id}")
async def get_artifact(artifact_id: str) -> ArtifactDetail:
    """Get the details of an artifact, without the content of its file."""
    artifact = await artifacts.get(artifact_id)
    return ArtifactDetail(artifact=ArtifactShown.model_validate(artifact))


@routes.get("/{artifact_id}/download", response_class=Response, responses=DOWNLOAD)
async def download_artifact(artifact_id: str, conditions: FileConditions) -> Response:
    """Download an artifact's file, or the part of it that the header `Range` asks for."""
    artifact = await artifacts.get(artifact_id)
    if artifact.blob is None:
        raise NotFound(f"Artifact has no file: {artifact.metadata.get('message', '')}")
    media_type = artifact.mime_type or ANY_TYPE
    if media_type.startswith("text/") and "charset=" not in media_type:
        media_type += "; charset=utf-8"
    tag = artifact.sha256 or f"{artifact.id}-{artifact.file_size}"
    file = StoredFile(artifact.file_name, artifact.file_size, media_type, tag, ARTIFACTS, artifact.blob)
    try:
        return await serve_file(file, conditions)
    except blobs.BlobNotFound as error:
        raise NotFound("Artifact not found") from error


@routes.delete("/{artifact_id}")
async def delete_artifact(artifact_id: str) -> Done:
    """Delete an artifact and its file."""
    await delete_artifact_and_file(await artifacts.get(artifact_id))
    return Done(message="Artifact deleted successfully")


async def _artifact_of(blob: str, fields: dict[str, list[str]], upload: Upload | None) -> Artifact:
    """Check the form fields of an upload and return its record. `BadRequest`, `NotFound`."""

    def field(name: str) -> str:
        return fields.get(name, [""])[0].strip()

    for name in ("execution_id", "name"):
        if not field(name):
            raise BadRequest(f"{name}: Field required")
    for name, most in (("name", MAX_NAME), ("description", MAX_DESCRIPTION)):
        if len(field(name)) > most:
            raise BadRequest(f"{name}: must not have more than {most} characters")
    if upload is None:
        raise BadRequest("file: Field required")
    file_name = _base_name(upload.name) or _base_name(field("name")) or "_"
    artifact_type = _type(field("artifact_type")) if field("artifact_type") else ArtifactType.of(file_name)
    tags = _tags(fields.get("tags", []))
    if len(tags) > MAX_TAGS or any(len(tag) > MAX_TAG for tag in tags):
        raise BadRequest(f"tags: must be at most {MAX_TAGS} texts of at most {MAX_TAG} characters")
    execution = await executions.get(field("execution_id"))
    if field("step_id") and execution.step_index(field("step_id")) is None:
        raise NotFound("Step not found")
    return Artifact(
        execution_id=execution.id,
        step_id=field("step_id") or None,
        name=field("name"),
        description=field("description"),
        file_name=file_name,
        file_size=upload.size,
        mime_type=upload.type_as(file_name),
        artifact_type=artifact_type,
        tags=tags,
        blob=blob,
        sha256=upload.sha256,
    )


def _base_name(name: str) -> str:
    """Return the last part of a file name; `__` for `..`, which names a folder."""
    base = PurePosixPath(name.replace("\\", "/")).name
    return "__" if base == ".." else base


def _type(text: str) -> ArtifactType:
    if text not in [*ArtifactType]:
        raise BadRequest(f"Unknown artifact_type: {text}")
    return ArtifactType(text)


def _tags(given: list[str]) -> list[str]:
    """Return the tags from repeated fields, a JSON list or comma-separated text."""
    if len(given) != 1:
        return [tag.strip() for tag in given if tag.strip()]
    text = given[0].strip()
    if text.startswith("["):
        try:
            tags = plain(json.loads(text))
        except (ValueError, RecursionError):
            tags = None
        if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
            raise BadRequest("tags: must be a JSON list of strings")
        return tags
    return [tag.strip() for tag in text.split(",") if tag.strip()]
