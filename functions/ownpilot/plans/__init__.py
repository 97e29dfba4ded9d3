"""Plans: steps towards a goal, which a workflow carries out one after the other."""

import asyncio
from typing import Annotated, Any

from fastapi import Query, Response

from functions.ownpilot.core.entry import Given, Shown
from functions.ownpilot.core.envelope import ExecutionFailed
from functions.ownpilot.core.owner import Owner, routes_for
from functions.ownpilot.plans import checkpoints, reading, runs
from functions.ownpilot.plans.examples import have_examples
from functions.ownpilot.plans.history import EventShown, recent_events
from functions.ownpilot.plans.records import NamedStatus, Plan, PlanStatus
from functions.ownpilot.plans.records import plans as collection
from functions.ownpilot.plans.steps import PlanStepShown
from shared.http.bodies import Done, example
from shared.http.conditions import show_version
from shared.http.paging import Paging, given, paging
from shared.http.resource import resource
from shared.http.shapes import EMPTY_IS_ABSENT, Answers
from shared.workflows import Workflows

PATIENCE = 20.0
"""Seconds for which a request waits for the end of a plan."""


plans = resource(
    routes_for("plans"), collection, Owner,
    required=("name", "goal"),
    readonly=(
        "status", "current_step", "total_steps", "progress", "source", "source_id", "retry_count", "checkpoint",
        "error", "started_at", "completed_at",
    ),
    order=("-priority", "-created_at"), answers=Answers(item="plan"), only=("create", "update"),
)  # fmt: skip
routes = plans.routes
PlanShown = plans.shapes.shown


class Plans(Shown):
    """Part of the plans, the most important first; `total` is the number of all that match."""

    plans: list[PlanShown]
    total: int
    limit: int
    offset: int


class PlanDetails(PlanShown):
    """A plan with its steps, in their order, and what has happened lately, the newest first."""

    steps: list[PlanStepShown]
    recent_history: list[EventShown]


class RunResult(Shown):
    """What came of a run; `results` are those of the completed steps, by id. `duration` is in milliseconds."""

    plan_id: str
    status: str
    completed_steps: int
    total_steps: int
    duration: int
    results: dict[str, Any]
    error: str | None


class RunAnswer(Shown):
    """How far a plan has come."""

    result: RunResult
    message: str


class Paused(Shown):
    """Whether the plan was paused."""

    paused: bool
    message: str


class Aborted(Shown):
    """Whether the plan was ended."""

    aborted: bool
    message: str


class RolledBack(Shown):
    """The checkpoint, whose data the client may need."""

    message: str
    checkpoint: dict[str, Any]


class PlanInput(Given):
    """What a step waits for, where one does: any value, which becomes its result."""

    model_config = example(input="Yes")

    input: Any = None


class CheckpointData(Given):
    """What the client wants to find again after a rollback."""

    model_config = example(data={"note": "before the change"})

    data: Any = None


STILL_RUNNING: dict[int | str, Any] = {202: {"model": RunAnswer, "description": "The plan is still running"}}
_MESSAGES = {
    PlanStatus.COMPLETED: "Plan completed",
    PlanStatus.PAUSED: "Plan paused",
    PlanStatus.RUNNING: "Plan is running",
    PlanStatus.PENDING: "Plan is pending again",
}


async def details_of(owner: str, plan_id: str) -> tuple[Plan, PlanDetails]:
    """Return a plan and how it is shown. `RecordNotFound`. 1 point read and 2 queries, at once."""
    plan, steps, events = await asyncio.gather(
        plans.get(owner, plan_id), reading.whole_steps_of(plan_id), recent_events(plan_id)
    )
    return plan, PlanDetails(**dict(plan), steps=steps, recent_history=events)


@routes.get("")
async def list_plans(
    owner: Owner,
    paging: Annotated[Paging, paging(20)],
    status: Annotated[list[NamedStatus] | None, EMPTY_IS_ABSENT, Query()] = None,
    goal_id: Annotated[str | None, EMPTY_IS_ABSENT, Query(alias="goalId")] = None,
    trigger_id: Annotated[str | None, EMPTY_IS_ABSENT, Query(alias="triggerId")] = None,
) -> Plans:
    """The plans that match, the most important first. `draft` and `active` mean `pending` and `running`."""
    await have_examples(owner.id)
    where = given(status=status, goal_id=goal_id, trigger_id=trigger_id)
    page = await plans.list(owner.id, where, limit=paging.limit, offset=paging.offset, cursor=paging.cursor)
    paging.link(page)
    return Plans(plans=page.items, total=page.total, limit=paging.limit, offset=paging.offset)


@routes.get("/{plan_id}")
async def get_plan(plan_id: str, owner: Owner, response: Response) -> PlanDetails:
    """One plan with its steps, and what has happened lately."""
    plan, shown = await details_of(owner.id, plan_id)
    show_version(response, plan)
    return shown


@routes.delete("/{plan_id}")
async def delete_plan(plan_id: str, owner: Owner, workflows: Workflows) -> Done:
    """Delete a plan with its steps and its history. One that is under way is ended."""
    await runs.delete(owner.id, plan_id, workflows)
    return Done(message="Plan deleted")


@routes.post("/{plan_id}/execute", responses=STILL_RUNNING)
async def execute_plan(plan_id: str, owner: Owner, workflows: Workflows, response: Response) -> RunAnswer:
    """Carry a plan out: from the beginning, or, where it has failed or was aborted, from where it is.

    The answer comes when the plan has ended or is paused, and after 20 seconds at the latest: then it is 202, and the
    plan runs on. A plan that fails is answered with 500 and `data`.
    """
    return await _answer(await runs.start(owner.id, plan_id, workflows), response)


@routes.post("/{plan_id}/start", responses=STILL_RUNNING)
async def start_plan(plan_id: str, owner: Owner, workflows: Workflows, response: Response) -> RunAnswer:
    """Carry a plan out: the same as `execute`."""
    return await execute_plan(plan_id, owner, workflows, response)


@routes.post("/{plan_id}/pause")
async def pause_plan(plan_id: str, owner: Owner) -> Paused:
    """Pause a plan after the step that is being carried out. A plan that does not run stays as it is."""
    paused = await runs.pause(owner.id, plan_id)
    return Paused(paused=paused, message="Plan paused" if paused else "The plan is not running")


@routes.post("/{plan_id}/resume", responses=STILL_RUNNING)
async def resume_plan(
    plan_id: str, body: PlanInput, owner: Owner, workflows: Workflows, response: Response
) -> RunAnswer:
    """Go on with a paused plan, with the `input` for which a step waits. Answered as `execute`."""
    answer = {name: getattr(body, name) for name in body.model_fields_set}
    return await _answer(await runs.resume(owner.id, plan_id, answer, workflows), response)


@routes.post("/{plan_id}/abort")
async def abort_plan(plan_id: str, owner: Owner, workflows: Workflows) -> Aborted:
    """End a plan that is running or paused; a step that is being carried out ends within seconds."""
    aborted = await runs.abort(owner.id, plan_id, workflows)
    return Aborted(aborted=aborted, message="Plan aborted" if aborted else "The plan is not under way")


@routes.post("/{plan_id}/checkpoint")
async def set_checkpoint(plan_id: str, body: CheckpointData, owner: Owner) -> Done:
    """Note how far a plan is, so that it can be taken back."""
    await checkpoints.checkpoint(owner.id, plan_id, body.data)
    return Done(message="Checkpoint saved")


@routes.post("/{plan_id}/rollback")
async def rollback_plan(plan_id: str, owner: Owner, workflows: Workflows) -> RolledBack:
    """Take a plan with a checkpoint back: it is pending again, and so are all of its steps."""
    plan = await checkpoints.rollback(owner.id, plan_id, workflows)
    return RolledBack(message="Plan rolled back", checkpoint=plan.checkpoint or {})


async def _answer(begun: Plan, response: Response) -> RunAnswer:
    """Wait for the end of a run. `ExecutionFailed`."""
    plan = await reading.wait_for_end(begun, PATIENCE)
    result = RunResult.model_validate(await reading.result_of(plan))
    if plan.status in (PlanStatus.FAILED, PlanStatus.CANCELLED):
        answer = RunAnswer(result=result, message=plan.error or "Plan aborted")
        raise ExecutionFailed(answer.message, answer.model_dump(mode="json", by_alias=True))
    if plan.status is PlanStatus.RUNNING:
        response.status_code = 202
    return RunAnswer(result=result, message=_MESSAGES[plan.status])
