"""What clients send and get: the bodies of logins, clients, runs and artifacts."""

from datetime import datetime
from typing import Annotated, Any, Self

from pydantic import AfterValidator, ConfigDict, Field, Strict, StringConstraints, model_validator

from functions.gateway.records import Answer, Body, RunStatus
from shared.http.json import JsonObject, plain


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be blank")
    return text


Text = Annotated[str, Strict(), AfterValidator(plain)]
ClientName = Annotated[str, StringConstraints(strict=True, strip_whitespace=True, min_length=1, max_length=100)]


class Login(Body):
    """A client's name: a new one, since logging in is registering."""

    name: ClientName


class Credentials(Body):
    """An API key to be checked; without one, that of the request's header or query."""

    api_key: Text | None = None


class Verified(Answer):
    """Whose key it is."""

    valid: bool
    client_id: str
    client_name: str


class Refused(Answer):
    """A key that opens nothing."""

    valid: bool
    error: str


class ClientDetail(Answer):
    """A client without its key."""

    id: str
    name: str
    created_at: datetime
    last_active: datetime


class ClientList(Answer):
    """A page of clients; `total` counts all."""

    clients: list[ClientDetail]
    total: int


class NewKey(Answer):
    """A client's new key, shown this once."""

    api_key: str


class Message(Answer):
    """That something was done."""

    message: str


class RunOptions(Body):
    """`timeout` in seconds; `max_tokens` at most the model's. Other members are kept."""

    model_config = ConfigDict(extra="allow")

    timeout: int = Field(300, ge=1, le=3600, strict=True)
    max_tokens: int = Field(4096, ge=1, strict=True)

    @model_validator(mode="after")
    def _keep_plain_members(self) -> Self:
        plain(self.model_extra)
        return self


class NewRun(Body):
    """A prompt for a model; for the models `python` and `bash` the prompt is the program."""

    prompt: Annotated[str, Field(strict=True, max_length=100_000), AfterValidator(_not_blank)]
    model: str = Field("claude-sonnet-4-20250514", strict=True)
    options: RunOptions = Field(default_factory=lambda: RunOptions())  # pyright: ignore[reportCallIssue]


class RunPatch(Body):
    """What of a run a client may set; at least one of them."""

    status: RunStatus | None = None
    result: Text | None = None
    error: Text | None = None
    metadata: JsonObject = {}

    @property
    def changed(self) -> set[str]:
        """The members that were sent."""
        return {name for name in self.model_fields_set if name != "status" or self.status}


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


class RunRetried(Answer):
    """A run that repeats another."""

    id: str
    status: RunStatus
    prompt: str
    model: str
    retry_of: str
    started_at: datetime


class RunPatched(Answer):
    """A run after a change; `error` and `metadata` where they were set."""

    id: str
    status: RunStatus
    result: str | None
    updated_at: datetime
    error: str | None = None
    metadata: dict[str, Any] = {}


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
