"""Plans made by chance, and a plain interpreter that tells in which state one ends."""

import random
from dataclasses import dataclass, field
from typing import Literal

from functions.ownpilot.plans.records import PlanStep, StepType

Ending = Literal["completed", "failed"]


@dataclass
class Scripted:
    """A step whose outcome is known; steps are named by their places in the list.

    `needs` are the steps before it, `goes_to` is where the plan goes on after its success, `on_failure` what happens
    after its failure: `abort`, `skip`, or where the plan goes on.
    """

    number: int
    needs: list[int] = field(default_factory=list[int])
    fails: bool = False
    goes_to: int | None = None
    on_failure: str | int = "abort"


def by_chance(chance: random.Random, most: int) -> list[Scripted]:
    """A plan whose steps need each other in no circle, often in another order than that of their numbers."""
    count = chance.randint(1, most)
    rank = chance.sample(range(count), count)
    steps: list[Scripted] = []
    for place in range(count):
        before = [other for other in range(count) if rank[other] < rank[place]]
        others = [other for other in range(count) if other != place]
        steps.append(
            Scripted(
                chance.randint(0, count),
                chance.sample(before, min(len(before), chance.choice([0, 0, 1, 2]))),
                chance.random() < 0.2,
                chance.choice(others) if others and chance.random() < 0.2 else None,
                chance.choice(["abort", "skip", *([chance.choice(others)] if others else [])]),
            )
        )
    return steps


def records_of(scripted: list[Scripted], plan: str = "plan") -> list[PlanStep]:
    """The steps as they are stored: those that fail divide by zero."""
    made = [
        PlanStep(
            plan_id=plan, type=StepType.TOOL_CALL, name=str(place), order_num=step.number, max_retries=0,
            config={"toolName": "calculate", "toolArgs": {"expression": "1/0" if step.fails else "1+1"}},
        )
        for place, step in enumerate(scripted)
    ]  # fmt: skip
    for step, each in zip(scripted, made, strict=True):
        each.dependencies = [made[need].id for need in step.needs]
        each.on_success = None if step.goes_to is None else made[step.goes_to].id
        each.on_failure = made[step.on_failure].id if isinstance(step.on_failure, int) else step.on_failure
    return made


def interpret(steps: list[Scripted]) -> tuple[Ending, list[str], list[int]]:
    """How a plan ends, the status of each step, and which steps were carried out in which order."""
    order = sorted(range(len(steps)), key=lambda place: (steps[place].number, place))
    status, done = ["pending"] * len(steps), list[int]()
    while True:
        ready = [
            place for place in order
            if status[place] == "pending" and all(status[need] == "completed" for need in steps[place].needs)
        ]  # fmt: skip
        if not ready:
            break
        place = ready[0]
        step, target = steps[place], None
        done.append(place)
        if not step.fails:
            status[place], target = "completed", step.goes_to
        elif step.on_failure == "abort":
            status[place] = "failed"
            return "failed", status, done
        elif step.on_failure == "skip":
            status[place] = "skipped"
        else:
            status[place], target = "failed", int(step.on_failure)
        if target is not None:
            for other in order[order.index(place) + 1 : order.index(target)]:
                if status[other] == "pending":
                    status[other] = "skipped"
    if "pending" in status:
        return "failed", ["blocked" if each == "pending" else each for each in status], done
    return "completed", status, done
