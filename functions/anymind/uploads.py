"""Uploads: archives of agents, each of which becomes a version and is built."""

import contextlib
import re
import uuid
from typing import Any

from fastapi import Request
from pydantic import Field
from starlette.responses import Response

from functions.anymind.access import CurrentUser, RecordId, owned_agent
from functions.anymind.bodies import Moment
from functions.anymind.build_job import KIND
from functions.anymind.records import Agent, AgentVersion, VersionStatus
from functions.anymind.store import agents, versions
from shared import blobs, tables
from shared.http.bodies import ResponseBody
from shared.http.errors import BadRequest, NotFound
from shared.http.files import (
    DOWNLOAD,
    FILE,
    FORM_ROOM,
    FileConditions,
    StoredFile,
    deleted_on_error,
    receive_upload,
    serve_file,
)
from shared.http.routes import options, router
from shared.jobs import ARTIFACTS, WORKFLOW
from shared.settings import settings
from shared.workflows import Workflows

routes = router("/api/v1/uploads", "uploads")

FORM: dict[str, Any] = {"type": "object", "required": ["file"], "properties": {"file": FILE}}
ENDING = ".tar.gz"
MAX_NAME = 200
"""Characters of a file's name in its path; of a longer name the end is kept."""


class VersionShown(ResponseBody):
    """A version of an agent; `build_log` says why a build has failed, `entrypoint` and `config` are set when ready."""

    id: int
    agent_id: int
    version: str
    status: VersionStatus
    build_log: str | None
    tarball_path: str
    entrypoint: str | None
    config: str | None = Field(description="The archive's anymind.yaml")
    created_at: Moment
    updated_at: Moment


@routes.post(
    "/agent/{agent_id}",
    status_code=201,
    response_model=VersionShown,
    openapi_extra={"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": FORM}}}},
)
@options(max_body=settings().anymind_upload_limit + FORM_ROOM)
async def upload_agent(agent_id: RecordId, user: CurrentUser, request: Request, workflows: Workflows) -> AgentVersion:
    """Upload an agent's archive (.tar.gz), from which a new version is built; get the agent to follow its status."""
    agent = await owned_agent(user, agent_id)
    blob = f"anymind.upload/{agent.id}/{uuid.uuid4()}"
    async with deleted_on_error(ARTIFACTS, blob):
        # Some clients send the form as `application/json`.
        _, upload = await receive_upload(
            request, ARTIFACTS, blob, limit=settings().anymind_upload_limit, any_type=True, check_name=_check_name
        )
        if upload is None:
            raise BadRequest("file: Field required")
    # From here on the archive stays, whatever fails: a version may be stored that names it, and a repeat returns that.
    version = await _insert(agent, blob, upload.name, upload.size)
    if version.blob != blob:  # this request repeats one that has stored the archive
        await blobs.delete(ARTIFACTS, blob)
    try:
        await agents.update(agent, lambda agent: agent.build(version.id))
    except (NotFound, tables.RecordNotFound):  # the agent was deleted meanwhile
        with contextlib.suppress(tables.RecordNotFound):
            await versions.delete(version.id)
        await blobs.delete(ARTIFACTS, version.blob)
        raise
    await workflows.start_now_or_later(WORKFLOW, version.job_id, KIND)
    return version


def _check_name(name: str) -> None:
    if not name.lower().endswith(ENDING):
        raise BadRequest("File must be a .tar.gz archive")


async def _insert(agent: Agent, blob: str, name: str, size: int) -> AgentVersion:
    """Store the agent's next version; its number and its path are those that no other version has."""
    file = re.sub(r"[^\w.+=@,() -]", "_", name.replace("\\", "/").rpartition("/")[2])[-MAX_NAME:]
    folder, number = "", 0
    while True:
        newest = await versions.page({"agent_id": agent.id}, limit=1, total=False)
        number = max([number, *(version.number + 1 for version in newest.items), 1])
        path = f"agents/{agent.id}/artifacts/{folder and f'v{number}/'}agent_{agent.id}_{file}"
        version = AgentVersion(
            agent_id=agent.id, user_id=agent.user_id, number=number, tarball_path=path, blob=blob, size=size
        )
        try:
            return await versions.insert(version)
        except tables.RecordConflict as error:
            if error.field == "tarball_path":  # an upload before had a file of this name
                folder = "v"
            elif error.field == "place":  # another upload has taken this number meanwhile
                number += 1
            else:
                raise


@routes.get("/{filepath:path}", response_class=Response, responses=DOWNLOAD)
async def download_file(filepath: str, user: CurrentUser, conditions: FileConditions) -> Response:
    """The archive of a version by its `tarball_path`, or the part of it that the header `Range` requests."""
    try:
        version = await versions.find("tarball_path", filepath)
        await owned_agent(user, version.agent_id)
        name = filepath.rpartition("/")[2]
        tag = f"{version.id}-{version.size}"
        file = StoredFile(name, version.size, "application/gzip", tag, ARTIFACTS, version.blob)
        return await serve_file(file, conditions)
    except (tables.RecordNotFound, blobs.BlobNotFound, NotFound):
        raise NotFound("File not found") from None
