"""A job is one container run: what to run, how it ended, and who hears of it."""

import hashlib
import secrets
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Literal, Protocol

from pydantic import BaseModel, Field

from shared.tables import Collection, Record

LOGS = "logs"
"""Container of the append blobs that hold a job's whole output; the name is the job's id."""

INPUTS = "inputs"
"""Container of the files a job starts with, `<job>/<path>`."""

ARTIFACTS = "artifacts"
"""Container of the files that jobs leave and clients upload, `<kind>/<owner>/<id>`."""

WORKFLOW = "run_job"
"""The orchestrator of a job; its instance has the job's id and takes the job's kind."""

CANCEL = "cancel"
"""The event that ends a job's container."""

FINISHED = "finished"
"""The event that says that a job's exit is in its record."""


class JobState(StrEnum):
    """`created` until the runner speaks, `running` until its container is to go."""

    CREATED = "created"
    RUNNING = "running"
    ENDED = "ended"


Reason = Literal["exited", "timeout", "unstartable", "cancelled", "lost"]


class KeptFile(BaseModel):
    """A file that the job left, already in the `artifacts` container under `blob`."""

    name: str
    size: int
    sha256: str
    content_type: str
    blob: str


class Exit(BaseModel):
    """How a job ended, and when that became known.

    `exit_code` is None when nothing was started or nobody saw the end; `size` counts output bytes.
    """

    at: datetime = Field(default_factory=lambda: datetime.now(UTC))
    exit_code: int | None = None
    reason: Reason = "lost"
    message: str = ""
    size: int = 0
    files: list[KeptFile] = []
    skipped: list[dict[str, str]] = []


class Captured(BaseModel):
    """A file that a line of output names, kept before the line itself arrived; `reason` says why there is no file.

    `line` and `end` are the bytes of output before the line and behind its newline, `path` is as the line has it.
    """

    line: int
    end: int
    path: str
    at: datetime = Field(default_factory=lambda: datetime.now(UTC))
    file: KeptFile | None = None
    reason: str = ""


class Job(Record):
    """One container job; its id is that of the record it works for. `captured` are files of lines yet to arrive."""

    kind: str
    state: JobState = JobState.CREATED
    token_hash: str
    timeout: int
    inputs: list[str] = []
    size: int = 0
    captured: list[Captured] = []
    exit: dict[str, Any] | None = None

    @property
    def group(self) -> str:
        """The name of its container group."""
        return group_name(self.id)


@dataclass(frozen=True)
class JobSpec:
    """What to run: `command` in `directory` for at most `timeout` seconds.

    `inputs` are files by their path below `directory`; `secrets` are environment variables by name, kept out of every
    record and masked in the output; `keep` is the folder below `directory` whose files are kept at the end; `capture`
    is a regular expression whose group `path` names, in a line of output, a file or folder that is kept at once.
    `mask_words` is whether output loses values after words such as `key=`. `cpu` in cores, `memory_gb` in GB.
    """

    command: list[str]
    timeout: int
    directory: str = "workspace"
    inputs: Mapping[str, bytes] = field(default_factory=dict[str, bytes])
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    secrets: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    keep: str | None = None
    capture: str | None = None
    mask_words: bool = True
    image: str | None = None
    cpu: float = 1.0
    memory_gb: float = 1.5


class JobKind(Protocol):
    """What an API does at the turns of its jobs' lives; a call may be repeated, and changes nothing more then."""

    name: str
    """What records of its jobs call it: `<slice>.<noun>`."""

    async def prepare(self, job_id: str) -> JobSpec | None:
        """What to run; None when there is nothing to run any more. Raises `Unstartable` with the reason."""
        ...

    async def started(self, job: Job) -> None:
        """The command is about to run."""
        ...

    async def output(self, job: Job, offset: int, data: bytes) -> None:
        """Output bytes from `offset` on, in order; the same offset again means the same bytes again.

        Raises `Stop` when the command is to end now; what it still prints comes all the same.
        """
        ...

    async def ended(self, job: Job, end: Exit) -> None:
        """The job is over, whatever became of it."""
        ...

    async def wanted(self, job_id: str) -> bool:
        """Whether the job should go on; False stops its container."""
        ...

    async def orphaned(self, job_id: str) -> None:
        """A container that nobody watched has been removed."""
        ...

    def unfinished(self) -> AsyncIterator[str]:
        """The ids of all records that are waiting for a job to start or to end."""
        ...


class Stop(Exception):
    """A job whose command is to end."""


class Unstartable(Exception):
    """A job that cannot run; the message is for the client."""


jobs = Collection("Jobs", Job, counters=["state"])
kinds: dict[str, JobKind] = {}
"""Who answers for a kind of job (`gateway.run`); each API enters its own."""


def new_token() -> tuple[str, str]:
    """A job's token and the hash under which its record knows it."""
    token = secrets.token_urlsafe(32)
    return token, token_hash(token)


def token_hash(token: str) -> str:
    """SHA-256 in hex: the token has 256 random bits, so a slow hash would add nothing."""
    return hashlib.sha256(token.encode()).hexdigest()


def group_name(job_id: str) -> str:
    """The container group of a job: lower-case letters, digits and hyphens, at most 63."""
    return f"job-{job_id}"
