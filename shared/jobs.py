"""A job is one container run: its record, what it runs, how it ended, and the kinds of jobs that APIs define."""

import hashlib
import secrets
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, Field

from shared.http.errors import Unauthorized
from shared.notices import Notices
from shared.tables import Collection, Record, RecordNotFound, StorageUnavailable

LOGS = "logs"
"""Blob container of the append blobs with a job's whole output; the blob's name is the job's id."""

INPUTS = "inputs"
"""Blob container of the files that a job starts with, `<job id>/<path>`."""

ARTIFACTS = "artifacts"
"""Blob container of the files that jobs produce and clients upload, `<kind>/<owner>/<id>`."""

WORKFLOW = "run_job"
"""The orchestrator of every job; its instance id is the job's id, its input the job's kind."""

CANCEL = "cancel"
"""The event that asks a job's workflow to remove its container."""

FINISHED = "finished"
"""The event that a job's workflow waits for; raised once the runner's exit is in the job's record."""

CHECK = "check"
"""The event that asks a job's workflow to check its container soon, because it seems to have ended."""


class JobState(StrEnum):
    """`created` until the runner's first push, then `running`, and `ended` from the moment no push is accepted."""

    CREATED = "created"
    RUNNING = "running"
    ENDED = "ended"


Reason = Literal["exited", "timeout", "unstartable", "cancelled", "lost"]

MAX_FILES = 1000
"""Files that one job may keep."""

MAX_REMOVED = 10_000
"""Files that one job may remove from its tree."""

MAX_SKIPPED = 101
"""Entries about files that were not kept; the last one may say how many more there are."""

MAX_NAME = 1024
"""Characters of a file's name."""

MAX_MOMENTS = 1000
"""Moments of output in one push."""

MAX_TEXT = 8192
"""Characters of a message or a reason."""

REPORT_BYTES = 4 * 1024 * 1024
"""Bytes of the largest file that a job may report as text."""

Text = Annotated[str, Field(max_length=MAX_TEXT)]

Bytes = Annotated[int, Field(ge=0, lt=2**63)]
"""A number of bytes, or a byte offset, that the store can hold."""

FileName = Annotated[str, Field(min_length=1, max_length=MAX_NAME, pattern=r"^[^\x00-\x1f\x7f]*$")]
"""The name of a file, without control characters."""


FileTag = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""The SHA-256 of a file's content in hex."""


class KeptFile(BaseModel):
    """A file that the job produced, stored as `blob` in the blob container `artifacts`; `size` in bytes."""

    name: FileName
    size: Bytes
    sha256: FileTag
    content_type: str = Field(max_length=255, pattern=r"^[ -~]+$")
    blob: str = Field(max_length=255)


class SkippedFile(BaseModel):
    """A file that was not kept, and why."""

    name: str = Field(max_length=MAX_NAME)
    reason: Text


class Exit(BaseModel):
    """How a job ended; `at` is when the app learned of it.

    `ran` is how many seconds the command took, None when it was not started. `printed` are the moments of that output
    which came with the report, as in `Printed`. `exit_code` is None when the command was not started or its end was not
    reported. `size` is the length of the output in bytes. `report` is the text of the file that `JobSpec.report` names,
    not redacted, with U+FFFD for bytes that are not UTF-8; None when the command has written none, and when it could
    not be read, which `skipped` then says. `removed` are the files that the command has removed from the job's tree, by
    path, each with the tag that it had. The bounds are those of what the app can store: a runner is not trusted.
    """

    at: datetime = Field(default_factory=lambda: datetime.now(UTC))
    ran: Annotated[float, Field(ge=0, lt=1e8, allow_inf_nan=False)] | None = None
    printed: Annotated[list[tuple[Bytes, datetime]], Field(max_length=MAX_MOMENTS)] = []
    exit_code: Annotated[int, Field(ge=-(2**31), lt=2**31)] | None = None
    reason: Reason = "lost"
    message: Text = ""
    size: Bytes = 0
    files: Annotated[list[KeptFile], Field(max_length=MAX_FILES)] = []
    skipped: Annotated[list[SkippedFile], Field(max_length=MAX_SKIPPED)] = []
    removed: Annotated[dict[FileName, FileTag], Field(max_length=MAX_REMOVED)] = {}
    report: Annotated[str, Field(max_length=REPORT_BYTES)] | None = None

    @property
    def started_at(self) -> datetime | None:
        """When the command was started; None when it was not."""
        return None if self.ran is None else self.at - timedelta(seconds=self.ran)


class Captured(BaseModel):
    """A file that a line of output names, stored before the line itself arrives; `reason` says why `file` is None.

    `line` is the byte offset in the output at which the line begins, `end` the offset after its newline, `path` the
    path as it is written in the line.
    """

    line: Bytes
    end: Bytes
    path: str = Field(max_length=65_536)
    at: datetime = Field(default_factory=lambda: datetime.now(UTC))
    file: KeptFile | None = None
    reason: Text = ""


class Job(Record):
    """One container job; its id is the id of the record that it runs for.

    `token_hash` is the hash of the runner's bearer token, `timeout` in seconds, `inputs` the paths of the input files
    that are stored for this job alone, `size` the bytes of output received, `handled` how many of them
    `JobKind.output` was called for; the rest came with the exit. `captured` are files named by lines that have not
    arrived yet. `exit` is an `Exit` as JSON. `worker` is the id of the warm container that runs it, "" when it has a
    container of its own; `accepted` is whether that worker is known to have the order. `calls` counts what its command
    has asked the app for (`JobKind.called`).
    """

    kind: str
    state: JobState = JobState.CREATED
    token_hash: str
    timeout: int
    inputs: list[str] = []
    size: int = 0
    handled: int = 0
    captured: list[Captured] = []
    exit: dict[str, Any] | None = None
    worker: str = ""
    accepted: bool = False
    calls: int = 0

    @property
    def group(self) -> str:
        """The name of its container group."""
        return group_name(self.id)


@dataclass(frozen=True)
class BlobInput:
    """A stored blob as an input file: the container downloads it by a link, and it stays when the job has ended."""

    container: str
    blob: str


@dataclass(frozen=True)
class JobSpec:
    """What to run: `command` in `directory` for at most `timeout` seconds.

    `inputs` are files by their path below `directory`: the content, or a blob. `secrets` are environment variables that
    are masked in the output and never stored in a record. `keep` is a folder below `directory` whose files are kept at
    the end. `report` is the path below `directory` of a file of at most `REPORT_BYTES` whose text becomes
    `Exit.report`.
    `capture` is a regular expression for lines of output; its group `path` names a file or folder to keep at once.
    `mask_words` is whether values after words such as `key=` are masked in the output too. `image` replaces the
    runner's image. `cpu` is in cores, `memory_gb` in GB; None is what `RUNYARD_JOB_MEMORY` says. `owner` is on whose
    behalf the job runs: only jobs of one owner ever share a container, and a job without an owner never does. `tree` is
    a folder beside `directory` whose files outlive the job: the input `TREE_LIST` lists them, `JobKind.stored` says
    where they are, and those that the command changes are in `Exit.files` and `Exit.removed`. `subnet` is the resource
    id of a subnet for the container; then it is a new one.
    """

    command: list[str]
    timeout: int
    directory: str = "workspace"
    inputs: Mapping[str, bytes | BlobInput] = field(default_factory=dict[str, bytes | BlobInput])
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    secrets: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    keep: str | None = None
    report: str | None = None
    capture: str | None = None
    mask_words: bool = True
    image: str | None = None
    cpu: float = 1.0
    memory_gb: float | None = None
    owner: str = ""
    tree: str | None = None
    subnet: str | None = None


@dataclass(frozen=True)
class Printed:
    """When output was printed: ascending byte offsets, each with the moment from which on that output came."""

    moments: Sequence[tuple[int, datetime]]

    @classmethod
    def parse(cls, text: str, offset: int, now: datetime) -> "Printed":
        """Return what the header `AGES` of a push says; without a usable one, that all of it was printed `now`."""
        moments: list[tuple[int, datetime]] = []
        for part in text.split(",") if text else ():
            place, _, age = part.partition(":")
            try:
                moments.append((int(place), now - timedelta(seconds=max(0.0, float(age)))))
            except (ValueError, OverflowError):
                break
        return cls(moments[:MAX_MOMENTS] or [(offset, now)])

    def at(self, offset: int) -> datetime:
        """Return when the byte at this offset was printed."""
        place = bisect_right(self.moments, offset, key=lambda moment: moment[0])
        return self.moments[max(0, place - 1)][1]


class JobKind(ABC):
    """What an API does for one kind of job. A kind needs a `name`, `prepare` and `ended`; the rest has defaults.

    `name` is `<slice>.<noun>` (`gateway.run`); it is stored in the job's record, in its container group's tags and in
    the paths of its files. `queues` is whether a job waits while there is no room; otherwise it ends as unstartable.
    `max_file` is the size in bytes of the largest file that a job may keep; None is what `RUNYARD_ARTIFACT_LIMIT` says.
    `takes_turns` is whether `held` is asked also without a limit.
    Every method may be called again for the same job after a crash: a repeat must change nothing.
    """

    name: ClassVar[str]
    queues: ClassVar[bool] = True
    max_file: ClassVar[int | None] = None
    takes_turns: ClassVar[bool] = False

    @abstractmethod
    async def prepare(self, job_id: str) -> JobSpec | None:
        """Return what to run, None when nothing is left to run. Raises `Unstartable` when the job cannot run."""

    @abstractmethod
    async def ended(self, job: Job, end: Exit) -> None:
        """Record how the job ended; called for every end, also for a job whose container was never created.

        A short job has only one push, that of its exit: then neither `started` nor `output` was called before.
        """

    async def held(self, job_id: str, limit: int) -> str | None:
        """Return why the job must wait although there may be room, None when it may start.

        `limit` is how many jobs of one client may run at a time, 0 without a limit (see `takes_turns`). The default is
        None: nobody's jobs are counted.
        """
        return None

    async def stored(self, job_id: str, tags: Sequence[str]) -> Mapping[str, BlobInput]:
        """Return where files of the job's tree are stored, by their tags; unknown tags are left out.

        The default knows none: jobs of this kind have no tree.
        """
        return {}

    async def waiting(self, job_id: str, reason: str) -> None:  # noqa: B027 - a default
        """Note why the job cannot start yet; called again when the reason changes. The default does nothing."""

    async def started(self, job: Job) -> None:  # noqa: B027 - a default
        """Note that the command is about to run. Raises `Stop` when the job is not wanted. The default does nothing."""

    async def output(self, job: Job, offset: int, data: bytes, printed: Printed) -> None:  # noqa: B027 - a default
        """Handle output bytes from `offset` on, in order; a repeat of an offset brings the same bytes again.

        `printed` says when, in a repeat only nearly the same.

        Raises `Stop` to end the command; what it prints until then still arrives here. The default does nothing: the
        job's log is stored before this is called.
        """

    async def called(self, job: Job, token: str, name: str, arguments: str) -> tuple[bool, str]:
        """Do something for a job's command, which asks by name and with a text; return whether it was done, and a text.

        `token` is one that the kind has given to the command: `Unauthorized` for another one, as by default for all.
        The kind counts the calls in `Job.calls`, if it wants to.
        """
        raise Unauthorized("This job's command cannot ask for anything")

    async def wanted(self, job_id: str) -> bool:
        """Return whether the job should go on; False ends its container. False, too, once `ended` has recorded the end.

        The default is True: the job runs until its command ends, its timeout passes or it is cancelled.
        `wait_until_ended` needs a kind that overrides it.
        """
        return True

    async def orphaned(self, job_id: str) -> None:  # noqa: B027 - a default
        """Note that a container was removed whose job had already ended or had no record. The default does nothing."""

    async def unfinished(self) -> AsyncIterator[str]:
        """Yield the ids of all records whose job has not started or not ended.

        The sweep starts or ends those that a crash has interrupted. The default yields nothing: no job is repaired.
        """
        for job_id in ():
            yield job_id


def in_words(seconds: int) -> str:
    """Return `1 second`, `2 seconds`."""
    return f"{seconds} second{'' if seconds == 1 else 's'}"


class Stop(Exception):
    """Raised by `JobKind.started` and `JobKind.output` to end the job's command."""


class Unstartable(Exception):
    """Raised by `JobKind.prepare` for a job that cannot run; the message is shown to the client."""


class UnknownKind(Exception):
    """Raised for a job of a kind that this app does not serve."""

    def __init__(self, name: str):
        super().__init__(f"this app serves no jobs of the kind {name}: its API is not in RUNYARD_APIS")


jobs = Collection("Jobs", Job, plain=True, spread=16)
"""Spread over partitions, because every push of output writes its job's record."""


class WaitingJob(Record):
    """A job that cannot start yet, and why; its id is the job's.

    `held` is whether it waits for other jobs of its client, not for room. `since` is when the wait for room began,
    `refusals` how often the service has refused it, `until` when it must have tried again to count.
    """

    kind: str
    reason: str = ""
    held: bool = False
    since: datetime
    until: datetime
    refusals: int = 0


waiting_jobs = Collection("JobsWaiting", WaitingJob, plain=True)

kinds: dict[str, JobKind] = {}
"""The kinds of jobs that this app serves, by name; `shared.slices.add_slice` adds those of each slice."""


def kind_of(name: str) -> JobKind:
    """Return the kind with this name. `UnknownKind` when this app does not serve it."""
    try:
        return kinds[name]
    except KeyError:
        raise UnknownKind(name) from None


def new_token() -> tuple[str, str]:
    """Return a new bearer token for a runner, and the hash of it that the job's record stores."""
    token = secrets.token_urlsafe(32)
    return token, token_hash(token)


def token_hash(token: str) -> str:
    """Return the token's SHA-256 in hex: with 256 random bits in the token, a slow hash would add nothing."""
    return hashlib.sha256(token.encode()).hexdigest()


def group_name(job_id: str) -> str:
    """Return the name of a job's container group: lower-case letters, digits and hyphens, at most 63."""
    return f"job-{job_id}"


FIRST_LOOK = 0.1
"""Seconds until the first look at a job's record; a job in a warm container has often ended by then."""

ended_jobs = Notices()
"""The news that the kind of a job has recorded its end, by the job's id."""


async def wait_until_ended(job_id: str, seconds: float) -> bool:
    """Wait until the job's kind has recorded the job's end; return False when it has not within `seconds`.

    An end that this process has recorded is known at once, one that another process has recorded by looking at the
    records. The job needs no record yet.
    """
    return await ended_jobs.wait(job_id, seconds, lambda: _end_is_recorded(job_id), FIRST_LOOK)


async def _end_is_recorded(job_id: str) -> bool:
    """Whether the job's exit is fixed and its kind has recorded it; False while storage does not answer."""
    try:
        job = await jobs.get(job_id)
        return job.exit is not None and not await kind_of(job.kind).wanted(job_id)
    except (RecordNotFound, StorageUnavailable):
        return False
