"""Bodies of requests and responses about autonomy."""

from typing import Annotated, Any

from pydantic import StringConstraints, WithJsonSchema

from functions.ownpilot.core.autonomy.actions import ActionShown, RiskShown
from functions.ownpilot.core.autonomy.rules import LEVELS, Points, shapes
from functions.ownpilot.core.entry import Given, NotBlank, Shown
from shared.http.bodies import example

RulesShown = shapes.shown
RulesPatch = shapes.patch


class LevelShown(Shown):
    """A level of autonomy."""

    level: int
    name: str
    description: str


class Configuration(Shown):
    """The rules of a person, and the levels that there are."""

    config: RulesShown
    levels: list[LevelShown]


class RulesChanged(Shown):
    """The rules after the change."""

    config: RulesShown
    message: str


class ActionToAssess(Given):
    """An action: its category, its type (such as the name of a tool) and its parameters."""

    model_config = example(category="tool_execution", actionType="delete_file", params={"path": "notes.txt"})

    category: NotBlank
    action_type: NotBlank
    params: dict[str, Any] = {}


class AssessedRisk(RiskShown):
    """A risk, and whether the rules of the person ask for approval because of it; `reason`: why they do."""

    requires_approval: bool
    reason: str | None


class Assessment(Shown):
    """The risk of an action, and the level of the person's rules."""

    risk: AssessedRisk
    autonomy_level: int
    autonomy_level_name: str


class WaitingActions(Shown):
    """The actions that wait for a decision, the newest first: at most 50."""

    pending: list[ActionShown]
    count: int


class NewDecision(Given):
    """Why it is decided so, and whether the same is decided about such actions for good."""

    model_config = example(reason="I asked for it", remember=False)

    reason: Annotated[str, StringConstraints(max_length=2000)] | None = None
    remember: bool = False


class Decided(Shown):
    """The action after the decision."""

    action: ActionShown
    message: str


class NewLevel(Given):
    """A level from 0 to 4."""

    model_config = example(level=3)

    level: Annotated[Any, WithJsonSchema({"type": "integer", "minimum": 0, "maximum": len(LEVELS) - 1})] = None


class LevelChanged(Shown):
    """The level after the change."""

    level: int
    level_name: str
    message: str


class ToolNamed(Given):
    """A tool."""

    model_config = example(tool="delete_task")

    tool: NotBlank


class AllowedTools(Shown):
    """The tools that need no approval, after the change."""

    allowed_tools: list[str]
    message: str


class BlockedTools(Shown):
    """The tools that need approval always, after the change."""

    blocked_tools: list[str]
    message: str


class BudgetPatch(Given):
    """The limits to change, in points of risk."""

    model_config = example(dailyBudget=5000)

    daily_budget: Points = 0
    max_cost_per_action: Points = 0


class AutonomyBudget(Shown):
    """The limits after the change."""

    daily_budget: float
    max_cost_per_action: float
    message: str
