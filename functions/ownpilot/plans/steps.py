"""The steps of a plan."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, cast

from fastapi import Response
from pydantic import BaseModel

from functions.ownpilot.core.entry import Shown
from functions.ownpilot.core.owner import Owner, routes_for
from functions.ownpilot.plans.order import ABORT, SKIP, in_order, progress_of, why_not
from functions.ownpilot.plans.reading import steps_of, whole_steps_of
from functions.ownpilot.plans.records import Plan, PlanStep, StepType, plans, step_shapes, steps
from functions.ownpilot.plans.sizes import refuse_large
from shared import tables
from shared.http.bodies import Done
from shared.http.conditions import show_version
from shared.http.errors import BadRequest, Conflict, InvalidRequest
from shared.http.operations import checked

MAX_STEPS = 200
"""Steps of one plan."""

MAX_CALLS = 100
"""Tools of a parallel step, and iterations of a loop."""

MOST_PARTS = 50
"""Plans that are looked at to find one that is a part of itself."""

NOT_ADDED = "ADD_STEP_ERROR"

routes = routes_for("plans")
PlanStepShown = step_shapes.shown
NewPlanStep = step_shapes.new
PlanStepPatch = step_shapes.patch

_TEXT, _OBJECT, _LIST = (str,), (dict,), (list,)
_CONFIG: Mapping[StepType, Mapping[str, tuple[type, ...]]] = {
    StepType.TOOL_CALL: {"toolName": _TEXT, "toolArgs": _OBJECT},
    StepType.LLM_DECISION: {"prompt": _TEXT, "choices": _LIST},
    StepType.USER_INPUT: {"question": _TEXT, "inputType": _TEXT, "options": _LIST},
    StepType.CONDITION: {"condition": (str, bool), "trueStep": _TEXT, "falseStep": _TEXT},
    StepType.PARALLEL: {"steps": _LIST},
    StepType.LOOP: {"toolName": _TEXT, "toolArgs": _OBJECT, "maxIterations": (int,)},
    StepType.SUB_PLAN: {"subPlanId": _TEXT},
}
"""What a step of each type is to do, and the JSON types of these members. One that is missing fails the step."""

_WORDS = {str: "a text", dict: "an object", list: "a list", int: "a whole number", bool: "true or false"}


async def add_step(owner: str, plan_id: str, values: Mapping[str, Any] | BaseModel) -> PlanStep:
    """Add a step to a plan. `RecordNotFound`; `BadRequest` ADD_STEP_ERROR for what cannot be in the plan.

    `BadRequest` LIMIT_REACHED for too many steps. 2 point reads, 3 queries, 2 writes.
    """
    body = checked(NewPlanStep, values)
    plan, found = await asyncio.gather(plans.of(owner).get(plan_id), steps_of(plan_id))
    if len(found) >= MAX_STEPS:
        raise BadRequest(f"A plan has at most {MAX_STEPS} steps", code="LIMIT_REACHED")
    members = {"max_retries": plan.max_retries, **{name: getattr(body, name) for name in body.model_fields_set}}
    step = PlanStep(plan_id=plan_id, **members)
    await _check(owner, step, found)
    step = await steps.of(plan_id).insert(step)
    try:
        await _count(plan)
    except tables.RecordNotFound:  # the plan was deleted meanwhile
        await steps.of(plan_id).delete(step.id)
        raise
    return step


async def change_step(owner: str, plan_id: str, step_id: str, values: Mapping[str, Any] | BaseModel) -> PlanStep:
    """Set these members of a step. `RecordNotFound`; `Conflict` when it has begun; `BadRequest` as in `add_step`."""
    body = checked(PlanStepPatch, values)
    plan, found, step = await asyncio.gather(
        plans.of(owner).get(plan_id), steps_of(plan_id), steps.of(plan_id).get(step_id)
    )
    before = step.dependencies

    def change(it: PlanStep) -> None:
        _refuse_begun(plan, it)
        for name in body.model_fields_set:
            setattr(it, name, getattr(body, name))

    await _check(owner, step.model_copy(update={name: getattr(body, name) for name in body.model_fields_set}), found)
    step = await steps.of(plan_id).update(step, change)
    if step.dependencies != before and (wrong := _wrong(await steps_of(plan_id), step_id)):
        # Another request has changed the dependencies of another step at the same moment.
        await steps.of(plan_id).update(step_id, lambda it: setattr(it, "dependencies", before))
        raise BadRequest(wrong, code=NOT_ADDED)
    return step


async def delete_step(owner: str, plan_id: str, step_id: str) -> None:
    """Delete a step, for which no other one waits from then on. `RecordNotFound`; `Conflict` when it has begun.

    What refers to it goes first, so that a delete that was interrupted can be repeated.
    """
    plan, step = await asyncio.gather(plans.of(owner).get(plan_id), steps.of(plan_id).get(step_id))
    _refuse_begun(plan, step)

    def forget(it: PlanStep) -> None:
        it.dependencies = [each for each in it.dependencies if each != step_id]
        it.on_success = None if it.on_success == step_id else it.on_success
        it.on_failure = None if it.on_failure == step_id else it.on_failure

    for other in await steps_of(plan_id):
        if step_id in (*other.dependencies, other.on_success, other.on_failure):
            await steps.of(plan_id).update(other.id, forget)
    await steps.of(plan_id).delete(step_id)
    await _count(plan)


def _refuse_begun(plan: Plan, step: PlanStep) -> None:
    if plan.under_way and step.has_begun:
        raise Conflict("The plan is under way, and this step has begun: only steps that have not can be changed")


async def _count(plan: Plan) -> None:
    """Write down how many steps a plan has; again, when another request has added or deleted one meanwhile."""
    found, counted = await steps_of(plan.id), -1

    def change(it: Plan) -> None:
        it.total_steps, it.progress = len(found), progress_of(found)

    while len(found) != counted:
        await plans.of(plan.user_id).update(plan.id, change)
        counted, found = len(found), await steps_of(plan.id)


async def _check(owner: str, step: PlanStep, others: Sequence[PlanStep]) -> None:
    """`BadRequest` when a step does not fit in its plan, or cannot be what it is to be."""
    found = [*(each for each in others if each.id != step.id), step]
    ids = {each.id for each in found} - {step.id}
    if wrong := _wrong(found, step.id):
        raise BadRequest(wrong, code=NOT_ADDED)
    for name, target in (("onSuccess", step.on_success), ("onFailure", step.on_failure)):
        if target is not None and target not in ids and not (name == "onFailure" and target in (ABORT, SKIP)):
            raise BadRequest(f"{name}: the plan has no other step {target[:100]}", code=NOT_ADDED)
    _check_config(step)
    part = step.config.get("subPlanId")
    if step.type is StepType.SUB_PLAN and part:
        await _check_part(owner, step.plan_id, part)


def _wrong(found: Sequence[PlanStep], own: str) -> str | None:
    """Return what is wrong with the dependencies of the step `own`, given those of the others."""
    ids = {step.id for step in found}
    wrong = why_not({
        step.id: [each for each in step.dependencies if each in ids or step.id == own] for step in found
    })  # fmt: skip
    return wrong and f"dependencies: {wrong}"


def _check_config(step: PlanStep) -> None:
    """`InvalidRequest` when a member of what a step is to do has a wrong type, or there is too much of it."""
    refuse_large("config and metadata", step.config, step.metadata)
    refuse_large("name, description and dependencies", step.name, step.description, step.dependencies)
    for name, kinds in _CONFIG[step.type].items():
        value = step.config.get(name)
        if value is not None and type(value) not in kinds:
            raise InvalidRequest(f"config.{name}: must be {' or '.join(_WORDS[kind] for kind in kinds)}")
    times = step.config.get("maxIterations")
    if step.type is StepType.LOOP and times is not None and not 1 <= times <= MAX_CALLS:
        raise InvalidRequest(f"config.maxIterations: must be from 1 to {MAX_CALLS}")
    if step.type is not StepType.PARALLEL:
        return
    calls = cast("list[Any]", step.config.get("steps") or [])
    if len(calls) > MAX_CALLS:
        raise InvalidRequest(f"config.steps: at most {MAX_CALLS}")
    for call in calls:
        given: dict[str, Any] = call if isinstance(call, dict) else {}
        if not isinstance(given.get("toolName"), str) or not isinstance(given.get("toolArgs") or {}, dict):
            raise InvalidRequest("config.steps: each must be an object with toolName, a text, and toolArgs, an object")


async def _check_part(owner: str, plan_id: str, part_id: str) -> None:
    """`BadRequest` when a plan would become a part of itself, at any depth, or the part is unknown."""
    looked, left = set[str](), [part_id]
    while left and len(looked) < MOST_PARTS:
        one = left.pop()
        if one == plan_id:
            raise BadRequest("config.subPlanId: a plan cannot be a part of itself", code=NOT_ADDED)
        if one in looked:
            continue
        looked.add(one)
        try:
            await plans.of(owner).get(one)
        except tables.RecordNotFound:
            if one == part_id:
                raise BadRequest("config.subPlanId: there is no such plan", code=NOT_ADDED) from None
            continue
        parts = await whole_steps_of(one)
        left += [str(each.config["subPlanId"]) for each in parts if _names_part(each)]


def _names_part(step: PlanStep) -> bool:
    return step.type is StepType.SUB_PLAN and bool(step.config.get("subPlanId"))


class PlanSteps(Shown):
    """The steps of a plan, in their order."""

    plan_id: str
    steps: list[PlanStepShown]
    count: int


@routes.get("/{plan_id}/steps")
async def list_plan_steps(plan_id: str, owner: Owner) -> PlanSteps:
    """The steps of a plan, in their order."""
    _, found = await asyncio.gather(plans.of(owner.id).get(plan_id), whole_steps_of(plan_id))
    return PlanSteps(plan_id=plan_id, steps=in_order(found), count=len(found))


@routes.post("/{plan_id}/steps", status_code=201, response_model=step_shapes.created)
async def add_plan_step(plan_id: str, body: NewPlanStep, owner: Owner) -> Any:
    """Add a step to a plan, also while it is under way."""
    return {"step": await add_step(owner.id, plan_id, body), "message": "Step added"}


@routes.patch("/{plan_id}/steps/{step_id}", response_model=PlanStepShown)
async def update_plan_step(
    plan_id: str, step_id: str, body: PlanStepPatch, owner: Owner, response: Response
) -> PlanStep:
    """Change the given members of a step. While the plan is under way, one that has begun cannot be changed."""
    step = await change_step(owner.id, plan_id, step_id, body)
    show_version(response, step)
    return step


@routes.delete("/{plan_id}/steps/{step_id}")
async def delete_plan_step(plan_id: str, step_id: str, owner: Owner) -> Done:
    """Delete a step; the steps that depend on it do not any more."""
    await delete_step(owner.id, plan_id, step_id)
    return Done(message="Step deleted")
