"""A job is one container run: what to run, how it ended, and who hears of it."""

import hashlib
import secrets
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, ClassVar, Literal

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


class JobKind(ABC):
    """What an API does for one kind of job. A kind needs a `name`, `prepare` and `ended`; the rest has defaults.

    `name` is `<slice>.<noun>` (`gateway.run`) and stands in the job's record, in its container group's tags and in the
    paths of its files. Every method may be called again for the same job after a crash; a repeat must change nothing.
    """

    name: ClassVar[str]

    @abstractmethod
    async def prepare(self, job_id: str) -> JobSpec | None:
        """Return what to run, None when nothing is left to run. Raises `Unstartable` when the job cannot run."""

    @abstractmethod
    async def ended(self, job: Job, end: Exit) -> None:
        """Record how the job ended; called for every end, also for a job whose container was never created."""

    async def started(self, job: Job) -> None:  # noqa: B027 - a default
        """Note that the command is about to run. The default does nothing."""

    async def output(self, job: Job, offset: int, data: bytes) -> None:  # noqa: B027 - a default
        """Handle output bytes from `offset` on, in order; a repeat of an offset brings the same bytes again.

        Raises `Stop` to end the command; what it prints until then still arrives here. The default does nothing: the
        job's log is stored before this is called.
        """

    async def wanted(self, job_id: str) -> bool:
        """Return whether the job should go on; False ends its container.

        The default is True: the job runs until its command ends, its time is over or it is cancelled.
        """
        return True

    async def orphaned(self, job_id: str) -> None:  # noqa: B027 - a default
        """Note that a container was removed whose job had already ended or had no record. The default does nothing."""

    async def unfinished(self) -> AsyncIterator[str]:
        """Yield the ids of all records whose job has not started or not ended.

        The sweep starts or ends those that a crash left behind. The default yields nothing: such jobs are not repaired.
        """
        for job_id in ():
            yield job_id


class Stop(Exception):
    """Raised by `JobKind.output` to end the job's command."""


class Unstartable(Exception):
    """Raised by `JobKind.prepare` for a job that cannot run; the message is shown to the client."""


class UnknownKind(Exception):
    """Raised for a job of a kind that this app does not serve."""

    def __init__(self, name: str):
        super().__init__(f"this app serves no jobs of the kind {name}: its API is not in RUNYARD_APIS")


jobs = Collection("Jobs", Job, counters=["state"])
kinds: dict[str, JobKind] = {}
"""The kinds of jobs that this app serves, by name; `shared.slices.add_slice` enters those of each slice."""


def kind_of(name: str) -> JobKind:
    """Return the kind with this name. `UnknownKind` when this app does not serve it."""
    try:
        return kinds[name]
    except KeyError:
        raise UnknownKind(name) from None


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
