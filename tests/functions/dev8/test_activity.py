"""Reports of activity: what is accepted, echoed and stored, and what they cost."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from functions.dev8.access import Identity
from functions.dev8.activity import Activity, moment, report_activity
from functions.dev8.environments import list_environments
from functions.dev8.records import CREATING, ERROR, RUNNING, STARTING, STOPPED, CloudProvider, DevEnvironment
from functions.dev8.store import environments
from functions.dev8.timers import stop_idle
from shared.workflows import WorkflowClient
from tests.support.dev8 import PATH, Dev8, refused
from tests.support.records import Counting
from tests.support.values import UNKNOWN

NOW = datetime.now(UTC)


def environment(**members: Any) -> DevEnvironment:
    given: dict[str, Any] = {
        "name": "x", "cloud_provider": CloudProvider.AZURE, "cloud_region": "eastus", "cpu_cores": 1, "memory_gb": 1,
        "storage_gb": 10, "base_image": "x", "in_creation": False, "status": RUNNING,
    }  # fmt: skip
    return DevEnvironment(**{**given, **members})


@pytest.fixture
async def made(app: None) -> DevEnvironment:
    """An environment that has a record and nothing else."""
    return await environments.insert(environment(status=STOPPED))


async def stored(made: DevEnvironment) -> DevEnvironment:
    return await environments.get(made.id)


class TestReport:
    async def test_the_texts_are_echoed_as_they_were_sent(self, dev8: Dev8, made: DevEnvironment):
        snapshot = {
            "lastIDEActivity": "2025-10-24T13:00:00.123456789+02:00", "lastSSHActivity": "0001-01-01T00:00:00Z",
            "activeIDEConnections": 1, "activeSSHConnections": 0,
        }  # fmt: skip
        body = {"environmentId": made.id, "snapshot": snapshot, "timestamp": "2025-10-24T11:00:00.1Z"}
        answer = await dev8.http.post(f"{PATH}/{made.id}/activity", json=body)
        assert (answer.status_code, answer.json()) == (200, {"message": "Activity recorded", **body})

    async def test_absent_members_of_the_snapshot_are_zero(self, dev8: Dev8, made: DevEnvironment):
        answer = await dev8.report(made.id, snapshot={})
        assert answer.json()["snapshot"] == {
            "lastIDEActivity": "0001-01-01T00:00:00Z", "lastSSHActivity": "0001-01-01T00:00:00Z",
            "activeIDEConnections": 0, "activeSSHConnections": 0,
        }  # fmt: skip

    @pytest.mark.parametrize(
        ("members", "message"),
        [
            ({"snapshot": None}, "snapshot should be a valid dictionary"),
            ({"snapshot": {"activeIDEConnections": -1}}, "snapshot.activeIDEConnections should be greater than"),
            ({"snapshot": {"activeSSHConnections": "1"}}, "snapshot.activeSSHConnections should be a valid integer"),
            ({"snapshot": {"activeIDEConnections": 1.5}}, "snapshot.activeIDEConnections should be a valid integer"),
            ({"snapshot": {"lastIDEActivity": "yesterday"}}, "snapshot.lastIDEActivity must be a timestamp such as"),
            ({"snapshot": {"lastSSHActivity": 5}}, "snapshot.lastSSHActivity should be a valid string"),
            ({"timestamp": None}, "timestamp should be a valid string"),
            ({"timestamp": "2025-02-30T00:00:00Z"}, "timestamp must be a moment that exists"),
            ({"timestamp": "2025-10-24"}, "timestamp must be a timestamp such as"),
            ({"timestamp": "2025-10-24T11:00:00"}, "timestamp must be a timestamp such as"),
            ({"timestamp": "2025-10-24t11:00:00z"}, "timestamp must be a timestamp such as"),
            ({"timestamp": "2025-10-24T25:00:00Z"}, "timestamp must be a moment that exists"),
            ({"environmentId": f"env-{UNKNOWN}"}, "environmentId must be the environment of the path"),
        ],
    )
    async def test_a_wrong_member_is_400(self, dev8: Dev8, made: DevEnvironment, members: dict[str, Any], message: str):
        assert refused(await dev8.report(made.id, **members), 400, "INVALID_REQUEST").startswith(message)
        assert (await stored(made)).reported_at is None

    @pytest.mark.parametrize("body", [{}, {"snapshot": {}}, {"timestamp": "2025-10-24T11:00:00Z"}])
    async def test_an_absent_member_is_400(self, dev8: Dev8, made: DevEnvironment, body: dict[str, Any]):
        refused(await dev8.http.post(f"{PATH}/{made.id}/activity", json=body), 400, "INVALID_REQUEST")
        refused(await dev8.http.post(f"{PATH}/{made.id}/activity"), 400, "INVALID_REQUEST")

    async def test_an_unknown_environment_is_404(self, dev8: Dev8):
        refused(await dev8.report("env-0190f7a2000070008000000000000000"), 404, "NOT_FOUND")

    async def test_the_last_access_is_stored_in_utc_and_goes_neither_backwards_nor_ahead_of_now(
        self, dev8: Dev8, made: DevEnvironment
    ):
        early = made.created_at + timedelta(milliseconds=1, microseconds=7)
        text = early.astimezone().isoformat()
        assert (await dev8.report(made.id, timestamp=text)).status_code == 200
        assert (await stored(made)).last_accessed_at == early
        await dev8.report(made.id, timestamp="2025-10-24T11:00:00Z")
        assert (await stored(made)).last_accessed_at == early
        await dev8.report(made.id, timestamp="2999-01-01T00:00:00Z")
        found = await stored(made)
        assert early < found.last_accessed_at <= datetime.now(UTC)
        assert found.updated_at > made.updated_at
        assert found.status is STOPPED

    @pytest.mark.parametrize(
        ("text", "at"),
        [
            ("2025-10-24T13:00:00.123456789+02:00", datetime(2025, 10, 24, 11, 0, 0, 123456, UTC)),
            ("0001-01-01T00:00:00Z", datetime(1, 1, 1, tzinfo=UTC)),
            ("0001-01-01T00:00:00+14:00", datetime(1, 1, 1, tzinfo=UTC)),
            ("9999-12-31T23:59:59-14:00", datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)),
        ],
    )
    def test_a_moment_is_read_in_any_zone(self, text: str, at: datetime):
        assert moment(text) == at


class TestIdleness:
    """The record's own rules."""

    def test_a_report_of_no_connections_begins_it_and_any_other_ends_it(self):
        found = environment()
        found.report(NOW, 0)
        assert found.idle_since is not None
        found.report(NOW + timedelta(seconds=1), 2)
        assert found.idle_since is None

    def test_an_older_report_changes_nothing(self):
        found = environment()
        found.report(NOW, 1)
        found.report(NOW - timedelta(minutes=1), 0)
        assert (found.idle_since, found.last_accessed_at >= found.created_at) == (None, True)

    @pytest.mark.parametrize("status", [STOPPED, ERROR])
    def test_only_an_environment_that_runs_or_is_about_to_is_idle(self, status: Any):
        found = environment(status=status)
        found.report(NOW, 0)
        assert found.idle_since is None

    @pytest.mark.parametrize("status", [CREATING, STARTING])
    def test_a_report_before_it_is_known_to_run_counts(self, status: Any):
        found = environment(status=status)
        found.report(NOW, 0)
        found.enter(RUNNING)
        assert found.idle_since is not None

    def test_a_stop_and_a_start_end_it(self):
        found = environment()
        found.report(NOW, 0)
        found.begin_stop()
        found.enter(STOPPED)
        assert found.idle_since is None
        found.begin_start()
        found.enter(RUNNING)
        assert found.idle_since is None

    def test_one_whose_stop_is_refused_stays_idle_with_its_address_or_in_use(self):
        found = environment(ip="127.8.0.1", fqdn="its.name")
        found.report(NOW, 0)
        found.begin_stop()
        found.enter(RUNNING, "refused")
        assert (found.ip, found.fqdn, found.idle_since is None) == ("127.8.0.1", "its.name", False)
        found.begin_stop()
        found.report(NOW + timedelta(seconds=1), 1)
        found.enter(RUNNING, "refused")
        assert found.idle_since is None


class TestCosts:
    async def test_reports_lists_and_the_idle_timer_cost_the_same_among_few_and_many(self, counting: Counting):
        made = await environments.insert(environment())
        body = Activity.model_validate({"snapshot": {"activeIDEConnections": 1}, "timestamp": "2025-10-24T11:00:00Z"})
        for number in (5, 60):
            for _ in range(number):
                await environments.insert(environment())
            await environments.totals({})  # what a process reads once
            for work, expected in (
                (lambda: report_activity(made.id, body, Identity()), {"get": 1, "batch": 1}),
                (lambda: list_environments(Identity()), {"query": 2}),
                (lambda: list_environments(Identity("default-user")), {"query": 2}),
                (lambda: stop_idle(NoWorkflows()), {"query": 1}),
            ):
                body.timestamp = f"2025-10-24T11:{number - 1:02}:00Z"
                counting.reset()
                await work()
                assert dict(counting.calls) == expected, number


class NoWorkflows(WorkflowClient):
    """Nothing may be started."""

    def __init__(self) -> None: ...
