"""Orchestrations with the outcome that every engine must give: plain functions, and a table of cases.

They use only the part of the SDK that versions 1.x and 2.x share and nothing of this project, so both can run them.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import azure.durable_functions as df

SOON, LATE = timedelta(milliseconds=50), timedelta(hours=1)
attempts: dict[str, int] = {}


def add_one(number: int) -> int:
    return number + 1


def fail(message: str) -> None:
    raise ValueError(message)


def succeed_at(job: dict[str, Any]) -> int:
    """Fails for each key until its last planned attempt."""
    attempts[job["key"]] = attempts.get(job["key"], 0) + 1
    if attempts[job["key"]] < job["at"]:
        raise ValueError("not yet")
    return attempts[job["key"]]


def counter(ctx: Any) -> None:
    value = ctx.get_state(lambda: 0)
    if ctx.operation_name == "add":
        value += ctx.get_input()
        ctx.set_state(value)
    elif ctx.operation_name == "refuse":
        raise ValueError("refused")
    ctx.set_result(value)


def without_steps(ctx: Any) -> Any:
    return {"got": ctx.get_input()}


def chain(ctx: Any) -> Any:
    value = ctx.get_input()
    for _ in range(3):
        value = yield ctx.call_activity("add_one", value)
    return value


def fan_out(ctx: Any) -> Any:
    return (yield ctx.task_all([ctx.call_activity("add_one", n) for n in range(ctx.get_input())]))


def caught(ctx: Any) -> Any:
    try:
        yield ctx.call_activity("fail", "on purpose")
    except Exception as error:
        return ["on purpose" in str(error), (yield ctx.call_activity("add_one", 1))]


def uncaught(ctx: Any) -> Any:
    yield ctx.call_activity("fail", "on purpose")


def raises(ctx: Any) -> Any:
    yield ctx.call_activity("add_one", 1)
    raise RuntimeError("by itself")


def one_of_many_fails(ctx: Any) -> Any:
    try:
        yield ctx.task_all([ctx.call_activity("add_one", 1), ctx.call_activity("fail", "one of many")])
    except Exception as error:
        return "one of many" in str(error)


def same_task_twice(ctx: Any) -> Any:
    task = ctx.call_activity("add_one", 1)
    return [(yield task), (yield task)]


def any_then_all(ctx: Any) -> Any:
    tasks = [ctx.call_activity("add_one", 1), ctx.wait_for_external_event("later")]
    winner = yield ctx.task_any(tasks)
    return [winner in tasks, (yield ctx.task_all(tasks))]


def retried(ctx: Any) -> Any:
    job = {"key": ctx.instance_id, "at": ctx.get_input()}
    try:
        return (yield ctx.call_activity_with_retry("succeed_at", df.RetryOptions(20, 3), job))
    except Exception as error:
        return "not yet" in str(error)


def retried_beside(ctx: Any) -> Any:
    retry = ctx.call_activity_with_retry("succeed_at", df.RetryOptions(20, 3), {"key": ctx.instance_id, "at": 2})
    return (yield ctx.task_all([retry, ctx.call_activity("add_one", 1), ctx.create_timer(soon(ctx))]))[:2]


def sleeper(ctx: Any) -> Any:
    due = soon(ctx)
    yield ctx.create_timer(due)
    return ctx.current_utc_datetime >= due


def event_or_timer(ctx: Any) -> Any:
    event = ctx.wait_for_external_event("event")
    timer = ctx.create_timer(soon(ctx) if ctx.get_input() == "short" else ctx.current_utc_datetime + LATE)
    winner = yield ctx.task_any([event, timer])
    if winner == timer:
        return "timer"
    timer.cancel()
    return event.result


def same_name_twice(ctx: Any) -> Any:
    yield ctx.create_timer(soon(ctx))
    return [(yield ctx.wait_for_external_event("event")), (yield ctx.wait_for_external_event("event"))]


def parent(ctx: Any) -> Any:
    results = yield ctx.task_all([ctx.call_sub_orchestrator("chain", n) for n in range(3)])
    named = yield ctx.call_sub_orchestrator("without_steps", "x", f"{ctx.instance_id}-child")
    try:
        yield ctx.call_sub_orchestrator("uncaught")
    except Exception as error:
        return [results, named, "on purpose" in str(error)]


def stubborn_parent(ctx: Any) -> Any:
    try:
        yield ctx.call_sub_orchestrator_with_retry("uncaught", df.RetryOptions(20, 2))
    except Exception as error:
        return "on purpose" in str(error)


def countdown(ctx: Any) -> Any:
    left = yield ctx.call_activity("add_one", ctx.get_input())
    if left < 4:
        ctx.continue_as_new(left)
        return None
    return "done"


def entity_user(ctx: Any) -> Any:
    id = df.EntityId("counter", ctx.instance_id)
    ctx.signal_entity(id, "add", 5)
    first = yield ctx.call_entity(id, "add", 2)
    try:
        yield ctx.call_entity(id, "refuse")
    except Exception as error:
        return [first, "refused" in str(error), (yield ctx.call_entity(id, "get"))]


def reporter(ctx: Any) -> Any:
    ctx.set_custom_status({"step": 1})
    yield ctx.call_activity("add_one", 1)
    ctx.set_custom_status({"step": 2})


def soon(ctx: Any) -> Any:
    return ctx.current_utc_datetime + SOON


ACTIVITIES: list[Callable[..., Any]] = [add_one, fail, succeed_at]
ENTITIES: list[Callable[..., Any]] = [counter]


@dataclass(frozen=True)
class Case:
    """An orchestrator, its input and events, and its expected outcome."""

    orchestrator: Callable[[Any], Any]
    input: Any = None
    events: list[tuple[str, Any]] = field(default_factory=list)  # raised in this order, immediately after the start
    output: Any = None  # expected output of a completed instance
    status: str = "Completed"
    custom_status: Any = None
    # The types of the history events at the last replay, without 12 and 13, when only one order is possible.
    history: str | None = None


CASES = {
    "no steps": Case(without_steps, [1, "x", None], output={"got": [1, "x", None]}, history="0"),
    "no input": Case(without_steps, output={"got": None}, history="0"),
    "chain": Case(chain, 4, output=7, history="0 4 5 4 5 4 5"),
    "fan-out": Case(fan_out, 20, output=list(range(1, 21))),
    "caught failure": Case(caught, output=[True, 2], history="0 4 6 4 5"),
    "uncaught failure": Case(uncaught, status="Failed", history="0 4 6"),
    "own failure": Case(raises, status="Failed", history="0 4 5"),
    "one of many fails": Case(one_of_many_fails, output=True),
    "a task yielded twice": Case(same_task_twice, output=[2, 2], history="0 4 5"),
    "any, then all": Case(any_then_all, events=[("later", "x")], output=[True, [2, "x"]]),
    "retry not needed": Case(retried, 1, output=1, history="0 4 5"),
    "retry that succeeds": Case(retried, 3, output=3, history="0 4 6 10 11 4 6 10 11 4 5"),
    "retry that does not": Case(retried, 9, output=True, history="0 4 6 10 11 4 6 10 11 4 6 10 11"),
    "retry beside others": Case(retried_beside, output=[2, 2]),
    "timer": Case(sleeper, output=True, history="0 10 11"),
    "event before timer": Case(event_or_timer, events=[("event", {"a": 1})], output={"a": 1}, history="0 10 15"),
    "timer before event": Case(event_or_timer, "short", output="timer", history="0 10 11"),
    "early events of one name": Case(
        same_name_twice, events=[("event", 1), ("event", 2)], output=[1, 2], history="0 10 11 15 15"
    ),
    "sub-orchestrations": Case(parent, output=[[3, 4, 5], {"got": "x"}, True]),
    "retried sub-orchestration": Case(stubborn_parent, output=True, history="0 7 9 10 11 7 9 10 11"),
    "continue as new": Case(countdown, 1, output="done", history="0 4 5"),
    "entities": Case(entity_user, output=[7, True, 7], history="0 14 14 15 14 15 14 15"),
    "custom status": Case(reporter, custom_status={"step": 2}, history="0 4 5"),
}
ORCHESTRATORS = list({case.orchestrator.__name__: case.orchestrator for case in CASES.values()}.values())
