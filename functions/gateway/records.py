"""Records of the gateway API, with the rules for a run's status."""

import json
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from pydantic import Field

from shared.http.errors import BadRequest
from shared.tables import Record


class RunStatus(StrEnum):
    """pending -> running -> completed | failed | cancelled; the last three are final."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        """Whether a run in this status has ended."""
        return self not in (RunStatus.PENDING, RunStatus.RUNNING)


class AlertType(StrEnum):
    """How serious an alert is."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


class Run(Record):
    """One prompt, or program, run in a container.

    `prompt_size` is the bytes of the prompt as JSON, which bound what a list shows. `seconds` is its execution time;
    `tokens` is what its model used, `cost` in USD. `waiting_reason` says why a pending run cannot start yet.
    """

    client_id: str
    status: RunStatus = RunStatus.PENDING
    prompt: str
    prompt_size: int = Field(default_factory=lambda values: _size(values["prompt"]))
    model: str
    options: dict[str, Any]
    metadata: dict[str, Any] = {}
    result: str | None = None
    error: str | None = None
    waiting_reason: str | None = None
    started_at: datetime
    completed_at: datetime | None = None
    artifact_count: int = 0
    retry_of: str | None = None
    tokens: int = 0
    cost: float = 0.0
    seconds: float = 0.0

    def start(self, at: datetime | None = None) -> None:
        """Enter `running`, by default now; until then `started_at` is the time of creation. Only once."""
        if self.status is RunStatus.PENDING:
            self.status, self.started_at = RunStatus.RUNNING, max(at or datetime.now(UTC), self.created_at)
            self.waiting_reason = None

    def cancel(self) -> None:
        """End a run that has not ended; 400 for one that has."""
        if self.status.final:
            raise BadRequest(f"Cannot cancel {self.status} run")
        self.end(RunStatus.CANCELLED, datetime.now(UTC))

    def change_status(self, status: RunStatus) -> None:
        """Enter the status that a client requests; 400 when the run cannot enter it."""
        if self.status.final:
            raise BadRequest(f"Cannot change status of {self.status} run")
        if status is RunStatus.PENDING and self.status is not status:
            raise BadRequest(f"Cannot change status of {self.status} run to {status}")
        if status.final:
            self.end(status, datetime.now(UTC))
        elif status is RunStatus.RUNNING:
            self.start()

    def end(self, status: RunStatus, at: datetime) -> None:
        """Enter a final status at `at`; the execution time of a run that never started stays 0."""
        if self.status is RunStatus.RUNNING:
            self.seconds = max(0.0, (at - self.started_at).total_seconds())
        self.status, self.completed_at, self.waiting_reason = status, at, None


def _size(text: str) -> int:
    return len(json.dumps(text, ensure_ascii=False).encode())


class Artifact(Record):
    """A file of a run. `blob` is its name in `container`; `sha256` in hex, empty for a run's log."""

    run_id: str
    client_id: str
    filename: str
    size: int
    content_type: str
    metadata: dict[str, Any] = {}
    container: str
    blob: str
    sha256: str = ""

    @property
    def path(self) -> str:
        """The path that the API documents; the file itself is stored as `blob`."""
        return f".data/artifacts/{self.run_id}/{self.id}_{self.filename}"


class Alert(Record):
    """Something that a person should know: a failed run, or a fault of the platform."""

    type: AlertType
    message: str
    run_id: str | None = None
    client_id: str | None = None
    read: bool = False
    metadata: dict[str, Any] = {}
