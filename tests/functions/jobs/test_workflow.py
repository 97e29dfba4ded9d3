"""The workflow of a job, replayed by hand: how long it waits, and that instances of older versions go on."""

from datetime import UTC, datetime
from typing import Any

import pytest

from functions.jobs.orchestrations import run_job

START = datetime(2026, 1, 1, tzinfo=UTC)


class Timer:
    """A durable timer of so many seconds."""

    is_completed = False

    def __init__(self, seconds: float):
        self.seconds = seconds

    def cancel(self) -> None: ...


class Context:
    """What the workflow asks of Durable Functions; a call of an activity is its name."""

    instance_id = "job-1"
    current_utc_datetime = START

    def get_input(self) -> str:
        return "tests.kind"

    def call_activity_with_retry(self, name: str, retry: Any, value: Any) -> str:
        return name

    def wait_for_external_event(self, name: str) -> str:
        return name

    def create_timer(self, fire_at: datetime) -> Timer:
        return Timer((fire_at - START).total_seconds())

    def task_any(self, tasks: list[Any]) -> list[Any]:
        return tasks


@pytest.mark.parametrize(
    ("created", "limit", "expected"),
    [({"limit": 700, "pauses": [1, 4]}, 700, [1, 4, 4, 4]), (660, 660, [15, 30, 60, 60])],
)
def test_pauses_come_from_the_activity_and_have_a_default_for_older_instances(
    created: Any, limit: int, expected: list[int]
):
    workflow = run_job._function.get_user_function().orchestrator_function(Context())  # type: ignore[attr-defined]
    assert next(workflow) == "job_create"
    waited: list[float] = []
    tasks = workflow.send(created)
    for _ in expected:
        *_, deadline, probe = tasks
        assert deadline.seconds == limit
        waited.append(probe.seconds)
        assert workflow.send(probe) == "job_probe"
        tasks = workflow.send(None)  # still running
    assert waited == expected


def test_a_job_that_is_not_to_run_ends_at_once():
    workflow = run_job._function.get_user_function().orchestrator_function(Context())  # type: ignore[attr-defined]
    next(workflow)
    with pytest.raises(StopIteration):
        workflow.send(None)
