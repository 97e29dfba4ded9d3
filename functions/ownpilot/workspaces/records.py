"""Workspaces and the executions in them, as they are stored."""

from enum import StrEnum
from typing import Any, Literal

from pydantic import Field

from functions.ownpilot.core.entry import Entry, Moment
from functions.ownpilot.core.files import FileStore, HeldFile
from shared.tables import Collection

GIGABYTE = 1024**3
NetworkPolicy = Literal["none", "restricted", "egress", "full"]
"""Which machines code may reach. There is no list of allowed ones, so `restricted` is as `none`, `egress` as `full`."""


class Language(StrEnum):
    """What code is written in."""

    PYTHON = "python"
    JAVASCRIPT = "javascript"
    TYPESCRIPT = "typescript"
    SHELL = "shell"


class ExecutionStatus(StrEnum):
    """`pending` until it is the execution's turn in its workspace; a code other than 0 makes it `failed`."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        """Whether the execution has ended."""
        return self not in (ExecutionStatus.PENDING, ExecutionStatus.RUNNING)


class Workspace(Entry):
    """Files of a person, and the code that runs among them.

    `container_config` has all members of `ContainerConfig`, by their names on the wire. `queue` are the ids of
    executions that have not ended, in the order of their turns: the first one runs.
    """

    name: str
    description: str | None = None
    container_config: dict[str, Any]
    queue: list[str] = []

    @property
    def store(self) -> FileStore:
        """Its files."""
        return FileStore(self.user_id, self.id, self.quota)

    @property
    def quota(self) -> int:
        """Bytes that its files may have."""
        return int(self.container_config["storageGB"] * GIGABYTE)


class Execution(Entry):
    """Code that ran, or will run, in a workspace; its id is that of its job.

    `files` came with the code, and are written when it is its turn. Both are kept until the end only, afterwards
    `code_hash` (SHA-256 in hex) tells what ran. `network` is whether it may reach other machines, `isolated` whether
    the container could keep it from that. `duration` is in milliseconds.
    `not_kept` are files that it has written and that were not taken over: `{"path", "reason"}`.
    """

    workspace: str
    language: Language
    status: ExecutionStatus
    code: str = ""
    files: list[HeldFile] = []
    code_hash: str
    timeout_ms: int
    memory_mb: int
    network: bool = False
    isolated: bool | None = None
    stdout: str = ""
    stderr: str = ""
    cut: bool = False
    exit_code: int | None = None
    duration: int = 0
    error: str | None = None
    not_kept: list[dict[str, str]] = []
    ended_at: Moment | None = Field(default=None)
    correlation_id: str | None = None


workspaces = Collection("OwnpilotWorkspaces", Workspace, plain=True)
executions = Collection(
    "OwnpilotExecutions",
    Execution,
    indexes=["workspace", "status", ("workspace", "status")],
    view=["workspace", "user_id", "status", "created_at"],
)
"""All in one partition: the job of an execution knows nothing but its id."""
