"""What each type of step does, and the result that it has."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple, cast

from functions.ownpilot.chat.question import Question
from functions.ownpilot.chat.turn import TurnAnswer, take_turn
from functions.ownpilot.core.owner import Person
from functions.ownpilot.core.tool_context import ToolContext, ToolResult
from functions.ownpilot.plans.conditions import holds, named_in, value_of
from functions.ownpilot.plans.reading import steps_of, whole_steps_of
from functions.ownpilot.plans.records import Plan, PlanStatus, PlanStep, PlanStepStatus, StepType, plans, steps
from functions.ownpilot.tools.use import MAX_BYTES, use_tool
from shared.http.errors import NotFound

AT_ONCE = 5
"""Tools of a parallel step that are used at the same time."""

ITERATIONS = 10
"""How often a loop uses its tool, unless it says otherwise."""

ONE_EARLIER, ALL_EARLIER = 2_000, 20_000
"""Characters of an earlier result, and of all of them, that a model is shown."""


class StepFailed(Exception):
    """The step could not be carried out; the message is for the user and holds no secret."""


class Performed(NamedTuple):
    """The result of a step, and the id of the step at which the plan goes on, if the result decides it."""

    result: Any
    jump: str | None = None


async def perform(plan: Plan, step: PlanStep) -> Performed:
    """Carry out a step of one of the types in `_BY_TYPE`. `StepFailed`, and what `shared.http.errors` handles."""
    return await _BY_TYPE[step.type](plan, step)


async def _tool_call(plan: Plan, step: PlanStep) -> Performed:
    name = needed(step, "toolName")
    text = await _use(plan, name, step.config.get("toolArgs"))
    return Performed({"type": "tool_call", "toolName": name, "result": text})


async def _llm_decision(plan: Plan, step: PlanStep) -> Performed:
    choices = [str(each) for each in step.config.get("choices") or ()]
    parts = [needed(step, "prompt")]
    if choices:
        parts.append(f"Answer with one of these choices and nothing else: {json.dumps(choices, ensure_ascii=False)}")
    if earlier := _shown(await whole_steps_of(plan.id)):
        parts.append(f"Results of earlier steps:\n{earlier}")
    answer = await _ask(plan, "\n\n".join(parts))
    decision = _chosen(answer.text, choices) if choices else answer.text.strip()
    return Performed({"type": "llm_decision", "decision": decision, "toolCalls": answer.calls})


async def _condition(plan: Plan, step: PlanStep) -> Performed:
    condition, found = needed(step, "condition"), await steps_of(plan.id)
    named = named_in(condition)
    wanted = [each.id for each in found if each.id in named and each.status is PlanStepStatus.COMPLETED]
    completed = await asyncio.gather(*map(steps.of(plan.id).get, wanted))
    result = holds(condition, {each.id: value_of(each.type, each.result) for each in completed})
    member = "trueStep" if result else "falseStep"
    jump: Any = step.config.get(member)
    if jump and jump not in {each.id for each in found}:
        raise StepFailed(f"config.{member}: the plan has no such step")
    return Performed({"condition": condition, "result": result}, jump or None)


async def _parallel(plan: Plan, step: PlanStep) -> Performed:
    calls: Any = step.config.get("steps")
    if not isinstance(calls, list) or not calls:
        raise StepFailed("config.steps: names the tools to use, each as toolName and toolArgs")
    given, found = cast("list[dict[str, Any]]", calls), list[dict[str, Any]]()
    for first in range(0, len(given), AT_ONCE):
        batch = given[first : first + AT_ONCE]
        results = await asyncio.gather(*(_result(plan, each["toolName"], each.get("toolArgs")) for each in batch))
        for each, result in zip(batch, results, strict=True):
            text = _cut(result.content, len(given))
            found.append({"toolName": each["toolName"], "success": not result.is_error, "result": text})
        if failed := next((each for each in found if not each["success"]), None):
            raise StepFailed(f"{failed['toolName']}: {failed['result']}")
    return Performed({"type": "parallel", "results": found})


async def _loop(plan: Plan, step: PlanStep) -> Performed:
    name, arguments = needed(step, "toolName"), step.config.get("toolArgs") or {}
    times = int(step.config.get("maxIterations") or ITERATIONS)
    found = [_cut(await _use(plan, name, {**arguments, "iteration": number}), times) for number in range(times)]
    return Performed({"type": "loop", "iterations": times, "results": found})


_BY_TYPE: Mapping[StepType, Callable[[Plan, PlanStep], Awaitable[Performed]]] = {
    StepType.TOOL_CALL: _tool_call,
    StepType.LLM_DECISION: _llm_decision,
    StepType.CONDITION: _condition,
    StepType.PARALLEL: _parallel,
    StepType.LOOP: _loop,
}


def needed(step: PlanStep, member: str) -> str:
    """Return a text of what a step is to do. `StepFailed` without it."""
    value = step.config.get(member)
    if isinstance(value, bool):
        return str(value).lower()
    if not value:
        raise StepFailed(f"config.{member}: is missing, and a step of type {step.type} needs it")
    return str(value)


async def _result(plan: Plan, name: str, arguments: Any) -> ToolResult:
    context = ToolContext(plan.user_id, plan.id, source="plan")
    return await use_tool(context, name, arguments or {})


async def _use(plan: Plan, name: str, arguments: Any) -> str:
    result = await _result(plan, name, arguments)
    if result.is_error:
        raise StepFailed(result.content)
    return result.content


async def _ask(plan: Plan, text: str) -> TurnAnswer:
    """Ask the assistant; all decisions of a run are taken in one conversation."""
    known = plan.conversation_id
    try:
        answer = await take_turn(Person(plan.user_id), Question(text, known, source="plan"), seconds=None)
    except NotFound:
        if known is None:
            raise
        answer = await take_turn(Person(plan.user_id), Question(text, source="plan"), seconds=None)

    def keep(it: Plan) -> None:
        if it.run == plan.run and it.status is not PlanStatus.PENDING:
            it.conversation_id = answer.conversation_id

    if answer.conversation_id != known:
        await plans.of(plan.user_id).update(plan.id, keep)
    return answer


def _chosen(answer: str, choices: list[str]) -> str:
    """Return the choice that an answer consists of, else the only one that it names. `StepFailed`."""
    plain = answer.strip().strip("\"'.").casefold()
    exact = [each for each in choices if each.casefold() == plain]
    named = exact or [each for each in choices if each.casefold() in plain]
    if len(named) != 1:
        raise StepFailed(f"The answer is none of the choices: {answer[:200]}")
    return named[0]


def _shown(found: list[PlanStep]) -> str:
    """Return the results of the completed steps for a model, each in a line; of too many, the latest."""
    lines: list[str] = []
    room = ALL_EARLIER
    for step in reversed(found):
        if step.status is PlanStepStatus.COMPLETED and step.result is not None:
            text = json.dumps(value_of(step.type, step.result), ensure_ascii=False)
            line = f"- {step.name}: {text[:ONE_EARLIER]}"
            room -= len(line)
            if room < 0:
                break
            lines.insert(0, line)
    return "\n".join(lines)


def _cut(text: str, among: int) -> str:
    """Cut a result that is one of several, so that all together are about as long as one alone may be."""
    return text[: MAX_BYTES // among]
