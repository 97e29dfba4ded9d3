"""Tools on triggers: what is done at a time, after an event, or under a condition."""

import uuid
from collections import Counter
from typing import Annotated, Any, Literal

from pydantic import Field

from functions.ownpilot import triggers as room
from functions.ownpilot.core.tool_context import ToolContext, ToolError
from functions.ownpilot.core.trigger_store import FiringStatus, firings, stored_triggers
from functions.ownpilot.tools.records import listed, present, shown
from functions.ownpilot.tools.registry import tool
from functions.ownpilot.triggers.firing import fire_now
from functions.ownpilot.triggers.seeds import seed
from shared.deferred import defer

Type = Literal["schedule", "event", "condition", "webhook"]
Condition = Literal["stale_goals", "upcoming_deadline", "memory_threshold", "low_progress", "no_activity"]
Action = Literal["chat", "tool", "notification", "goal_check", "memory_summary"]


@tool(category="automation", tags=("schedule", "remind", "automate", "cron"))
async def create_trigger(
    context: ToolContext,
    name: str,
    type_: Type,
    action_type: Action,
    action_payload: Annotated[
        dict[str, Any],
        Field(description="chat: prompt; notification: message; tool: tool, and its parameters; others: nothing"),
    ],
    description: str | None = None,
    cron: Annotated[str | None, Field(description="Of a schedule: five fields, such as 0 9 * * 1-5, in UTC")] = None,
    event_type: Annotated[str | None, Field(description="Of an event: such as chat_completed")] = None,
    condition: Condition | None = None,
    threshold: Annotated[float | None, Field(description="Of a condition: days, memories or percent")] = None,
    enabled: bool | None = None,
    priority: Annotated[int | None, Field(description="From 1 to 10, the most important; by default 5")] = None,
) -> Any:
    """Create a trigger, which does something by itself at a time, after an event, or under a condition."""
    config = present(cron=cron, eventType=event_type, condition=condition, threshold=threshold)
    values = {"name": name, "type": type_, "config": config, "action": {"type": action_type, "payload": action_payload}}
    more = present(description=description, enabled=enabled, priority=priority)
    return {"trigger": shown(room.TriggerShown, await room.create_trigger(context.owner, values | more))}


@tool(category="automation", tags=("schedule", "find"))
async def list_triggers(context: ToolContext, type_: Type | None = None, enabled: bool | None = None) -> Any:
    """List the user's triggers, the most important first."""
    await seed(context.owner)
    return await listed(room.triggers, context.owner, "triggers", {"type": type_, "enabled": enabled})


@tool(category="automation", tags=("schedule", "switch", "disable"))
async def enable_trigger(context: ToolContext, trigger_id: str, enabled: bool) -> Any:
    """Switch a trigger on or off."""
    return {"trigger": shown(room.TriggerShown, await room.switch_trigger(context.owner, trigger_id, enabled))}


@tool(category="automation", tags=("run", "now"))
async def fire_trigger(context: ToolContext, trigger_id: str) -> Any:
    """Fire a trigger now. One that asks the assistant works on by itself, and its history tells what came of it."""
    if context.source == "trigger":
        raise ToolError("A trigger cannot fire triggers.")
    owner = context.owner
    trigger = await room.triggers.get(owner, trigger_id)
    if trigger.action["type"] == "chat":  # which takes longer than a tool may
        order = {"user": owner, "trigger": trigger.id, "occasion": f"{trigger.id} {uuid.uuid4().hex}", "by_hand": True}
        await defer("ownpilot.start_firing", order)
        return {"message": f"{trigger.name} has been fired; its history tells what comes of it."}
    line = await fire_now(owner, trigger, context.depth + 1)
    if line.error is not None:
        raise ToolError(line.error)
    return {"message": f"{trigger.name} was fired.", "result": line.result}


@tool(category="automation", tags=("schedule", "remove"))
async def delete_trigger(context: ToolContext, trigger_id: str) -> Any:
    """Delete a trigger and its history."""
    await room.delete_trigger(context.owner, trigger_id)
    return {"deleted": trigger_id}


@tool(category="automation", tags=("statistics", "count"))
async def trigger_stats(context: ToolContext) -> Any:
    """Count the user's triggers, in total and by type, and what came of their firings."""
    await seed(context.owner)
    found = [each async for each in stored_triggers.of(context.owner).all()]
    statuses = (await firings.of(context.owner).totals({})).by("status")
    return {
        "total": len(found),
        "enabled": sum(each.enabled for each in found),
        "byType": Counter(each.type.value for each in found),
        "firings": sum(statuses.values()),
        "byStatus": {each.value: statuses[each] for each in FiringStatus},
    }
