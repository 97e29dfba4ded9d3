"""Autonomy: what the assistant may do by itself, how risky an action is, and decisions about those that wait."""

from collections.abc import Callable
from typing import Literal

from pydantic import BaseModel

from functions.ownpilot.autonomy.bodies import (
    ActionToAssess,
    AllowedTools,
    AssessedRisk,
    Assessment,
    AutonomyBudget,
    BlockedTools,
    BudgetPatch,
    Configuration,
    Decided,
    LevelChanged,
    LevelShown,
    NewDecision,
    NewLevel,
    RulesChanged,
    RulesPatch,
    ToolNamed,
    WaitingActions,
)
from functions.ownpilot.core.audit_log import record_change
from functions.ownpilot.core.autonomy.actions import action_shown, risk_shown
from functions.ownpilot.core.autonomy.held import decide, waiting_actions
from functions.ownpilot.core.autonomy.risk import assess
from functions.ownpilot.core.autonomy.rules import (
    LEVELS,
    MAX_NAMES,
    AutonomyRules,
    change_rules,
    reset_rules,
    rules_of,
)
from functions.ownpilot.core.owner import Owner, Person, routes_for
from shared.http.bodies import Done
from shared.http.errors import BadRequest

routes = routes_for("autonomy")


@routes.get("/config")
async def get_autonomy(owner: Owner) -> Configuration:
    """The rules of the caller, and the levels that there are."""
    levels = [LevelShown(level=at, name=it.name, description=it.description) for at, it in enumerate(LEVELS)]
    return Configuration(config=await rules_of(owner.id), levels=levels)


@routes.patch("/config")
async def update_autonomy(body: RulesPatch, owner: Owner) -> RulesChanged:
    """Change the given members of the rules."""
    return RulesChanged(config=await _set(owner, body), message="Autonomy changed")


@routes.patch("/budget")
async def update_autonomy_budget(body: BudgetPatch, owner: Owner) -> AutonomyBudget:
    """Change the given limits."""
    rules = await _set(owner, body)
    return AutonomyBudget(
        daily_budget=rules.daily_budget, max_cost_per_action=rules.max_cost_per_action, message="Budget changed"
    )


@routes.post("/level")
async def set_level(body: NewLevel, owner: Owner) -> LevelChanged:
    """Set the level."""
    level = body.level
    if type(level) is not int or not 0 <= level < len(LEVELS):
        raise BadRequest(f"level: must be a whole number from 0 to {len(LEVELS) - 1}", code="INVALID_LEVEL")
    rules = await _change(owner, lambda rules: setattr(rules, "level", level), f"level {level}")
    name = LEVELS[rules.level].name
    return LevelChanged(level=rules.level, level_name=name, message=f"The level is {name} now")


@routes.post("/tools/allow")
async def allow_tool(body: ToolNamed, owner: Owner) -> AllowedTools:
    """Let a tool run without approval."""
    rules = await _list_tool(owner, body.tool, "allowed_tools")
    return AllowedTools(allowed_tools=rules.allowed_tools, message=f"{body.tool} is allowed")


@routes.post("/tools/block")
async def block_tool(body: ToolNamed, owner: Owner) -> BlockedTools:
    """Let a tool run with approval only, whatever the level is."""
    rules = await _list_tool(owner, body.tool, "blocked_tools")
    return BlockedTools(blocked_tools=rules.blocked_tools, message=f"{body.tool} is blocked")


@routes.delete("/tools/{tool}")
async def unlist_tool(tool: str, owner: Owner) -> Done:
    """Neither allow nor block a tool: the level decides, and no earlier decision for good."""
    await _list_tool(owner, tool, None)
    return Done(message=f"{tool} is neither allowed nor blocked")


async def _list_tool(owner: Person, tool: str, name: Literal["allowed_tools", "blocked_tools"] | None) -> AutonomyRules:
    """Put a tool in one of the two lists and out of the other, or in none. `BadRequest` LIMIT_REACHED."""

    def change(rules: AutonomyRules) -> None:
        rules.unlist(tool)
        if name:
            listed: list[str] = getattr(rules, name)
            if len(listed) >= MAX_NAMES:
                raise BadRequest(f"There are {MAX_NAMES} tools in the list already", code="LIMIT_REACHED")
            listed.append(tool)

    return await _change(owner, change, f"{tool} in {name or 'no list'}")


async def _set(owner: Person, body: BaseModel) -> AutonomyRules:
    def change(rules: AutonomyRules) -> None:
        for name in body.model_fields_set:
            setattr(rules, name, getattr(body, name))

    return await _change(owner, change, f"changed {', '.join(sorted(body.model_fields_set))}")


async def _change(owner: Person, how: Callable[[AutonomyRules], None], action: str) -> AutonomyRules:
    rules = await change_rules(owner.id, how)
    await record_change(owner, "autonomy", "config", action)
    return rules


@routes.post("/config/reset")
async def reset_autonomy(owner: Owner) -> RulesChanged:
    """Bring back the default rules, and forget all decisions for good."""
    rules = await reset_rules(owner.id)
    await record_change(owner, "autonomy", "config", "reset")
    return RulesChanged(config=rules, message="Autonomy is back at its defaults")


@routes.post("/assess")
async def assess_action(body: ActionToAssess, owner: Owner) -> Assessment:
    """How risky an action is, and whether the rules of the caller ask for approval."""
    rules = await rules_of(owner.id)
    risk = assess(body.category, body.action_type, body.params)
    reason = rules.why_to_ask(body.category, body.action_type, risk)
    return Assessment(
        risk=AssessedRisk(**risk_shown(risk), requires_approval=reason is not None, reason=reason),
        autonomy_level=rules.level, autonomy_level_name=LEVELS[rules.level].name,
    )  # fmt: skip


@routes.get("/pending")
@routes.get("/approvals", name="list_approvals")
async def list_waiting_actions(owner: Owner) -> WaitingActions:
    """The actions that wait for a decision, the newest first: at most 50, each for five minutes."""
    waiting = [action_shown(action) for action in await waiting_actions(owner.id)]
    return WaitingActions(pending=waiting, count=len(waiting))


@routes.post("/approve/{action_id}")
@routes.post("/approvals/{action_id}/approve", name="approve")
async def approve_action(action_id: str, body: NewDecision, owner: Owner) -> Decided:
    """Let the call that waits run once when it is made again, or with `remember` all such calls. Nothing runs now."""
    action = await decide(owner, action_id, "approve", reason=body.reason, remember=body.remember)
    always, once = f"{action.type} no longer asks", "The same call may run once within an hour"
    return Decided(
        action=action_shown(action), message=f"Approved. {always if body.remember else once}. Nothing has run yet."
    )


@routes.post("/reject/{action_id}")
@routes.post("/approvals/{action_id}/reject", name="reject")
async def reject_action(action_id: str, body: NewDecision, owner: Owner) -> Decided:
    """Refuse the call that waits; with `remember`, all such calls from now on."""
    action = await decide(owner, action_id, "reject", reason=body.reason, remember=body.remember)
    message = f"Rejected. {action.type} is refused from now on." if body.remember else "Rejected."
    return Decided(action=action_shown(action), message=message)
