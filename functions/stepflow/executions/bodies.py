"""Request and response bodies of the execution routes."""

import json
import shlex
from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, JsonValue, StringConstraints

from functions.stepflow.access import Identity
from functions.stepflow.artifacts import ArtifactShown
from functions.stepflow.records import (
    MAX_NAME,
    MAX_SECONDS,
    MAX_TAG,
    MAX_TAGS,
    WORKSPACE,
    Execution,
    ExecutionStatus,
    seconds_between,
)
from functions.stepflow.transcript import Step, StepStatus
from shared.http.bodies import RequestBody, ResponseBody, example
from shared.http.json import not_blank

MAX_COMMAND = 1_000_000
MAX_ENVIRONMENT = 64 * 1024
"""Bytes of the names and values of all variables together."""

MAX_METADATA = 64 * 1024
"""Bytes of the metadata as JSON."""


def _one_command(given: object) -> object:
    """Join a list of words to one command, quoting words where the shell requires it."""
    if isinstance(given, list) and given and all(isinstance(word, str) for word in given):
        return shlex.join(given)
    return given


def _no_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not contain a NUL character")
    return text


def _environment(variables: dict[str, str]) -> dict[str, str]:
    for name, value in variables.items():
        if not name or "=" in name or "\0" in name + value:
            raise ValueError(
                f"{name!r} cannot be set: a name must not be empty or contain '=',"
                " and neither a name nor a value may contain a NUL character"
            )
    if sum(len(name.encode()) + len(value.encode()) for name, value in variables.items()) > MAX_ENVIRONMENT:
        raise ValueError(f"must not be larger than {MAX_ENVIRONMENT} bytes in total")
    return variables


def _metadata(given: dict[str, JsonValue]) -> dict[str, JsonValue]:
    if len(json.dumps(given, ensure_ascii=False).encode()) > MAX_METADATA:
        raise ValueError(f"must not be larger than {MAX_METADATA} bytes as JSON")
    return given


Text = Annotated[str, StringConstraints(strict=True)]


class NewExecution(RequestBody):
    """A command to run in a shell; a member that is null counts as left out.

    `command` may be a list of words, `timeout` is in seconds. The API returns `environment` as it was sent, so it must
    not contain secrets.
    """

    model_config = example(
        command="echo STEP_START: greet; date > now.txt; echo ARTIFACT: now.txt; echo STEP_COMPLETE: greet",
        name="an example",
        tags=["example"],
    )

    command: Annotated[
        str,
        Field(strict=True, max_length=MAX_COMMAND),
        BeforeValidator(_one_command, json_schema_input_type=str | list[str]),
        AfterValidator(not_blank),
    ]
    name: Annotated[Text, Field(max_length=MAX_NAME)] | None = None
    working_directory: Annotated[Text, Field(max_length=4096), AfterValidator(_no_nul)] | None = None
    environment: Annotated[dict[str, Text], AfterValidator(_environment)] | None = None
    tags: Annotated[list[Annotated[Text, Field(max_length=MAX_TAG)]], Field(max_length=MAX_TAGS)] | None = None
    metadata: Annotated[dict[str, JsonValue], AfterValidator(_metadata)] | None = None
    user: Annotated[str, StringConstraints(strict=True, max_length=200)] | None = None
    timeout: Annotated[int, Field(strict=True, ge=1, le=MAX_SECONDS)] | None = None

    def record(self, caller: Identity) -> Execution:
        """Return the record of the new execution; the caller's name is its user when the body names none."""
        return Execution(
            name=self.name or self.command[:MAX_NAME],
            command=self.command,
            working_directory=self.working_directory or WORKSPACE,
            environment=self.environment or {},
            tags=self.tags or [],
            metadata=self.metadata or {},
            user=self.user or caller.name,
            client_id=caller.id,
            timeout=self.timeout or MAX_SECONDS,
            size=len(self.model_dump_json().encode()),
        )


class ExecutionCreated(ResponseBody):
    """A queued execution."""

    execution_id: str = Field(validation_alias="id")
    status: ExecutionStatus
    created_at: datetime


class ExecutionShown(ResponseBody):
    """An execution; `duration_seconds` grows while it runs and is null before its start.

    `waiting_reason` is there only while it cannot start yet.
    """

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
    waiting_reason: str | None = Field(None, exclude_if=lambda reason: reason is None)


class ExecutionList(ResponseBody):
    """A page of executions; `total_count` is the number of matching executions on all pages."""

    executions: list[ExecutionShown]
    total_count: int
    has_more: bool


class ActiveExecutions(ResponseBody):
    """Pending and running executions, newest first; of more than 1,000, or more than 32 MB, only the newest."""

    executions: list[ExecutionShown]


class Statistics(ResponseBody):
    """Statistics; `success_rate` is like `97.5%`, `avg_duration` like `12.3s`, or `-` before an execution has ended."""

    total_executions: int
    active_now: int
    success_rate: str
    avg_duration: str


class StepLog(ResponseBody):
    """A log line of a step."""

    timestamp: datetime
    content: str
    level: str = "info"


class StepShown(ResponseBody):
    """A step; `logs` holds its newest lines (`GET .../logs` has all), `log_count` is the number of all its lines."""

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


class ExecutionDetail(ResponseBody):
    """An execution with its steps in order of index, and its artifacts, oldest first."""

    execution: ExecutionShown
    steps: list[StepShown]
    artifacts: list[ArtifactShown]


def step_shown(execution: Execution, step: Step, logs: list[StepLog], log_count: int) -> StepShown:
    """Return a step as the API shows it."""
    return StepShown(
        id=execution.step_id(step.index) or "",
        execution_id=execution.id,
        created_at=step.started_at,
        duration_seconds=seconds_between(step.started_at, step.completed_at),
        logs=logs,
        log_count=log_count,
        **step.model_dump(exclude={"first_line", "end_line"}),
    )
