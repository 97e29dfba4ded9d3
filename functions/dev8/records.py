"""The records of the Dev8 API: environments with the rules for their changes, places that they take, and orphans."""

from datetime import UTC, datetime
from enum import StrEnum

from pydantic import Field

from shared.http.errors import BadRequest
from shared.tables import Record

DEFAULT_USER = "default-user"
MAX_FAILURE = 1000
"""Characters of the reason that a record keeps of a failure."""


class EnvironmentStatus(StrEnum):
    """CREATING -> RUNNING -> STOPPING -> STOPPED -> STARTING -> RUNNING; DELETING and ERROR end it."""

    CREATING = "CREATING"
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    STOPPING = "STOPPING"
    STOPPED = "STOPPED"
    ERROR = "ERROR"
    DELETING = "DELETING"


CREATING, STARTING, RUNNING, STOPPING, STOPPED, ERROR, DELETING = EnvironmentStatus
IN_MOTION = (CREATING, STARTING, STOPPING, DELETING)
"""The statuses that a workflow ends; the others rest until a request or the service changes them."""


class CloudProvider(StrEnum):
    """What a client may name; the environment is made on Azure in any case."""

    AZURE = "AZURE"
    AWS = "AWS"
    GCP = "GCP"


class DevEnvironment(Record, prefix="env-"):
    """One development environment; its id is also the name of its container group and its DNS label.

    `order` counts the creation, starts, stops and the deletion; each has a workflow of its own. `moved_at` is when the
    status was last changed; unlike `created_at`, it is the present time in a repeat of a request too. `in_creation` is
    true while the creating request may still call the container service. `failure` is why the last order failed.
    `reported_at` is the timestamp of the newest activity report. `idle_since` is when a report of no connections
    arrived, None while somebody is connected or nothing was reported. `token_hash` is the SHA-256 of the token with
    which the environment reports its activity.
    """

    user_id: str = DEFAULT_USER
    name: str
    status: EnvironmentStatus = CREATING
    cloud_provider: CloudProvider
    cloud_region: str
    cpu_cores: int
    memory_gb: int
    storage_gb: int
    base_image: str
    ip: str = ""
    fqdn: str = ""
    last_accessed_at: datetime = Field(default_factory=lambda values: values["created_at"])
    reported_at: datetime | None = None
    idle_since: datetime | None = None
    order: int = 1
    moved_at: datetime = Field(default_factory=lambda: datetime.now(UTC))
    in_creation: bool = True
    failure: str = ""
    token_hash: str = ""

    @property
    def share(self) -> str:
        """The name of its file share: 46 lower-case letters, digits and single hyphens."""
        return f"workspace-{self.id}"

    def enter(self, status: EnvironmentStatus, failure: str = "") -> None:
        """Change the status now. Only a group that runs has an address, and is idle.

        One that is stopping still runs, and stays as it is when the service refuses to stop it.
        """
        self.status, self.failure, self.moved_at = status, failure[:MAX_FAILURE], datetime.now(UTC)
        if status not in (RUNNING, STOPPING):
            self.ip = self.fqdn = ""
            self.idle_since = None

    def abandon(self, failure: str) -> None:
        """Note why its creation has failed: the request for it calls the container service no more."""
        self.failure, self.in_creation = failure[:MAX_FAILURE], False

    def begin_start(self) -> None:
        """Order its start; `BadRequest` unless it is stopped."""
        self._begin(STARTING, STOPPED, "started")

    def begin_stop(self) -> None:
        """Order its stop; `BadRequest` unless it is running."""
        self._begin(STOPPING, RUNNING, "stopped")

    def begin_deletion(self) -> None:
        """Order its deletion, which nothing ends; a repeat changes nothing."""
        if self.status is not DELETING:
            self.order += 1
            self.enter(DELETING)

    def _begin(self, status: EnvironmentStatus, needed: EnvironmentStatus, done: str) -> None:
        if self.status is not needed:
            raise BadRequest(f"environment cannot be {done}: its status is {self.status}, not {needed}")
        self.order += 1
        self.enter(status)

    def report(self, at: datetime, connections: int) -> None:
        """Note a report of activity with this timestamp; one that is older than the newest changes nothing."""
        now = datetime.now(UTC)
        at = min(at, now)
        if self.reported_at is not None and at < self.reported_at:
            return
        self.reported_at = at
        self.last_accessed_at = max(self.last_accessed_at, at)
        if self.status in (CREATING, STARTING, RUNNING, STOPPING):
            self.idle_since = None if connections else now


class TakenPlace(Record):
    """One of a limited number of places, taken by an environment, from whose id its own follows."""

    environment_id: str
    user_id: str
    since: datetime


class Orphan(Record):
    """A container group or a file share without a record, and when it was first seen; its id follows from `name`."""

    name: str
    since: datetime
