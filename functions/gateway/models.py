"""Records and bodies of the gateway API; a run's rules stand with its record."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

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
        """Whether a run stays in this status."""
        return self not in (RunStatus.PENDING, RunStatus.RUNNING)


class AlertType(StrEnum):
    """How grave an alert is."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


class Client(Record):
    """Someone with an API key, known by the key's SHA-256 only."""

    name: str
    key_hash: str
    last_active: datetime = Field(default_factory=lambda: datetime.now(UTC))


class Run(Record):
    """One prompt, or program, run in a container. `seconds` is its execution time, `tokens` what its model used."""

    client_id: str
    status: RunStatus = RunStatus.PENDING
    prompt: str
    model: str
    options: dict[str, Any]
    metadata: dict[str, Any] = {}
    result: str | None = None
    error: str | None = None
    started_at: datetime
    completed_at: datetime | None = None
    artifact_count: int = 0
    retry_of: str | None = None
    tokens: int = 0
    seconds: float = 0.0

    def start(self) -> None:
        """The real start replaces the time of creation; a repeat changes nothing."""
        if self.status is RunStatus.PENDING:
            self.status, self.started_at = RunStatus.RUNNING, datetime.now(UTC)

    def cancel(self) -> None:
        """End a run that has not ended; 400 for one that has."""
        if self.status.final:
            raise BadRequest(f"Cannot cancel {self.status} run")
        self.end(RunStatus.CANCELLED, datetime.now(UTC))

    def end(self, status: RunStatus, at: datetime) -> None:
        """Enter a final status at `at`; a run that was never started took no time."""
        if self.status is RunStatus.RUNNING:
            self.seconds = max(0.0, (at - self.started_at).total_seconds())
        self.status, self.completed_at = status, at


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
        """A label in the documented form; nothing is stored under it."""
        return f".data/artifacts/{self.run_id}/{self.id}_{self.filename}"


class Alert(Record):
    """Something that a person should know."""

    type: AlertType
    message: str
    run_id: str | None = None
    client_id: str | None = None
    read: bool = False
    metadata: dict[str, Any] = {}


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be blank")
    return text


ClientName = Annotated[str, StringConstraints(strict=True, strip_whitespace=True, min_length=1, max_length=100)]


class Body(BaseModel):
    """A request body: a JSON object whose unknown members are ignored."""

    model_config = ConfigDict(extra="ignore", defer_build=True)


class Answer(BaseModel):
    """A response body, read from a record's attributes."""

    model_config = ConfigDict(from_attributes=True, defer_build=True)


class Login(Body):
    """A client's name: a new one, since logging in is registering."""

    name: ClientName


class RunOptions(Body):
    """`timeout` in seconds; `max_tokens` at most the model's. Other members are kept."""

    model_config = ConfigDict(extra="allow")

    timeout: int = Field(300, ge=1, le=3600, strict=True)
    max_tokens: int = Field(4096, ge=1, strict=True)


class NewRun(Body):
    """A prompt for a model; for the models `python` and `bash` the prompt is the program."""

    prompt: Annotated[str, Field(strict=True, max_length=100_000), AfterValidator(_not_blank)]
    model: str = Field("claude-sonnet-4-20250514", strict=True)
    options: RunOptions = Field(default_factory=lambda: RunOptions())  # pyright: ignore[reportCallIssue]


class Registered(Answer):
    """A new client; the only answer, beside a rotation's, that shows the key."""

    id: str
    name: str
    api_key: str


class RunAccepted(Answer):
    """A run that waits for its container."""

    id: str
    status: RunStatus
    prompt: str
    model: str
    started_at: datetime
    artifact_count: int
    options: dict[str, Any]


class RunSummary(Answer):
    """A run in a list."""

    id: str
    status: RunStatus
    prompt: str
    model: str
    started_at: datetime
    completed_at: datetime | None
    artifact_count: int
    client_id: str


class RunDetail(RunSummary):
    """A run with what came of it."""

    result: str | None
    error: str | None
    options: dict[str, Any]


class RunList(Answer):
    """A page of runs; `total` counts all that match."""

    runs: list[RunSummary]
    total: int


class RunState(Answer):
    """Where a run stands."""

    id: str
    status: RunStatus


class ArtifactSummary(Answer):
    """An artifact in a list; `size` in bytes."""

    id: str
    run_id: str
    filename: str
    size: int
    content_type: str
    created_at: datetime


class ArtifactUploaded(ArtifactSummary):
    """An artifact that has just been stored."""

    metadata: dict[str, Any]


class ArtifactInfo(ArtifactUploaded):
    """An artifact without its bytes."""

    path: str


class ArtifactList(Answer):
    """A page of artifacts; `total` counts all that match."""

    artifacts: list[ArtifactSummary]
    total: int
