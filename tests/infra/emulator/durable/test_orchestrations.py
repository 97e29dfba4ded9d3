"""Behaviour of orchestrations that the table of cases does not cover."""

import asyncio
import contextlib
import math
import sqlite3
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Generator
from datetime import timedelta
from typing import Any

import azure.durable_functions as df
import pytest

from tests.infra.emulator.durable.harness import Functions, TaskHub, eventually

Steps = Generator[Any, Any, Any]
app = df.DFApp()
attempts: Counter[str] = Counter()
gate = asyncio.Event()


@app.activity_trigger(input_name="message")
def refuse(message: str) -> None:
    attempts[message] += 1
    raise ValueError(message)


@app.activity_trigger(input_name="value")
async def held(value: Any) -> Any:
    """Ends when the gate is opened."""
    attempts["held"] += 1
    await gate.wait()
    return value


@app.activity_trigger(input_name="what")
def strange(what: str) -> Any:
    return {"nan": math.nan, "half": "\ud800", "big": 2**70, "none": None}[what]


@app.orchestration_trigger(context_name="ctx")
def caught(ctx: Any) -> Steps:
    try:
        yield ctx.call_activity("refuse", "no luck")
    except Exception as error:
        return str(error)


@app.orchestration_trigger(context_name="ctx")
def uncaught(ctx: Any) -> Steps:
    yield ctx.call_activity("refuse", ctx.get_input())


@app.orchestration_trigger(context_name="ctx")
def missing(ctx: Any) -> Steps:
    yield ctx.call_activity("not_there", 1)


@app.orchestration_trigger(context_name="ctx")
def passes(ctx: Any) -> Steps:
    return (yield ctx.call_activity("strange", ctx.get_input()))


@app.orchestration_trigger(context_name="ctx")
def sleeper(ctx: Any) -> Steps:
    yield ctx.create_timer(ctx.current_utc_datetime + timedelta(milliseconds=ctx.get_input()))
    return ctx.version


@app.orchestration_trigger(context_name="ctx")
def listener(ctx: Any) -> Steps:
    return (yield ctx.wait_for_external_event("event"))


@app.orchestration_trigger(context_name="ctx")
def canceller(ctx: Any) -> Steps:
    """Cancels a timer, and runs longer than that timer would have."""
    due = ctx.current_utc_datetime + timedelta(milliseconds=300)
    timer = ctx.create_timer(due)
    yield ctx.task_any([ctx.wait_for_external_event("event"), timer])
    timer.cancel()
    yield ctx.create_timer(due + timedelta(milliseconds=50))


@app.orchestration_trigger(context_name="ctx")
def mailbox(ctx: Any) -> Steps:
    """Waits for one letter in each execution."""
    letters = [*ctx.get_input(), (yield ctx.wait_for_external_event("letter"))]
    if len(letters) == 3:
        return letters
    ctx.continue_as_new(letters)


@app.orchestration_trigger(context_name="ctx")
def hasty(ctx: Any) -> Steps:
    """Ends before the activity it started."""
    slow = ctx.call_activity("held", 1)
    quick = ctx.create_timer(ctx.current_utc_datetime)
    yield ctx.task_any([slow, quick])
    return "ended"


@app.orchestration_trigger(context_name="ctx")
def forgetful(ctx: Any) -> Steps:
    """Continues as new while an activity runs, and then waits for an activity with the same id."""
    held = ctx.call_activity("held", ctx.get_input())
    if ctx.get_input() == "new":
        return (yield held)
    yield ctx.task_any([held, ctx.create_timer(ctx.current_utc_datetime)])
    ctx.continue_as_new("new")


@app.orchestration_trigger(context_name="ctx")
def keeper(ctx: Any) -> Steps:
    return (yield ctx.call_activity("held", ctx.get_input()))


@app.orchestration_trigger(context_name="ctx")
def parent(ctx: Any) -> Steps:
    """Starts the sub-orchestration `name` with the id `id`; returns its error when it fails."""
    name, id = ctx.get_input()
    try:
        return (yield ctx.call_sub_orchestrator(name, None, id))
    except Exception as error:
        return str(error)


@app.orchestration_trigger(context_name="ctx")
def stubborn_parent(ctx: Any) -> Steps:
    yield ctx.call_sub_orchestrator_with_retry("uncaught", df.RetryOptions(5, 3), ctx.get_input())


functions = Functions(app)


@pytest.fixture
async def hub(new_hub: Callable[..., Awaitable[TaskHub]]) -> TaskHub:
    gate.clear()
    attempts.clear()
    return await new_hub(functions)


async def test_an_error_names_its_activity(hub: TaskHub):
    assert "Activity function 'refuse' failed: ValueError: no luck" in (await hub.run("caught")).output


async def test_an_uncaught_error_is_the_output(hub: TaskHub):
    status = await hub.run("uncaught", "no luck")
    assert status.status == "Failed"
    assert status.output.startswith("Orchestrator function 'uncaught' failed: ")
    assert "no luck" in status.output


async def test_an_activity_that_does_not_exist_is_an_error(hub: TaskHub):
    assert "'not_there' does not exist" in (await hub.run("missing")).output


@pytest.mark.parametrize(("what", "value"), [("half", "\ud800"), ("big", 2**70), ("none", None)])
async def test_values_that_only_python_has_are_preserved(hub: TaskHub, what: str, value: Any):
    assert (await hub.run("passes", what)).output == value


async def test_nan_is_preserved_too(hub: TaskHub):
    assert math.isnan((await hub.run("passes", "nan")).output)


async def test_the_sdk_sends_events_as_text(hub: TaskHub):
    id = await hub.client.start_new("listener")
    await hub.client.raise_event(id, "event", {"yes": True})
    assert (await hub.finished(id)).output == '{"yes": true}'


async def test_events_survive_continue_as_new(hub: TaskHub):
    id = await hub.client.start_new("mailbox", client_input=[])
    for letter in "abc":
        await hub.client.raise_event(id, "letter", letter)
    status = await hub.finished(id)
    assert (status.output, status.input) == (['"a"', '"b"', '"c"'], ['"a"', '"b"'])


async def test_the_version_of_an_instance_reaches_its_orchestrator(hub: TaskHub):
    id = await hub.client.start_new("sleeper", None, 0, "2.1")
    assert (await hub.finished(id)).output == "2.1"


async def test_a_timer_that_was_due_while_the_engine_was_stopped_fires_at_its_start(hub: TaskHub):
    id = await hub.client.start_new("sleeper", client_input=300)
    await hub.reached(id, "Running")
    await hub.stop()
    due = time.monotonic() + 0.4
    await eventually(lambda: time.monotonic() > due)
    await hub.start()
    assert (await hub.finished(id)).status == "Completed"


async def test_a_cancelled_timer_does_not_fire(hub: TaskHub):
    id = await hub.client.start_new("canceller")
    await hub.client.raise_event(id, "event")
    await hub.finished(id)
    status = await hub.status(id, show_history=True)
    assert status
    kinds = Counter(entry["EventType"] for entry in status.history)
    assert (kinds["TimerCreated"], kinds["TimerFired"]) == (1, 1)


async def test_an_event_reaches_an_instance_that_waited_during_a_restart(hub: TaskHub):
    id = await hub.client.start_new("listener")
    await hub.reached(id, "Running")
    await hub.restart_engine()
    await hub.client.raise_event(id, "event", "yes")
    assert (await hub.finished(id)).output == '"yes"'


async def test_an_activity_that_was_running_when_the_engine_stopped_runs_again(hub: TaskHub):
    id = await hub.client.start_new("keeper", client_input="kept")
    await eventually(lambda: attempts["held"] == 1)
    await hub.restart_engine()
    await eventually(lambda: attempts["held"] == 2)
    gate.set()
    assert (await hub.finished(id)).output == "kept"


async def test_results_of_an_earlier_execution_do_not_reach_this_one(hub: TaskHub):
    id = await hub.client.start_new("forgetful", client_input="old")
    await eventually(lambda: attempts["held"] == 2)
    gate.set()
    assert (await hub.finished(id)).output == "new"


async def test_a_result_after_the_end_of_the_orchestration_changes_nothing(hub: TaskHub):
    ended = await hub.run("hasty")
    assert ended.output == "ended"
    gate.set()
    await hub.run("keeper", 1)  # the other activity ran before
    assert await hub.status(ended.id) == ended
    await hub.stop()
    with contextlib.closing(sqlite3.connect(hub.database)) as database:
        assert database.execute("SELECT count(*) FROM message").fetchone() == (0,)


async def test_a_terminated_instance_stays_terminated(hub: TaskHub):
    id = await hub.client.start_new("listener")
    await hub.reached(id, "Running")
    await hub.client.terminate(id, "enough of it")
    status = await hub.finished(id)
    assert (status.status, status.output) == ("Terminated", "enough of it")


async def test_a_step_is_discarded_when_its_instance_is_terminated_meanwhile(hub: TaskHub):
    id = await hub.client.start_new("keeper", client_input=1)
    await eventually(lambda: attempts["held"] == 1)
    await hub.client.terminate(id, "now")
    gate.set()
    await hub.run("keeper", 1)
    assert (await hub.finished(id)).status == "Terminated"


async def test_a_terminated_sub_orchestration_is_an_error_of_its_parent(hub: TaskHub):
    child = uuid.uuid4().hex
    id = await hub.client.start_new("parent", client_input=["listener", child])
    await hub.reached(child, "Running")
    await hub.client.terminate(child, "enough of it")
    assert "enough of it" in (await hub.finished(id)).output


async def test_a_sub_orchestration_cannot_take_the_id_of_one_that_runs(hub: TaskHub):
    await hub.client.start_new("listener", "taken")
    assert "already running" in (await hub.run("parent", ["listener", "taken"])).output
    await hub.client.terminate("taken", "")
    id = await hub.client.start_new("parent", client_input=["listener", "taken"])
    await hub.reached("taken", "Running")
    await hub.client.raise_event("taken", "event", 1)
    assert (await hub.finished(id)).output == "1"


async def test_retried_sub_orchestrations_are_instances_of_their_own(hub: TaskHub):
    assert (await hub.run("stubborn_parent", "again")).status == "Failed"
    assert attempts["again"] == 3
    names = Counter(status.name for status in await hub.client.get_status_all())
    assert names == {"stubborn_parent": 1, "uncaught": 3}


async def test_a_purged_instance_is_not_found(hub: TaskHub):
    id = (await hub.run("caught")).id
    assert (await hub.client.purge_instance_history(id)).instances_deleted == 1
    assert await hub.status(id) is None
    assert (await hub.client.purge_instance_history(id)).instances_deleted == 0
