"""What orchestrations written with the SDK may rely on."""

import uuid
from collections.abc import Awaitable, Callable, Generator
from datetime import timedelta
from typing import Any

import azure.durable_functions as df
import pytest

from tests.infra.local.durable.harness import Functions, Hub

Context = Any  # in the SDK's own annotations every input may be None
Steps = Generator[Any, Any, Any]
app = df.DFApp()
attempts: dict[str, int] = {}
SOON = timedelta(milliseconds=30)
LATE = timedelta(hours=1)


@app.activity_trigger(input_name="name")
def hello(name: str) -> str:
    return f"Hello {name}!"


@app.activity_trigger(input_name="number")
async def double(number: int) -> int:
    return number * 2


@app.activity_trigger(input_name="message")
def refuse(message: str) -> None:
    raise ValueError(message)


@app.activity_trigger(input_name="job")
def flaky(job: dict[str, Any]) -> int:
    """Fails until it has been called `good_at` times for this key."""
    attempts[job["key"]] = attempts.get(job["key"], 0) + 1
    if attempts[job["key"]] < job["good_at"]:
        raise ValueError(f"attempt {attempts[job['key']]}")
    return attempts[job["key"]]


@app.orchestration_trigger(context_name="ctx")
def chain(ctx: Context) -> Steps:
    results = []
    for name in ctx.get_input() or []:
        results.append((yield ctx.call_activity("hello", name)))
    return results


@app.orchestration_trigger(context_name="ctx")
def fan_out(ctx: Context) -> Steps:
    doubles = yield ctx.task_all([ctx.call_activity("double", n) for n in range(ctx.get_input())])
    return sum(doubles)


@app.orchestration_trigger(context_name="ctx")
def caught(ctx: Context) -> Steps:
    try:
        yield ctx.call_activity("refuse", "no luck")
    except Exception as error:
        after = yield ctx.call_activity("double", 21)
        return [str(error), after]


@app.orchestration_trigger(context_name="ctx")
def uncaught(ctx: Context) -> Steps:
    yield ctx.call_activity("refuse", "no luck")


@app.orchestration_trigger(context_name="ctx")
def at_once(ctx: Context) -> int:
    return ctx.get_input()["n"] + 1


@app.orchestration_trigger(context_name="ctx")
def sleeper(ctx: Context) -> Steps:
    before = ctx.current_utc_datetime
    yield ctx.create_timer(before + SOON)
    return ctx.current_utc_datetime >= before + SOON


@app.orchestration_trigger(context_name="ctx")
def approval(ctx: Context) -> Steps:
    timeout = ctx.create_timer(ctx.current_utc_datetime + (SOON if ctx.get_input() == "hurry" else LATE))
    answer = ctx.wait_for_external_event("answer")
    winner = yield ctx.task_any([answer, timeout])
    if winner == timeout:
        return "too late"
    timeout.cancel()
    return answer.result


@app.orchestration_trigger(context_name="ctx")
def two_answers(ctx: Context) -> Steps:
    yield ctx.create_timer(ctx.current_utc_datetime + SOON)
    first = yield ctx.wait_for_external_event("answer")
    second = yield ctx.wait_for_external_event("answer")
    return [first, second]


@app.orchestration_trigger(context_name="ctx")
def forever(ctx: Context) -> Steps:
    yield ctx.wait_for_external_event("never")


@app.orchestration_trigger(context_name="ctx")
def parent(ctx: Context) -> Steps:
    first = yield ctx.call_sub_orchestrator("chain", ["a"])
    second = yield ctx.call_sub_orchestrator("chain", ["b"], f"{ctx.instance_id}-b")
    try:
        yield ctx.call_sub_orchestrator("uncaught", None)
    except Exception as error:
        return [first, second, str(error)]


@app.orchestration_trigger(context_name="ctx")
def countdown(ctx: Context) -> Steps:
    left = ctx.get_input()
    yield ctx.call_activity("double", left)
    if left:
        ctx.continue_as_new(left - 1)
        return None
    return "lift off"


@app.orchestration_trigger(context_name="ctx")
def mailbox(ctx: Context) -> Steps:
    """Takes one letter per execution."""
    letters = ctx.get_input()
    letters.append((yield ctx.wait_for_external_event("letter")))
    if len(letters) == 3:
        return letters
    ctx.continue_as_new(letters)


@app.orchestration_trigger(context_name="ctx")
def persistent(ctx: Context) -> Steps:
    job = ctx.get_input()
    options = df.RetryOptions(20, job["attempts"])
    retried = ctx.call_activity_with_retry("flaky", options, job)
    ctx.set_custom_status({"attempts": job["attempts"]})
    try:
        result = yield ctx.task_all([retried, ctx.call_activity("double", 4)])
    except Exception as error:
        return str(error)
    return result


@app.orchestration_trigger(context_name="ctx")
def persistent_child(ctx: Context) -> Steps:
    options = df.RetryOptions(20, 2)
    try:
        yield ctx.call_sub_orchestrator_with_retry("uncaught", options)
    except Exception as error:
        return str(error)


functions = Functions(app)


@pytest.fixture(params=[0, 1, 2], ids=["V1", "V2", "V3"])
async def hub(request: pytest.FixtureRequest, new_hub: Callable[..., Awaitable[Hub]]) -> Hub:
    return await new_hub(functions, schema=request.param)


async def test_activities_run_one_after_the_other(hub: Hub):
    status = await hub.run("chain", ["Tokyo", "Paris"])
    assert (status.status, status.output) == ("Completed", ["Hello Tokyo!", "Hello Paris!"])


async def test_activities_run_side_by_side(hub: Hub):
    assert (await hub.run("fan_out", 50)).output == 2450


async def test_an_orchestrator_without_steps_completes(hub: Hub):
    assert (await hub.run("at_once", {"n": 1})).output == 2


async def test_a_failed_activity_raises_in_the_orchestrator(hub: Hub):
    text, after = (await hub.run("caught")).output
    assert "Activity function 'refuse' failed: ValueError: no luck" in text
    assert after == 42


async def test_an_error_nobody_catches_fails_the_instance(hub: Hub):
    status = await hub.run("uncaught")
    assert status.status == "Failed"
    assert "Orchestrator function 'uncaught' failed" in status.output
    assert "no luck" in status.output


async def test_time_goes_on_while_a_timer_runs(hub: Hub):
    assert (await hub.run("sleeper")).output is True


async def test_an_event_wins_over_a_timer(hub: Hub):
    id = await hub.client.start_new("approval")
    await hub.client.raise_event(id, "answer", {"yes": True})
    assert (await hub.finished(id)).output == '{"yes": true}'  # the SDK sends events as text


async def test_a_timer_wins_over_an_event(hub: Hub):
    assert (await hub.run("approval", "hurry")).output == "too late"


async def test_early_events_wait_for_their_turn(hub: Hub):
    id = await hub.client.start_new("two_answers")
    await hub.client.raise_event(id, "answer", 1)
    await hub.client.raise_event(id, "answer", 2)
    assert (await hub.finished(id)).output == ["1", "2"]


async def test_sub_orchestrations_give_results_and_errors(hub: Hub):
    id = await hub.client.start_new("parent")
    first, second, error = (await hub.finished(id)).output
    assert (first, second) == (["Hello a!"], ["Hello b!"])
    assert "no luck" in error
    assert (await hub.finished(f"{id}-b")).output == ["Hello b!"]


async def test_continue_as_new_starts_over_with_new_input(hub: Hub):
    status = await hub.run("countdown", 3)
    assert (status.status, status.output, status.input) == ("Completed", "lift off", 0)


async def test_events_survive_continue_as_new(hub: Hub):
    id = await hub.client.start_new("mailbox", client_input=[])
    for letter in "abc":
        await hub.client.raise_event(id, "letter", letter)
    assert (await hub.finished(id)).output == ['"a"', '"b"', '"c"']


async def test_a_retry_succeeds_beside_another_task(hub: Hub):
    key = uuid.uuid4().hex
    job = {"key": key, "good_at": 3, "attempts": 5}
    status = await hub.run("persistent", job)
    assert (status.output, status.custom_status) == ([3, 8], {"attempts": 5})


async def test_a_retry_gives_up_after_its_last_attempt(hub: Hub):
    key = uuid.uuid4().hex
    job = {"key": key, "good_at": 9, "attempts": 3}
    assert "attempt 3" in (await hub.run("persistent", job)).output
    assert attempts[key] == 3


async def test_a_sub_orchestration_is_retried(hub: Hub):
    id = await hub.client.start_new("persistent_child")
    assert "no luck" in (await hub.finished(id)).output
    assert len(await hub.client.get_status_by(instance_id_prefix="")) == 3  # the parent, two attempts


async def test_a_terminated_instance_stays_terminated(hub: Hub):
    id = await hub.client.start_new("forever")
    await hub.reached(id, "Running")
    await hub.client.terminate(id, "enough of it")
    status = await hub.finished(id)
    assert (status.status, status.output) == ("Terminated", "enough of it")


async def test_a_purged_instance_is_gone(hub: Hub):
    id = (await hub.run("chain", [])).id
    assert (await hub.client.purge_instance_history(id)).instances_deleted == 1
    assert await hub.status(id) is None
    assert (await hub.client.purge_instance_history(id)).instances_deleted == 0


async def test_a_stopped_engine_goes_on_where_it_was(hub: Hub):
    id = await hub.client.start_new("approval")
    await hub.reached(id, "Running")
    await hub.restart_engine()
    await hub.client.raise_event(id, "answer", "yes")
    assert (await hub.finished(id)).output == '"yes"'
