"""The gateway's collections, and the artifact count that each run keeps."""

from collections.abc import Callable, Sequence

from functions.gateway.records import Alert, Artifact, Run
from shared import blobs, tables
from shared.http.errors import TooLarge
from shared.tables import Collection

MAX_PROMPTS = 32_000_000
"""Bytes of prompts in one list."""

runs = Collection(
    "GatewayRuns",
    Run,
    indexes=["status", "client_id", ("client_id", "status")],
    counters=["status", ("client_id", "status")],
    sums=["tokens", "seconds", "cost"],
    sums_by=["client_id", "status", ("client_id", "status")],
    orders=["updated_at", ("status", "updated_at"), ("client_id", "updated_at")],
    view=[
        "created_at",
        "status",
        "prompt",
        "prompt_size",
        "model",
        "started_at",
        "completed_at",
        "artifact_count",
        "client_id",
    ],
)
outlines = runs.without("prompt")
"""The runs for what does not need their prompts, each of which may have half a megabyte."""
artifacts = Collection(
    "GatewayArtifacts",
    Artifact,
    indexes=["run_id", "content_type"],
    counters=["client_id", "content_type"],
    sums=["size"],
)
alerts = Collection(
    "GatewayAlerts",
    Alert,
    indexes=[
        "run_id", "type", "read", "client_id",
        ("type", "read"), ("client_id", "read"), ("client_id", "type"), ("client_id", "type", "read"),
    ],
    counters=[
        "type", "read", "client_id",
        ("type", "read"), ("client_id", "read"), ("client_id", "type"), ("client_id", "type", "read"),
    ],
    view=["type", "message", "run_id", "client_id", "read", "metadata", "created_at"],
)  # fmt: skip


def check_prompts(listed: Sequence[Run]) -> None:
    """`TooLarge` when the prompts of these runs are too long for one list."""
    if sum(run.prompt_size for run in listed) > MAX_PROMPTS:
        raise TooLarge("The prompts of these runs have more than 32 MB: use a smaller limit")


async def delete_artifact_and_file(artifact: Artifact) -> None:
    """Delete an artifact and its file; it is not an error when either is already deleted."""
    await blobs.delete(artifact.container, artifact.blob)
    try:
        await artifacts.delete(artifact.id)
    except tables.RecordNotFound:
        pass


async def recount_artifacts(run: Run, also: Callable[[Run], None] = lambda _: None) -> Run:
    """Store the number of a run's artifacts, and another change; exact even when other requests add and delete some.

    `run` is the record as it was read. Without a conflict this costs 1 query and 1 transaction.
    """
    while True:
        count = await artifacts.count({"run_id": run.id})

        def change(record: Run, count: int = count) -> None:
            record.artifact_count = count
            also(record)

        try:
            return await runs.update(run, change, if_match=run.etag)
        except tables.RecordChanged:
            run = await runs.get(run.id)
