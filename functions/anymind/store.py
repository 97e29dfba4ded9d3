"""Anymind's collections. Each is one partition, because the ids of its records are counted over all users."""

from typing import TypeVar

from functions.anymind.records import Agent, AgentVersion, ApiKey, Execution, User
from shared.tables import Collection, RecordNotFound

users = Collection("AnymindUsers", User, unique=["email_key", "username_key"])
api_keys = Collection("AnymindApiKeys", ApiKey, indexes=["user_id"], unique=["key_hash"])
agents = Collection("AnymindAgents", Agent, indexes=[("user_id", "deleted"), "deleted"])
versions = Collection(
    "AnymindVersions",
    AgentVersion,
    indexes=["agent_id", "settled", ("agent_id", "status")],
    unique=["job_id", "place", "tarball_path"],
    view=[
        "agent_id", "user_id", "number", "job_id", "status", "build_log", "tarball_path", "blob", "size", "ready_blob",
        "entrypoint", "ended_at", "created_at", "updated_at",
    ],
)  # fmt: skip
executions = Collection(
    "AnymindExecutions",
    Execution,
    indexes=["user_id", ("user_id", "agent_version_id"), "status"],
    orders=[("agent_id", "created_at")],  # an agent's newest, for its logs; every other list needs order="id"
    unique=["job_id"],
    view=[
        "agent_id", "agent_version_id", "user_id", "job_id", "status", "input_data", "output_data", "error_message",
        "input_size", "output_size", "lines", "started_at", "ended_at", "created_at", "updated_at",
    ],
)  # fmt: skip
outlines = executions.without("input_data", "output_data")
"""The executions for lists that do not show these two, each of which may have 10 MB."""

MAX_KNOWN = 10_000
_known: dict[str, str] = {}
"""The ids of records by the ids of their jobs, which never change; at most `MAX_KNOWN` of them."""

awaited: dict[str, Execution] = {}
"""The executions whose end a request of this process waits for, by their jobs, as this process has written them."""

R = TypeVar("R", AgentVersion, Execution)


def note_job(record: AgentVersion | Execution) -> None:
    """Remember which record a job runs for, so that this process need not look it up."""
    if len(_known) >= MAX_KNOWN:
        _known.clear()
    _known[record.job_id] = record.id


async def record_of(collection: Collection[R], job_id: str) -> R | None:
    """Return the record that a job runs for, None when it is deleted; 1 call, 2 for one unknown here."""
    try:
        if job_id in _known:
            return await collection.get(_known[job_id])
        record = await collection.find("job_id", job_id)
    except RecordNotFound:
        return None
    note_job(record)
    return record
