"""The plans that a person has from the start, as examples of what plans can do."""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple, cast

from functions.ownpilot.core.first_use import ORIGIN, give_once
from functions.ownpilot.plans.records import Plan, PlanStep, plans, steps
from shared import tables


class _Example(NamedTuple):
    name: str
    goal: str
    description: str
    steps: Sequence[Mapping[str, Any]]
    """Steps in their order, by their members; `$1` in a condition or a dependency is the id of the first one."""


_EXAMPLES = (
    _Example(
        "Weekly review", "Know what is late, and what matters next week",
        "Looks at tasks and goals, and lets the assistant propose the three most important things.",
        (
            {"type": "tool_call", "name": "Find what is late",
             "config": {"toolName": "list_tasks", "toolArgs": {"filter": "overdue"}}},
            {"type": "tool_call", "name": "Look at the goals",
             "config": {"toolName": "list_goals", "toolArgs": {"status": "active"}}},
            {"type": "llm_decision", "name": "Propose what matters", "dependencies": ["$1", "$2"],
             "config": {"prompt": "Name the three most important things for next week, each with one sentence why."}},
        ),
    ),
    _Example(
        "Prepare a trip", "Nothing is forgotten at home",
        "Asks where the trip goes, and has a packing list made.",
        (
            {"type": "user_input", "name": "Ask about the trip",
             "config": {"question": "Where do you go, when, and for how long?", "inputType": "text"}},
            {"type": "llm_decision", "name": "Make the packing list", "dependencies": ["$1"],
             "config": {"prompt": "Write a packing list for this trip, in at most twenty lines."}},
        ),
    ),
    _Example(
        "Goals that are late", "Goals are reached in time, or get another date",
        "Asks for advice only when a goal is overdue.",
        (
            {"type": "tool_call", "name": "Count the goals", "config": {"toolName": "goal_stats"}},
            {"type": "condition", "name": "Is one late?", "dependencies": ["$1"],
             "config": {"condition": 'result:$1["overdue"] > 0', "trueStep": "$3", "falseStep": "$4"}},
            {"type": "llm_decision", "name": "Ask for advice",
             "config": {"prompt": "List my active goals that are overdue, and propose for each what to do about it."}},
            {"type": "tool_call", "name": "Note the time", "config": {"toolName": "get_current_time"}},
        ),
    ),
)  # fmt: skip


async def have_examples(owner: str) -> None:
    """Give a person the examples, once. As `give_once`."""
    await give_once(owner, "plans", _give)


async def _give(owner: str) -> None:
    await asyncio.gather(*(_store(owner, example) for example in _EXAMPLES))


async def _store(owner: str, example: _Example) -> None:
    """Store an example; its steps come first, so that nobody sees it without them."""
    now = datetime.now(UTC)
    plan_id = Plan.derived_id(ORIGIN, f"{owner} {example.name}")
    ids = [PlanStep.derived_id(ORIGIN, f"{plan_id} {number}") for number in range(len(example.steps))]

    def named(value: Any) -> Any:
        """Put the ids of steps in the places of their numbers."""
        if isinstance(value, dict):
            return {key: named(each) for key, each in cast("dict[str, Any]", value).items()}
        if isinstance(value, list):
            return [named(each) for each in cast("list[Any]", value)]
        if isinstance(value, str):
            for number, step_id in enumerate(ids, 1):
                value = value.replace(f"${number}", step_id)
        return value

    await steps.of(plan_id).store([
        PlanStep(id=id_, created_at=now, plan_id=plan_id, order_num=number, **named(members))
        for number, (id_, members) in enumerate(zip(ids, example.steps, strict=True), 1)
    ])  # fmt: skip
    plan = Plan(
        id=plan_id, created_at=now, user_id=owner, name=example.name, goal=example.goal, source="example",
        description=example.description, total_steps=len(ids),
    )  # fmt: skip
    with contextlib.suppress(tables.RecordConflict):  # another request has stored it
        await plans.of(owner).insert(plan)
