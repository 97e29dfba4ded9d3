"""StepFlow's collections, and the artifacts of an execution with their files."""

from functions.stepflow.records import Artifact, Connection, Execution
from shared import blobs, tables
from shared.jobs import ARTIFACTS
from shared.tables import Collection

executions = Collection(
    "StepflowExecutions",
    Execution,
    indexes=["status", "user", ("user", "status")],
    counters=["status", "user", ("user", "status")],
    sums=["total_steps", "seconds", "log_bytes", "messages"],
    view=[
        "created_at", "name", "command", "working_directory", "status", "exit_code", "error_message", "started_at",
        "completed_at", "environment", "user", "tags", "metadata", "total_steps", "completed_steps", "size",
        "noted_text",
    ],
)  # fmt: skip
outlines = executions.without(
    "name", "command", "working_directory", "error_message", "environment", "tags", "metadata"
)
"""The executions for what needs none of these, of which a command alone may have a megabyte."""
artifacts = Collection(
    "StepflowArtifacts",
    Artifact,
    indexes=["execution_id", "step_id", "artifact_type"],
    counters=["artifact_type"],
    sums=["file_size"],
    view=[name for name in Artifact.model_fields if name not in ("id", "updated_at")],
)
connections = Collection("StepflowConnections", Connection, plain=True)


async def artifacts_of(execution_id: str) -> list[Artifact]:
    """Return an execution's artifacts, oldest first."""
    return [artifact async for artifact in artifacts.all({"execution_id": execution_id})][::-1]


async def delete_artifact_and_file(artifact: Artifact) -> None:
    """Delete an artifact and its file; it is not an error when either is already deleted."""
    if artifact.blob is not None:
        await blobs.delete(ARTIFACTS, artifact.blob)
    try:
        await artifacts.delete(artifact.id)
    except tables.RecordNotFound:
        pass
