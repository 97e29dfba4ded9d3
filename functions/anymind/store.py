"""Anymind's collections. Each is one partition, because the ids of its records are counted over all users."""

from functions.anymind.records import Agent, AgentVersion, ApiKey, Execution, User
from shared.tables import Collection

users = Collection("AnymindUsers", User, unique=["email_key", "username_key"])
api_keys = Collection("AnymindApiKeys", ApiKey, indexes=["user_id"], unique=["key_hash"])
agents = Collection("AnymindAgents", Agent, indexes=[("user_id", "deleted"), "deleted"])
versions = Collection(
    "AnymindVersions",
    AgentVersion,
    indexes=["agent_id", "status", ("agent_id", "status")],
    unique=["job_id", "place", "tarball_path"],
    view=[
        "agent_id", "user_id", "number", "job_id", "status", "tarball_path", "blob", "size", "ready_blob", "entrypoint",
        "ended_at", "created_at", "updated_at",
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
        "started_at", "ended_at", "created_at", "updated_at",
    ],
)  # fmt: skip
