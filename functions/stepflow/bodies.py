"""Response bodies of the StepFlow API, and the envelope that every answer has."""

from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from functions.stepflow.records import (
    Artifact,
    ArtifactType,
    Execution,
    ExecutionStatus,
    seconds_between,
)
from functions.stepflow.transcript import Step, StepStatus

T = TypeVar("T")


class Envelope(BaseModel, Generic[T]):
    """What every answer is wrapped in; either `data` or `error` is null."""

    success: bool = True
    data: T
    error: str | None = None
    timestamp: datetime = Field(default_factory=lambda: datetime.now(UTC))


def failure(status: int, message: str) -> dict[str, Any]:
    """The envelope of an error."""
    return Envelope[None](success=False, data=None, error=message).model_dump(mode="json")


class Answer(BaseModel):
    """A part of a response, read from a record's attributes."""

    model_config = ConfigDict(from_attributes=True, defer_build=True)


class Message(Answer):
    """Something for people to read."""

    message: str


class ExecutionCreated(Answer):
    """An execution that waits for its container."""

    execution_id: str = Field(validation_alias="id")
    status: ExecutionStatus
    created_at: datetime


class ExecutionShown(Answer):
    """An execution; `duration_seconds` runs on while it runs, and is null before its start."""

    id: str
    name: str
    command: str
    working_directory: str
    status: ExecutionStatus
    exit_code: int | None
    error_message: str | None
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    environment: dict[str, str]
    user: str
    tags: list[str]
    total_steps: int
    completed_steps: int
    current_step_index: int
    duration_seconds: float | None
    progress_percentage: float
    metadata: dict[str, Any]


class ExecutionList(Answer):
    """A page of executions; `total_count` counts all that match."""

    executions: list[ExecutionShown]
    total_count: int
    has_more: bool


class ActiveExecutions(Answer):
    """Pending and running executions, newest first."""

    executions: list[ExecutionShown]


class Statistics(Answer):
    """Figures for people: `success_rate` like `97.5%`, `avg_duration` like `12.3s`, or `-` when there is none."""

    total_executions: int
    active_now: int
    success_rate: str
    avg_duration: str


class StepLog(Answer):
    """A log line of a step."""

    timestamp: datetime
    content: str
    level: str = "info"


class StepShown(Answer):
    """A step; `logs` holds those of its lines that are among the newest of the execution, `log_count` counts all."""

    id: str
    execution_id: str
    name: str
    description: str | None
    index: int
    status: StepStatus
    exit_code: int | None
    error_message: str | None
    created_at: datetime
    started_at: datetime
    completed_at: datetime | None
    estimated_duration: float | None
    stop_on_error: bool
    duration_seconds: float | None
    metadata: dict[str, Any]
    logs: list[StepLog]
    log_count: int


class LogShown(StepLog):
    """A log line of an execution."""

    step_id: str | None
    step_name: str | None


class LogPage(Answer):
    """A part of an execution's log, from line `offset` on; the next part begins behind its last line."""

    logs: list[LogShown]
    total_count: int
    offset: int
    has_more: bool


class ArtifactShown(Answer):
    """An artifact; `file_size` in bytes, `download_url` below the API's base."""

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


class ExecutionDetail(Answer):
    """An execution with its steps by index and its artifacts, oldest first."""

    execution: ExecutionShown
    steps: list[StepShown]
    artifacts: list[ArtifactShown]


class ArtifactList(Answer):
    """A page of artifacts; `total_count` counts all that match."""

    artifacts: list[ArtifactShown]
    total_count: int
    has_more: bool


class ArtifactsOfExecution(Answer):
    """All artifacts of an execution, oldest first."""

    artifacts: list[ArtifactShown]


class ArtifactDetail(Answer):
    """One artifact."""

    artifact: ArtifactShown


class ArtifactUploaded(ArtifactDetail):
    """An artifact that has just been stored."""

    artifact_id: str

    @classmethod
    def of(cls, artifact: Artifact) -> "ArtifactUploaded":
        """The answer for it."""
        return cls(artifact_id=artifact.id, artifact=ArtifactShown.model_validate(artifact))


def step_shown(execution: Execution, step: Step, logs: list[StepLog], log_count: int) -> StepShown:
    """A step as the API shows it."""
    return StepShown(
        id=execution.step_id(step.index) or "",
        execution_id=execution.id,
        created_at=step.started_at,
        duration_seconds=seconds_between(step.started_at, step.completed_at),
        logs=logs,
        log_count=log_count,
        **step.model_dump(exclude={"first_line", "end_line"}),
    )
