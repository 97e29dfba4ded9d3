"""Request and response bodies of runs."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, Field

from functions.gateway.models import catalogue
from functions.gateway.records import RunStatus
from shared.http.bodies import RequestBody, ResponseBody, example
from shared.http.json import Text, not_blank


class RunOptions(RequestBody):
    """`timeout` in seconds; `max_tokens` at most that of the model. Other members are stored with the run."""

    model_config = ConfigDict(extra="allow")

    timeout: int = Field(300, ge=1, le=3600, strict=True)
    max_tokens: int = Field(4096, ge=1, strict=True)


class NewRun(RequestBody):
    """A prompt for a model; for the models `python` and `bash` the prompt is the program."""

    model_config = example(prompt="mkdir artifacts; date > artifacts/now.txt; echo done", model="bash")

    prompt: Annotated[str, Field(strict=True, max_length=100_000), AfterValidator(not_blank)]
    model: str = Field("claude-sonnet-4-20250514", strict=True, json_schema_extra={"enum": [*catalogue()]})
    options: RunOptions = Field(default_factory=lambda: RunOptions())  # pyright: ignore[reportCallIssue]


class RunPatch(RequestBody):
    """The members of a run that a client may set; at least one is required."""

    model_config = example(metadata={"reviewed": True})

    status: RunStatus | None = None
    result: Text | None = None
    error: Text | None = None
    metadata: dict[str, Any] = {}

    @property
    def changed(self) -> set[str]:
        """The members that were sent."""
        return {name for name in self.model_fields_set if name != "status" or self.status}


class RunAccepted(ResponseBody):
    """A queued run."""

    id: str
    status: RunStatus
    prompt: str
    model: str
    started_at: datetime
    artifact_count: int
    options: dict[str, Any]


class RunSummary(ResponseBody):
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
    """A run with its result and error; `metadata` is what clients have set.

    `waiting_reason` is there only while it cannot start yet.
    """

    result: str | None
    error: str | None
    options: dict[str, Any]
    metadata: dict[str, Any]
    waiting_reason: str | None = Field(None, exclude_if=lambda reason: reason is None)


class RunList(ResponseBody):
    """A page of runs; `total` counts all that match."""

    runs: list[RunSummary]
    total: int


class RunRetried(ResponseBody):
    """A new run that repeats another."""

    id: str
    status: RunStatus
    prompt: str
    model: str
    retry_of: str
    started_at: datetime


class RunPatched(ResponseBody):
    """A run after a change; `error` and `metadata` only when the request set them."""

    id: str
    status: RunStatus
    result: str | None
    updated_at: datetime
    error: str | None = None
    metadata: dict[str, Any] = {}


class RunState(ResponseBody):
    """The status of a run."""

    id: str
    status: RunStatus
