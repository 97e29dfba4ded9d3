"""The rules of a person about what the assistant may do without asking: a level, lists, and answers for good."""

from collections.abc import Callable
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, Field

from functions.ownpilot.core.autonomy.risk import Risk, RiskLevel
from functions.ownpilot.core.entry import MAX_CONFIG, Entry, Moment, NotBlank, json_within
from shared.http.bodies import example
from shared.http.shapes import Answers, Shapes
from shared.tables import Collection

ROLLS = timedelta(days=1)
"""After this time what was spent counts anew."""


class AutonomyLevel(NamedTuple):
    """A level of autonomy."""

    name: str
    description: str


LEVELS = (
    AutonomyLevel("Manual", "Every action needs your approval"),
    AutonomyLevel("Assisted", "Every action needs your approval, and the assistant proposes what to do"),
    AutonomyLevel("Supervised", "Actions of low risk run by themselves"),
    AutonomyLevel("Autonomous", "All actions run by themselves but those of critical risk"),
    AutonomyLevel("Full Autonomy", "All actions run by themselves"),
)
SUPERVISED, AUTONOMOUS, FULL = 2, 3, 4

MAX_NAMES = 500
"""Tools, or categories, in a list of the rules."""

Decision = Literal["approve", "reject"]
Level = Annotated[int, Field(ge=0, lt=len(LEVELS), strict=True)]
Points = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
Names = Annotated[list[NotBlank], Field(max_length=MAX_NAMES), AfterValidator(lambda names: [*dict.fromkeys(names)])]


class AutonomyRules(Entry):
    """The rules of a person. Points are risk scores of approved actions.

    `confirmation_required` are types of actions, such as names of tools, that always need approval. `remembered` are
    the answers that hold for good, by `<category>:<type>`. Clients keep `notification_threshold` and
    `time_restrictions` here for themselves.
    """

    model_config = example(level=2, allowedTools=["list_tasks"])

    level: Level = SUPERVISED
    allowed_tools: Names = []
    blocked_tools: Names = []
    allowed_categories: Names = []
    blocked_categories: Names = ["system_command", "code_execution"]
    max_cost_per_action: Points = 1000
    daily_budget: Points = 10_000
    daily_spend: float = 0
    budget_reset_at: Moment = Field(default_factory=lambda: datetime.now(UTC) + ROLLS)
    notification_threshold: Annotated[int, Field(ge=0, le=100)] = 2
    confirmation_required: Names = ["delete_data", "send_email", "make_payment", "modify_system"]
    audit_enabled: bool = True
    time_restrictions: Annotated[list[dict[str, Any]], json_within(MAX_CONFIG)] = []
    remembered: dict[str, Decision] = Field(default_factory=dict[str, Decision], exclude=True)

    def roll(self, now: datetime) -> None:
        """Begin to count anew what is spent, when a day is over."""
        if now >= self.budget_reset_at:
            self.daily_spend = 0
            self.budget_reset_at += ROLLS * ((now - self.budget_reset_at) // ROLLS + 1)

    def unlist(self, tool: str) -> None:
        """Neither allow nor block a tool, and forget what was decided about it for good."""
        self.allowed_tools = [name for name in self.allowed_tools if name != tool]
        self.blocked_tools = [name for name in self.blocked_tools if name != tool]
        self.forget({tool})

    def forget(self, names: set[str]) -> None:
        """Forget what was decided for good about these tools and categories."""
        self.remembered = {
            key: answer for key, answer in self.remembered.items() if names.isdisjoint(key.split(":", 1))
        }

    def why_to_ask(self, category: str, type_: str, risk: Risk, *, lenient: bool = False) -> str | None:
        """Return why an action needs approval, None when it needs none; the first rule that applies decides.

        `lenient`: from level 2 on, a medium risk is a low one.
        """
        if type_ in self.blocked_tools:
            return f"{type_} is blocked"
        if category in self.blocked_categories:
            return f"Actions of the category {category} are blocked"
        if type_ in self.confirmation_required:
            return f"{type_} always needs approval"
        if type_ in self.allowed_tools or category in self.allowed_categories or self.level >= FULL:
            return None
        if self.level < SUPERVISED:
            return f"At the level {LEVELS[self.level].name} every action needs approval"
        passing = [RiskLevel.LOW]
        if self.level >= AUTONOMOUS:
            passing += [RiskLevel.MEDIUM, RiskLevel.HIGH]
        elif lenient:
            passing.append(RiskLevel.MEDIUM)
        if risk.level in passing:
            return None
        return f"The risk is {risk.level}: {risk.score} of 100"


all_rules = Collection("OwnpilotAutonomy", AutonomyRules, plain=True, unique=["user_id"])
shapes = Shapes(AutonomyRules, "config", Answers(), required=(), readonly=("daily_spend", "budget_reset_at"))


async def rules_of(owner: str) -> AutonomyRules:
    """Return the rules of a person; the defaults when none were changed. 1 query."""
    found = [rules async for rules in all_rules.of(owner).all()]
    rules = found[0] if found else AutonomyRules(user_id=owner)
    rules.roll(datetime.now(UTC))
    return rules


async def change_rules(owner: str, how: Callable[[AutonomyRules], None]) -> AutonomyRules:
    """Change the rules of a person. What is blocked by it is no longer allowed by an earlier answer. 2 or 3 calls."""

    def change(rules: AutonomyRules) -> None:
        before = deepcopy(rules)
        rules.roll(datetime.now(UTC))
        how(rules)
        blocked = {*rules.blocked_tools, *rules.blocked_categories}
        blocked -= {*before.blocked_tools, *before.blocked_categories}
        rules.forget(blocked)

    return await all_rules.of(owner).put("user_id", owner, change, lambda: AutonomyRules(user_id=owner))


async def reset_rules(owner: str) -> AutonomyRules:
    """Bring back the default rules, and forget all answers for good."""
    fresh = AutonomyRules(user_id=owner)

    def reset(rules: AutonomyRules) -> None:
        for name in AutonomyRules.model_fields.keys() - Entry.model_fields.keys():
            setattr(rules, name, getattr(fresh, name))

    return await change_rules(owner, reset)
