"""Plans, their steps, what has happened to them, and which of them are under way."""

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from functions.ownpilot.core.entry import Entry, Moment
from functions.ownpilot.core.first_use import ORIGIN
from shared.http.bodies import example
from shared.http.shapes import Answers, Shapes
from shared.tables import Collection, Record
from shared.tables.plain import PlainCollection

MAX_SECONDS = 540
"""How long a step may take at most: the platform ends what takes ten minutes."""


class PlanStatus(StrEnum):
    """How far a plan is."""

    PENDING = "pending"
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


UNDER_WAY = (PlanStatus.RUNNING, PlanStatus.PAUSED)
_ALSO_CALLED = {"draft": "pending", "active": "running"}
NamedStatus = Annotated[PlanStatus, BeforeValidator(lambda it: _ALSO_CALLED.get(it, it))]
"""A status by one of its names."""


class PlanStepStatus(StrEnum):
    """How far a step is: `waiting` for the user's input; `blocked` when its dependencies will not be completed."""

    PENDING = "pending"
    RUNNING = "running"
    WAITING = "waiting"
    COMPLETED = "completed"
    FAILED = "failed"
    SKIPPED = "skipped"
    BLOCKED = "blocked"


class StepType(StrEnum):
    """What a step does."""

    TOOL_CALL = "tool_call"
    LLM_DECISION = "llm_decision"
    USER_INPUT = "user_input"
    CONDITION = "condition"
    PARALLEL = "parallel"
    LOOP = "loop"
    SUB_PLAN = "sub_plan"


EventType = Literal[
    "started", "step_started", "step_completed", "step_failed", "paused", "resumed", "completed", "failed",
    "cancelled", "checkpoint", "rollback",
]  # fmt: skip
Milliseconds = Annotated[int, Field(ge=1, le=10**12)]


def instance_of(plan_id: str, run: int) -> str:
    """Return the id of the workflow of a run of a plan."""
    return f"{plan_id}-{run}"


class Plan(Entry, prefix="plan_"):
    """Steps towards a goal. `source` is `user`, `assistant` or `example`; `timeout_ms` bounds a run between two pauses.

    `retry_count` counts the retries of all steps in the newest run, `max_retries` is that of new steps.
    """

    model_config = example(name="Prepare the meeting", goal="Everyone knows what it is about", priority=6)

    name: str
    description: str | None = None
    goal: str
    status: NamedStatus = PlanStatus.PENDING
    current_step: int = 0
    total_steps: int = 0
    progress: int = 0
    priority: Annotated[int, Field(ge=1, le=10)] = 5
    source: str = "user"
    source_id: str | None = None
    trigger_id: str | None = None
    goal_id: str | None = None
    autonomy_level: Annotated[int, Field(ge=0, le=4)] = 1
    max_retries: Annotated[int, Field(ge=0, le=10)] = 3
    retry_count: int = 0
    timeout_ms: Milliseconds | None = None
    checkpoint: dict[str, Any] | None = None
    error: str | None = None
    started_at: Moment | None = None
    completed_at: Moment | None = None
    metadata: dict[str, Any] = {}
    run: Annotated[int, Field(exclude=True)] = 0
    """The number of the newest run; what belongs to an older one changes nothing any more.

    It is a moment, in microseconds: no number comes twice, also when a restore brings back an older one.
    """
    prepared: Annotated[int, Field(exclude=True)] = 0
    """The newest run for which the steps were brought into their first state."""
    anew: Annotated[bool, Field(exclude=True)] = False
    """Whether the newest run carries out all steps again; else those that were not done."""
    since: Annotated[datetime | None, Field(exclude=True)] = None
    """When it was last started or resumed."""
    within: Annotated[list[str], Field(exclude=True)] = []
    """The ids of the plans whose steps have started this run, the outermost first."""
    turns: Annotated[int, Field(exclude=True)] = 0
    """How often its workflow had to wait, in all runs."""
    awaits: Annotated[str | None, Field(exclude=True)] = None
    """The event for which its workflow waits."""
    conversation_id: Annotated[str | None, Field(exclude=True)] = None
    """In which the decisions of the newest run are taken."""
    latest: Annotated[datetime | None, Field(exclude=True)] = None
    """The moment of its latest event."""

    @property
    def under_way(self) -> bool:
        """Whether it has been started and has not ended."""
        return self.status in UNDER_WAY

    @property
    def instance(self) -> str:
        """The id of the workflow of the newest run."""
        return instance_of(self.id, self.run)

    def end(self, status: PlanStatus, error: str | None = None) -> None:
        """Set the status in which the newest run ends, and why."""
        self.status, self.error, self.completed_at = status, error, self.moment()

    def moment(self) -> datetime:
        """Return now as the moment of an event: later than the one before, as ids sort by milliseconds."""
        now = datetime.now(UTC)
        self.latest = max(now, self.latest + timedelta(milliseconds=1)) if self.latest else now
        return self.latest

    def await_event(self) -> str:
        """Return the name of an event that its workflow has not waited for yet, and note that it does."""
        self.turns += 1
        self.awaits = f"wake-{self.turns}"
        return self.awaits


class PlanStep(Entry, prefix="step_"):
    """One step. `dependencies` are the ids of the steps that must be completed before it; `config` says what to do.

    `on_success` is the id of the step at which the plan goes on; `on_failure` is `abort`, `skip`, or such an id.
    """

    model_config = example(type="tool_call", name="Count words", orderNum=1, config={
        "toolName": "count_words", "toolArgs": {"text": "one two"},
    })  # fmt: skip

    user_id: Annotated[str, Field(exclude=True)] = ""
    plan_id: str
    order_num: Annotated[int, Field(ge=0, le=1_000_000_000)]
    type: StepType
    name: str
    description: str | None = None
    config: dict[str, Any] = {}
    status: PlanStepStatus = PlanStepStatus.PENDING
    dependencies: list[str] = []
    result: Any = None
    error: str | None = None
    retry_count: int = 0
    max_retries: Annotated[int, Field(ge=0, le=10)] = 3
    timeout_ms: Annotated[int, Field(ge=1, le=MAX_SECONDS * 1000)] = 60_000
    started_at: Moment | None = None
    completed_at: Moment | None = None
    duration_ms: int | None = None
    on_success: str | None = None
    on_failure: str | None = None
    metadata: dict[str, Any] = {}
    jump: Annotated[str | None, Field(exclude=True)] = None
    """The id of the step at which the plan goes on after this one."""
    child: Annotated[str | None, Field(exclude=True)] = None
    """The workflow of the plan that this step has started."""

    @property
    def has_begun(self) -> bool:
        """Whether it was begun in the newest run."""
        return self.status is not PlanStepStatus.PENDING or self.started_at is not None

    def complete(self, result: Any, jump: str | None) -> None:
        """Complete it; the plan goes on at the step `jump`, where there is one."""
        self.status, self.result, self.jump, self.error = PlanStepStatus.COMPLETED, result, jump, None
        self.stop()

    def stop(self) -> None:
        """Note that an attempt has ended."""
        now = datetime.now(UTC)
        begun = self.started_at or now
        self.completed_at = max(now, begun + timedelta(milliseconds=1))
        self.duration_ms = round((self.completed_at - begun).total_seconds() * 1000)

    def reset(self) -> None:
        """Make it a step that was not begun."""
        self.status, self.result, self.error, self.retry_count = PlanStepStatus.PENDING, None, None, 0
        self.started_at = self.completed_at = self.duration_ms = self.jump = self.child = None


class PlanEvent(Entry, prefix="hist_"):
    """Something that has happened to a plan, or to one of its steps."""

    user_id: Annotated[str, Field(exclude=True)] = ""
    plan_id: str
    step_id: str | None = None
    event_type: EventType
    details: dict[str, Any] = {}


class PlanRun(Record):
    """A run that has not ended, by the workflow that carries it out; of all users, so that none is forgotten.

    `is_part`: a step of another plan has started it, whose workflow looks after it.
    """

    owner: str
    plan_id: str
    instance: str
    is_part: bool = False
    look_at: datetime | None = None
    """When the upkeep looks at it again, as its plan is paused; before that it does not."""

    @classmethod
    def id_of(cls, instance: str) -> str:
        """Return the id of the row of a run."""
        return cls.derived_id(ORIGIN, instance)


plans = Collection("OwnpilotPlans", Plan, plain=True)
steps = PlainCollection(
    "OwnpilotPlanSteps", PlanStep, plain=True,
    view=[name for name in PlanStep.model_fields if name not in ("id", "result", "config", "metadata", "description")],
)  # fmt: skip
"""The partition of a step is its plan; so is that of an event."""

events = PlainCollection("OwnpilotPlanEvents", PlanEvent, plain=True, view=[*PlanEvent.model_fields])
runs = Collection("OwnpilotPlanRuns", PlanRun, plain=True)

_SET_BY_RUNS = (
    "plan_id", "status", "result", "error", "retry_count", "started_at", "completed_at", "duration_ms",
)  # fmt: skip
step_shapes = Shapes(
    PlanStep, "steps", Answers(item="step"), required=("type", "name", "order_num"), readonly=_SET_BY_RUNS
)
