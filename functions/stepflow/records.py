"""The records of the StepFlow API: executions with the rules for their changes, artifacts, connections."""

from datetime import UTC, datetime
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Any

from pydantic import Field

from functions.stepflow.transcript import Transcript
from shared.http.errors import BadRequest
from shared.tables import Record
from shared.tables.ids import derived_id

WORKSPACE = "/workspace"
MAX_SECONDS = 86_400
"""The longest time that an execution may run, which is also the default."""

MAX_NAME = 1000
MAX_TAGS, MAX_TAG = 100, 200
"""Bounds of what lists show of each record: characters of a name, number of tags, characters of each."""

RETENTION_DAYS = 30
ANONYMOUS = "anonymous"


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
        return self not in ACTIVE


ACTIVE = (ExecutionStatus.PENDING, ExecutionStatus.RUNNING)


class ArtifactType(StrEnum):
    """The kind of file that an artifact is."""

    DOCUMENT = "document"
    IMAGE = "image"
    DATA = "data"
    LOG = "log"
    ARCHIVE = "archive"
    OTHER = "other"

    @classmethod
    def of(cls, name: str) -> "ArtifactType":
        """Return the type for the extension of a file's name; `OTHER` for an unknown extension."""
        return _TYPES.get(PurePosixPath(name).suffix.lower(), cls.OTHER)


_TYPES = {
    f".{ending}": kind
    for kind, endings in {
        ArtifactType.DOCUMENT: "txt md rst html htm pdf doc docx odt rtf tex ppt pptx",
        ArtifactType.IMAGE: "png jpg jpeg gif svg webp bmp tif tiff ico",
        ArtifactType.DATA: "csv tsv json jsonl ndjson xml yaml yml parquet xls xlsx ods sql db sqlite npy pkl h5 toml",
        ArtifactType.LOG: "log out err",
        ArtifactType.ARCHIVE: "zip tar gz tgz bz2 xz 7z rar zst whl jar",
    }.items()
    for ending in endings.split()
}


class Execution(Transcript, Record):
    """One command run in a container. `seconds` is its duration, set when it ends; `log_bytes` is the output's length.

    `user` is whom the request names, `client_id` the client whose key it had, "" without keys.
    `messages` counts the WebSocket messages about it. `waiting_reason` says why a pending one cannot start yet.
    `settled` is true once its end is recorded completely: its output is read and no step is open.
    `size` is about the bytes, as JSON, of what its request gave.
    """

    name: str
    command: str
    working_directory: str = WORKSPACE
    status: ExecutionStatus = ExecutionStatus.PENDING
    exit_code: int | None = None
    error_message: str | None = None
    waiting_reason: str | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    environment: dict[str, str] = {}
    user: str = "anonymous"
    client_id: str = ""
    tags: list[str] = []
    metadata: dict[str, Any] = {}
    timeout: int = MAX_SECONDS
    total_steps: int = 0
    seconds: float = 0.0
    log_bytes: int = 0
    messages: int = 0
    settled: bool = False
    size: int = 0

    @property
    def listed_size(self) -> int:
        """About the bytes of what a list shows of it."""
        return self.size + self.noted_text

    @property
    def current_step_index(self) -> int:
        """The index of the newest step, -1 before the first."""
        return self.total_steps - 1

    @property
    def progress_percentage(self) -> float:
        """The percentage of completed steps among the steps known so far; 0 before the first."""
        return round(100 * self.completed_steps / self.total_steps, 2) if self.total_steps else 0.0

    @property
    def duration_seconds(self) -> float | None:
        """Seconds from the start to the end, or to now while it runs; None before the start."""
        return seconds_between(self.started_at, self.completed_at)

    def step_id(self, index: int | None) -> str | None:
        """The id of the step at an index, always the same for the same index; None for None."""
        return None if index is None else derived_id(self.created_at, f"{self.id} step {index}")

    def step_index(self, step_id: str) -> int | None:
        """The index of the step with this id, None when the execution has no such step."""
        return next((step.index for step in self.steps if self.step_id(step.index) == step_id), None)

    def start(self, at: datetime | None = None) -> None:
        """Change a pending execution to `running`, by default now; in any other status nothing changes."""
        if self.status is ExecutionStatus.PENDING:
            self.status = ExecutionStatus.RUNNING
            self.started_at = max(at or datetime.now(UTC), self.created_at)
            self.waiting_reason = None

    def started_by(self, at: datetime) -> None:
        """Correct the start of an execution that printed at `at`: output may arrive before anything else is heard."""
        if self.started_at is not None:
            self.started_at = max(min(self.started_at, at), self.created_at)

    def cancel(self) -> None:
        """Cancel a pending or running execution; `BadRequest` when it has ended.

        One whose command was never started has no output to wait for, so it is settled at once.
        """
        if self.status.final:
            raise BadRequest(f"Cannot cancel {self.status} execution")
        now = datetime.now(UTC)
        self.close(None, now, "Cancelled")
        self.end(ExecutionStatus.CANCELLED, None, "Cancelled", now)
        self.settled = self.started_at is None

    def end(self, status: ExecutionStatus, code: int | None, message: str | None, at: datetime) -> None:
        """Enter a final status at the moment `at`."""
        self.status, self.exit_code, self.error_message, self.completed_at = status, code, message, at
        self.waiting_reason = None
        self.seconds = max(0.0, (at - self.started_at).total_seconds()) if self.started_at else 0.0

    def summarise(self) -> None:
        """Copy from the transcript what lists show: the number of steps, and the metadata."""
        self.total_steps = len(self.steps)
        self.metadata = {**self.metadata, **self.noted}


class Artifact(Record):
    """A file of an execution. `blob` is None when there is no file; `metadata["message"]` then gives the reason."""

    execution_id: str
    step_id: str | None = None
    name: str
    description: str = ""
    file_name: str
    file_size: int = 0
    mime_type: str | None = None
    artifact_type: ArtifactType
    tags: list[str] = []
    is_public: bool = True
    retention_days: int = RETENTION_DAYS
    metadata: dict[str, Any] = {}
    blob: str | None = None
    sha256: str = ""

    @property
    def file_path(self) -> str:
        """A path in the documented form, for display only: no file is stored under it."""
        return f"/storage/artifacts/{self.execution_id}/{self.id}_{self.file_name}"

    @property
    def download_url(self) -> str:
        """The path of the file's download, relative to the API's base URL."""
        return f"/api/artifacts/{self.id}/download"

    @property
    def exists(self) -> bool:
        """Whether the artifact has a file."""
        return self.blob is not None

    @property
    def file_extension(self) -> str:
        """The extension of the file's name, with its dot."""
        return PurePosixPath(self.file_name).suffix


class Connection(Record):
    """One open WebSocket connection."""

    connection_id: str
    client_id: int = Field(ge=0)


def seconds_between(start: datetime | None, end: datetime | None) -> float | None:
    """Seconds from `start` to `end`, or to now when `end` is None; None without a start."""
    return round(max(0.0, ((end or datetime.now(UTC)) - start).total_seconds()), 3) if start else None
