"""The records of the Anymind API with the rules for their changes.

Ids are whole numbers as decimal text. A build and an execution run as jobs under their `job_id`, because the numbers of
the two kinds would collide as ids of jobs.
"""

import unicodedata
from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import Field

from shared.http.errors import NotFound
from shared.tables import Record
from shared.tables.ids import new_id


class AgentStatus(StrEnum):
    """draft -> building -> ready | failed, anew with each upload; `archived` is set by its owner."""

    DRAFT = "draft"
    BUILDING = "building"
    READY = "ready"
    FAILED = "failed"
    ARCHIVED = "archived"


class VersionStatus(StrEnum):
    """queued -> building -> ready | failed; the last two are final."""

    QUEUED = "queued"
    BUILDING = "building"
    READY = "ready"
    FAILED = "failed"

    @property
    def final(self) -> bool:
        """Whether a version never leaves this status."""
        return self in (VersionStatus.READY, VersionStatus.FAILED)


class ExecutionStatus(StrEnum):
    """pending -> running -> completed | failed | cancelled; the last three are final."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        """Whether an execution never leaves this status."""
        return self not in (ExecutionStatus.PENDING, ExecutionStatus.RUNNING)


def folded(text: str) -> str:
    """Return the form in which names are compared: without regard to case, and to different codes of one letter."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


class User(Record, numbered=True):
    """A person who has registered. `email_key` and `username_key` are the folded forms, which no two users share."""

    email: str
    username: str
    full_name: str | None = None
    password_hash: str
    is_active: bool = True
    email_key: str
    username_key: str


class ApiKey(Record, numbered=True):
    """A key of a user; only its SHA-256 is stored. `key_prefix` are its first 12 characters."""

    user_id: str
    name: str
    key_prefix: str
    key_hash: str
    is_active: bool = True
    last_used_at: datetime | None = None


class Agent(Record, numbered="ascending"):
    """An agent of a user.

    `current_version_id` is the newest version whose build succeeded, `newest_version_id` that of the last upload.
    `deleted` is true from the deletion on, until everything that belongs to the agent is deleted.
    """

    user_id: str
    name: str
    description: str | None = None
    status: AgentStatus = AgentStatus.DRAFT
    current_version_id: str | None = None
    newest_version_id: str | None = None
    deleted: bool = False

    def build(self, version_id: str) -> None:
        """Note that a version waits for its build; one that is not newer than those noted before changes nothing.

        `NotFound` when the agent is deleted: a late upload is undone then.
        """
        if self.deleted:
            raise NotFound("Agent not found")
        if int(version_id) > int(self.newest_version_id or 0):
            self.newest_version_id, self.status = version_id, AgentStatus.BUILDING

    def built(self, version_id: str, *, ready: bool) -> None:
        """Note how the build of a version ended.

        The current version never goes back to an older one. The status follows the newest version, unless the owner
        has archived the agent meanwhile.
        """
        if ready and int(version_id) > int(self.current_version_id or 0):
            self.current_version_id = version_id
        if int(version_id) >= int(self.newest_version_id or 0):
            self.newest_version_id = version_id
            if self.status is not AgentStatus.ARCHIVED:
                self.status = AgentStatus.READY if ready else AgentStatus.FAILED


class AgentVersion(Record, numbered=True):
    """One upload of an agent's archive, and what its build made of it.

    `number` counts the agent's uploads from 1; `place` is the text that makes agent and number unique. `blob` is the
    archive as it was uploaded, `size` its length in bytes; `ready_blob` is the archive that runs, with dependencies.
    `tarball_path` is the path that clients see and download by. `config` is YAML text. `settled` is true once its end
    is recorded at its agent too.
    """

    agent_id: str
    user_id: str
    number: int
    place: str = Field(default_factory=lambda values: f"{values['agent_id']}.{values['number']}")
    job_id: str = Field(default_factory=new_id)
    status: VersionStatus = VersionStatus.QUEUED
    build_log: str | None = None
    tarball_path: str
    blob: str
    size: int
    ready_blob: str | None = None
    entrypoint: str | None = None
    config: str | None = None
    ended_at: datetime | None = None
    settled: bool = False

    @property
    def version(self) -> str:
        """The version's name: `v1`, `v2`."""
        return f"v{self.number}"

    def build(self, log: str) -> None:
        """Enter `building`, with a first text in the log; a version that has left `queued` stays as it is."""
        if self.status is VersionStatus.QUEUED:
            self.status, self.build_log = VersionStatus.BUILDING, log

    def end(self, status: VersionStatus, log: str, at: datetime) -> None:
        """Enter a final status; only once."""
        if not self.status.final:
            self.status, self.build_log, self.ended_at = status, log, at


class Execution(Record, numbered="ascending"):
    """One call of an agent's handler with `input_data`.

    `input_size` and `output_size` are about the bytes of input and output as JSON, which bound what a list shows.
    `log` are the newest lines that it has printed, in the form of its job's log, "" when they are long or none; `lines`
    says how many lines can be shown at most. `started_at` and `ended_at` are the times of its job.
    """

    agent_id: str
    agent_version_id: str
    user_id: str
    job_id: str = Field(default_factory=new_id)
    status: ExecutionStatus = ExecutionStatus.RUNNING
    input_data: dict[str, Any]
    output_data: dict[str, Any] | None = None
    error_message: str | None = None
    input_size: int = 0
    output_size: int = 0
    log: str = ""
    lines: int = 0
    started_at: datetime | None = None
    ended_at: datetime | None = None

    def wait(self) -> None:
        """Enter `pending`: there is no room for a container yet."""
        if self.status is ExecutionStatus.RUNNING:
            self.status = ExecutionStatus.PENDING

    def run(self) -> None:
        """Enter `running` after `pending`."""
        if self.status is ExecutionStatus.PENDING:
            self.status = ExecutionStatus.RUNNING

    def end(
        self, status: ExecutionStatus, at: datetime, *, output: dict[str, Any] | None = None, error: str | None = None
    ) -> None:
        """Enter a final status with the result or the reason; only once."""
        if not self.status.final:
            self.status, self.ended_at, self.output_data, self.error_message = status, at, output, error

    def cancel(self, at: datetime) -> None:
        """Cancel an execution that has not ended; one that has stays as it is."""
        self.end(ExecutionStatus.CANCELLED, at)
