"""Random orchestrations, and their results by a direct evaluation."""

import asyncio
import random
import uuid
from collections import Counter
from collections.abc import Generator
from datetime import timedelta
from typing import Any

import azure.durable_functions as df

from tests.infra.emulator.durable.harness import Functions, TaskHub

Step = dict[str, Any]
app = df.DFApp()
attempts: Counter[str] = Counter()


@app.activity_trigger(input_name="value")
async def same(value: Any) -> Any:
    await asyncio.sleep(random.random() / 100)
    return value


@app.activity_trigger(input_name="job")
def succeeds_at(job: dict[str, Any]) -> str:
    attempts[job["key"]] += 1
    if attempts[job["key"]] < job["good_at"]:
        raise ValueError("not yet")
    return "succeeded"


@app.entity_trigger(context_name="ctx")
def cell(ctx: Any) -> None:
    if ctx.operation_name == "refuse":
        raise ValueError("no")
    ctx.set_state(ctx.get_input())
    ctx.set_result(ctx.get_state())


@app.orchestration_trigger(context_name="ctx")
def program(ctx: Any) -> Generator[Any, Any, Any]:
    results = []
    for number, step in enumerate(ctx.get_input()):
        try:
            if step["do"] == "signal":
                ctx.signal_entity(df.EntityId("cell", ctx.instance_id.replace(":", "-")), "put", 1)
                results.append("signalled")
            elif step["do"] == "any":
                late = ctx.create_timer(ctx.current_utc_datetime + timedelta(hours=1))
                winner = yield ctx.task_any([task(ctx, step["of"], f"{number}"), late])
                late.cancel()
                results.append("failed" if isinstance(winner.result, Exception) else winner.result)
            else:
                results.append((yield task(ctx, step, f"{number}")))
        except Exception:
            results.append("failed")
    return results


def task(ctx: Any, step: Step, path: str) -> Any:
    match step["do"]:
        case "activity":
            return ctx.call_activity("same", step["value"])
        case "retry":
            job = {"key": f"{ctx.instance_id} {path}", "good_at": step["good_at"]}
            return ctx.call_activity_with_retry("succeeds_at", df.RetryOptions(step["ms"], step["attempts"]), job)
        case "timer":
            return ctx.create_timer(ctx.current_utc_datetime + timedelta(milliseconds=step["ms"]))
        case "program":
            return ctx.call_sub_orchestrator("program", step["steps"])
        case "entity":
            id = df.EntityId("cell", f"{ctx.instance_id} {path}".replace(":", "-"))
            return ctx.call_entity(id, step["operation"], step["value"])
        case "all":
            return ctx.task_all([task(ctx, one, f"{path}-{n}") for n, one in enumerate(step["of"])])
    raise AssertionError(step)


def made(dice: random.Random, depth: int = 2) -> list[Step]:
    """A random program."""
    return [any_step(dice, depth) for _ in range(dice.randint(1, 5))]


def any_step(dice: random.Random, depth: int) -> Step:
    kind = dice.choice(["single", "single", "all", "all", "any", "signal"])
    if kind == "all":
        return {"do": "all", "of": [part(dice, depth) for _ in range(dice.randint(1, 4))]}
    if kind == "any":
        return {"do": "any", "of": part(dice, depth)}
    return {"do": "signal"} if kind == "signal" else part(dice, depth)


def part(dice: random.Random, depth: int) -> Step:
    kinds = ["activity", "activity", "retry", "retry", "timer", "entity", "all"]
    match dice.choice([*kinds, "program"] if depth else kinds):
        case "activity":
            return {"do": "activity", "value": dice.choice([1, "two", [3], {"four": 4}])}
        case "retry":
            options = {"attempts": dice.randint(1, 3), "good_at": dice.randint(1, 4), "ms": dice.randint(1, 30)}
            return {"do": "retry", **options}
        case "timer":
            return {"do": "timer", "ms": dice.randint(0, 30)}
        case "entity":
            return {"do": "entity", "operation": dice.choice(["put", "refuse"]), "value": dice.randint(0, 9)}
        case "all":
            # Only of steps that cannot fail: in the SDK, a failed group inside a group completes a second time later.
            return {"do": "all", "of": [{"do": "activity", "value": n} for n in range(dice.randint(1, 3))]}
    return {"do": "program", "steps": made(dice, depth - 1)}


class Fails(Exception):
    """This part of a program fails."""


def expected(program: list[Step]) -> list[Any]:
    """The result of a program, evaluated without an engine."""
    results = []
    for step in program:
        try:
            results.append("signalled" if step["do"] == "signal" else value(step))
        except Fails:
            results.append("failed")
    return results


def value(step: Step) -> Any:
    match step["do"]:
        case "activity":
            return step["value"]
        case "retry":
            if step["good_at"] > step["attempts"]:
                raise Fails
            return "succeeded"
        case "entity":
            if step["operation"] == "refuse":
                raise Fails
            return step["value"]
        case "program":
            return expected(step["steps"])
        case "all":
            return [value(one) for one in step["of"]]
        case "any":
            return value(step["of"])


functions = Functions(app)


async def check(hub: TaskHub, dice: random.Random, count: int) -> None:
    """Run random programs at once while the engine is restarted three times; each must have its expected result."""
    name = uuid.uuid4().hex  # `attempts` is counted for each instance of this process
    programs = {f"{name}-{n}": made(dice) for n in range(count)}
    for id, steps in programs.items():
        await hub.client.start_new("program", id, steps)
    for _ in range(3):
        await asyncio.sleep(dice.uniform(0.01, 0.1))
        await hub.restart_engine()
    for id, steps in programs.items():
        status = await hub.finished(id, seconds=120)
        assert (status.status, status.output) == ("Completed", expected(steps)), steps
