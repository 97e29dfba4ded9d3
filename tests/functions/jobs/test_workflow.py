"""The workflow of a job, replayed by hand: how long it waits, and that instances of older versions go on."""

from datetime import UTC, datetime
from typing import Any

import pytest

from functions.jobs import activities, waiting
from functions.jobs.orchestrations import run_job
from shared import containers
from shared.jobs import Job
from shared.tables.ids import new_id

START = datetime(2026, 1, 1, tzinfo=UTC)


class Timer:
    """A durable timer of so many seconds."""

    is_completed = False

    def __init__(self, seconds: float):
        self.seconds = seconds

    def cancel(self) -> None: ...


class Event(str):
    """The task of an external event, with its name as its text; `result` is the value that it was raised with."""

    is_completed = False
    result: object = None


class Context:
    """What the workflow asks of Durable Functions; a call of an activity is its name."""

    instance_id = "job-1"
    current_utc_datetime = START

    def __init__(self, given: Any = "tests.kind"):
        self.given = given
        self.values: list[Any] = []
        self.continued: Any = None

    def get_input(self) -> Any:
        return self.given

    def continue_as_new(self, value: Any) -> None:
        self.continued = value

    def call_activity_with_retry(self, name: str, retry: Any, value: Any) -> str:
        self.values.append(value)
        return name

    def wait_for_external_event(self, name: str) -> Event:
        return Event(name)

    def create_timer(self, fire_at: datetime) -> Timer:
        return Timer((fire_at - START).total_seconds())

    def task_any(self, tasks: list[Any]) -> list[Any]:
        return tasks

    def task_all(self, tasks: list[Any]) -> list[Any]:
        return tasks


def workflow_of(context: Context) -> Any:
    """The generator of the workflow."""
    return run_job._function.get_user_function().orchestrator_function(context)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("created", "limit", "expected"),
    [({"limit": 700, "pauses": [1, 4]}, 700, [1, 4, 4, 4]), (660, 660, [15, 30, 60, 60])],
)
def test_pauses_come_from_the_first_activity_and_older_instances_keep_the_defaults(
    created: Any, limit: int, expected: list[int]
):
    workflow = workflow_of(Context())
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


@pytest.mark.parametrize("recorded", [True, False, None])
def test_after_the_report_of_an_exit_only_the_removal_is_left_unless_the_end_could_not_be_recorded(
    recorded: bool | None,
):
    context = Context()
    workflow = workflow_of(context)
    next(workflow)
    finished, *_ = workflow.send({"limit": 700, "pauses": [1], "inputs": ["main.py"]})
    finished.is_completed, finished.result = True, recorded
    assert workflow.send(finished) == ("job_remove" if recorded else ["job_end", "job_remove"])
    assert context.values[-1]["inputs"] == ["main.py"]
    with pytest.raises(StopIteration):
        workflow.send(None)


def test_a_job_that_is_not_to_run_ends_after_the_removal_of_what_an_earlier_attempt_may_have_created():
    workflow = workflow_of(Context())
    next(workflow)
    assert workflow.send(None) == "job_remove"
    with pytest.raises(StopIteration):
        workflow.send(None)


def test_a_job_without_room_waits_and_tries_again_in_a_new_execution_of_its_workflow():
    context = Context({"kind": "tests.kind", "waits": 2})
    workflow = workflow_of(context)
    next(workflow)
    assert context.values == [{"id": "job-1", "kind": "tests.kind", "waits": 2}]
    cancel, pause = workflow.send({"wait": 7})
    assert (cancel, pause.seconds) == ("cancel", 7)
    with pytest.raises(StopIteration):
        workflow.send(pause)
    assert context.continued == {"kind": "tests.kind", "waits": 3}


def test_cancelling_a_job_that_waits_ends_it_at_once():
    context = Context()
    workflow = workflow_of(context)
    next(workflow)
    cancel, _ = workflow.send({"wait": 7})
    assert [workflow.send(cancel), workflow.send(None)] == ["job_remove", "job_end"]
    assert context.values[1]["waits"] == 1  # so that it leaves the line
    assert context.values[2]["reason"] == "cancelled"
    with pytest.raises(StopIteration):
        workflow.send(None)
    assert context.continued is None


@pytest.mark.parametrize("answer", ["lost", {"reason": "lost", "message": "Ran out of memory (1.5 GB)"}])
def test_the_reason_of_a_check_is_handed_on_in_the_older_form_too(answer: Any):
    context = Context()
    workflow = workflow_of(context)
    next(workflow)
    *_, probe = workflow.send({"limit": 700, "pauses": [1]})
    workflow.send(probe)
    assert [workflow.send(answer), workflow.send(None)] == ["job_remove", "job_end"]
    expected = answer if isinstance(answer, dict) else {"reason": answer}
    assert context.values[-1] == {"id": "job-1", "kind": "tests.kind", **expected}


PLACED = {"limit": 700, "pauses": [15], "inputs": [], "placed": True}


@pytest.mark.parametrize(("inputs", "removes"), [([], False), (["main.py"], True)])
def test_after_the_exit_of_a_placed_job_nothing_is_removed_but_its_input_files(inputs: list[str], removes: bool):
    workflow = workflow_of(Context())
    next(workflow)
    finished, *_ = workflow.send({**PLACED, "inputs": inputs})
    finished.is_completed, finished.result = True, True
    if removes:
        assert workflow.send(finished) == "job_remove"
        finished = None
    with pytest.raises(StopIteration):
        workflow.send(finished)


def test_a_job_that_has_ended_before_its_workflow_began_needs_nothing_more():
    workflow = workflow_of(Context())
    next(workflow)
    with pytest.raises(StopIteration):
        workflow.send({"ended": True})


def test_a_cancelled_job_in_a_warm_container_is_removed_as_such():
    context = Context()
    workflow = workflow_of(context)
    next(workflow)
    _, cancel, *_ = workflow.send(PLACED)
    assert [workflow.send(cancel), workflow.send(None)] == ["job_remove", "job_end"]
    assert context.values[1]["placed"] is True


def test_a_job_that_its_warm_container_never_took_starts_anew():
    context = Context({"kind": "tests.kind", "waits": 3})
    workflow = workflow_of(context)
    next(workflow)
    *_, probe = workflow.send(PLACED)
    workflow.send(probe)
    with pytest.raises(StopIteration):
        workflow.send({"again": True})
    assert context.continued == {"kind": "tests.kind", "waits": 0}


def test_a_container_that_seems_to_have_ended_is_checked_a_second_later_and_then_as_before():
    workflow = workflow_of(Context())
    next(workflow)
    waited: list[float] = []
    _, _, check, _, probe = workflow.send(PLACED)
    for _ in range(2):
        waited.append(probe.seconds)
        *_, probe = workflow.send(check)
    waited.append(probe.seconds)
    assert workflow.send(probe) == "job_probe"
    *_, probe = workflow.send(None)
    assert [*waited, probe.seconds] == [15, 1, 1, 15]


class AnyKind:
    """A kind whose jobs are all wanted."""

    name = "tests.any"
    takes_turns = False

    async def wanted(self, job_id: str) -> bool:
        return True

    async def waiting(self, job_id: str, reason: str) -> None: ...


@pytest.mark.parametrize("error", [containers.ContainerRefused("403"), containers.ContainersBusy("429")])
async def test_a_job_whose_container_cannot_be_looked_at_goes_on(error: Exception, monkeypatch: pytest.MonkeyPatch):
    async def get(job_id: str) -> Job:
        return Job(id=job_id, kind=AnyKind.name, token_hash="", timeout=60)

    async def refuse(name: str) -> None:
        raise error

    monkeypatch.setattr(activities, "kind_of", lambda name: AnyKind())
    monkeypatch.setattr(activities.jobs, "get", get)
    monkeypatch.setattr(containers, "state", refuse)
    assert await activities.job_probe._function.get_user_function()({"id": "j1", "kind": AnyKind.name}) is None


async def test_a_pause_that_the_service_asks_for_ends_at_the_deadline(account: None, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(waiting, "_closed_until", 0.0)
    monkeypatch.setattr(waiting, "_look_until", 0.0)
    monkeypatch.setenv("RUNYARD_START_DEADLINE", "40")
    waiting.settings.cache_clear()
    job_id = new_id()
    assert await waiting.refused(job_id, AnyKind(), containers.ContainersBusy("full", 300.0)) == 40  # pyright: ignore[reportArgumentType]
    await waiting.leave(job_id)
    monkeypatch.undo()
    waiting.settings.cache_clear()
