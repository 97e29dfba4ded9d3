"""Activity: what the supervisor of an environment reports about connections to its editor and its SSH server."""

import re
from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, ConfigDict, Field, Strict

from functions.dev8.access import Reporter, existing
from functions.dev8.environments import MAX_BODY
from functions.dev8.records import DevEnvironment
from functions.dev8.store import environments
from shared.http.bodies import RequestBody, ResponseBody
from shared.http.errors import InvalidRequest
from shared.http.json import Text
from shared.http.routes import options, router

routes = router("/api/v1/environments/{environment_id}/activity", "activity")

NEVER = "0001-01-01T00:00:00Z"
MAX_CONNECTIONS = 1_000_000

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,30})?(Z|[+-]\d\d:\d\d)", re.ASCII)


def moment(text: str) -> datetime:
    """Return the moment of an RFC 3339 text in UTC, cut to the microsecond; ValueError for any other text."""
    if not _RFC3339.fullmatch(text):
        raise ValueError("must be a timestamp such as 2025-10-24T11:00:00Z")
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("must be a moment that exists") from None
    try:
        return at.astimezone(UTC)
    except OverflowError:  # the first or the last day that can be written, in another zone
        return at.replace(tzinfo=UTC)


def _readable(text: str) -> str:
    moment(text)
    return text


Timestamp = Annotated[Text, AfterValidator(_readable), Field(json_schema_extra={"format": "date-time"})]
"""A text that is kept as it was sent, because a datetime would lose its nanoseconds."""

Connections = Annotated[int, Strict(), Field(ge=0, le=MAX_CONNECTIONS)]


class Snapshot(RequestBody):
    """Connections that are open, and when some last were; what is absent is zero."""

    lastIDEActivity: Timestamp = NEVER  # noqa: N815 - the names of the document
    lastSSHActivity: Timestamp = NEVER  # noqa: N815
    activeIDEConnections: Connections = 0  # noqa: N815
    activeSSHConnections: Connections = 0  # noqa: N815


class Activity(RequestBody):
    """A report; `environmentId` may be absent, and must be that of the path when it is there."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "snapshot": {
                        "lastIDEActivity": "2025-10-24T11:00:00Z",
                        "lastSSHActivity": "2025-10-24T10:55:00Z",
                        "activeIDEConnections": 1,
                        "activeSSHConnections": 0,
                    },
                    "timestamp": "2025-10-24T11:00:00Z",
                }
            ]
        }
    )

    environmentId: Annotated[str | None, Strict()] = None  # noqa: N815
    snapshot: Snapshot
    timestamp: Timestamp


class Recorded(ResponseBody):
    """The report as it was received."""

    message: str = "Activity recorded"
    environmentId: str  # noqa: N815
    snapshot: Snapshot
    timestamp: str


@routes.post("")
@options(max_body=MAX_BODY)
async def report_activity(environment_id: str, body: Activity, caller: Reporter) -> Recorded:
    """Report activity of an environment; one that reports no connections for a while is stopped."""
    if body.environmentId not in (None, environment_id):
        detail = "must be the environment of the path"
        raise InvalidRequest(f"environmentId {detail}", details=[{"field": "environmentId", "message": detail}])
    at = moment(body.timestamp)
    connections = body.snapshot.activeIDEConnections + body.snapshot.activeSSHConnections

    def change(environment: DevEnvironment) -> None:
        caller.check(environment)
        environment.report(at, connections)

    with existing(environment_id):
        await environments.update(caller.reported or environment_id, change)
    return Recorded(environmentId=environment_id, snapshot=body.snapshot, timestamp=body.timestamp)
