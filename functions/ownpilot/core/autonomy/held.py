"""Whether a call of a tool may run, and a person's decisions about those that may not run by themselves."""

import asyncio
import contextlib
import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple, cast

import orjson

from functions.ownpilot.core.audit_log import AuditOutcome, Subject, record_event, redacted
from functions.ownpilot.core.autonomy.actions import WAITS, ActionStatus, HeldAction, action_shown, held_actions
from functions.ownpilot.core.autonomy.risk import RiskLevel, action_category, action_type, assess
from functions.ownpilot.core.autonomy.rules import AutonomyRules, Decision, change_rules, rules_of
from functions.ownpilot.core.live import publish
from functions.ownpilot.core.owner import Person
from functions.ownpilot.core.tool_context import ToolContext
from shared import tables
from shared.http.errors import NotFound

MAX_WAITING = 50
MAX_PARAMS = 20_000
"""Bytes of the parameters that are kept to be shown."""

_SUGGESTIONS = {RiskLevel.LOW: "approve", RiskLevel.MEDIUM: "review", RiskLevel.HIGH: "review"}
"""What is proposed to the person by the risk; `reject` for a critical one."""


class Held(NamedTuple):
    """Why a call may not run now, and the action to approve or reject; None when there is nothing to decide."""

    action_id: str | None
    reason: str


async def admit(context: ToolContext, tool: str, arguments: Mapping[str, Any], group: str) -> Held | None:
    """Return None when a call of a tool may run, else why it may not; the person is asked then.

    `group` is the category of the tool. An approval lets one call of the same tool with the same arguments pass.
    1 query. A call that needs approval costs 1 query more, and 1 write when it was approved; a new action 1 write and
    1 query more, and 1 delete for each action that matters no more.
    """
    rules = await rules_of(context.owner)
    type_, category = action_type(tool), action_category(tool, group)
    if answer := rules.remembered.get(_key(category, type_)):
        return None if answer == "approve" else Held(None, f"{type_} was rejected for good")
    risk = assess(category, type_, arguments)
    reason = rules.why_to_ask(category, type_, risk, lenient=context.source == "chat")
    if reason is None:
        return None
    call = _hash(tool, arguments)
    known = await _actions(context.owner)
    for each in known:
        if each.may_pass and each.is_about(call) and await _use(each):
            return None
    action = HeldAction(
        user_id=context.owner, category=category, type=type_, description=f"{tool}: {reason}",
        params=_readable(arguments), factors=risk.present, expires_at=datetime.now(UTC) + WAITS,
        context={"source": context.source, "session": context.session, "agent": context.agent},
    )  # fmt: skip
    action.seal_call(call)
    place = _place(known, action, call)
    if place is action:
        action = await held_actions.of(context.owner).insert(action)
        place = _place([*await _actions(context.owner), action], action, call)  # others may have come in the meantime
        if place is not action:
            await held_actions.of(context.owner).delete(action.id)
    if place is None:
        return Held(None, f"{reason}, and {MAX_WAITING} actions wait for a decision already")
    if place is action:
        await asyncio.gather(_tell_of_request(rules, action, context), *(_drop(each) for each in known if each.is_over))
    return Held(place.id, reason)


async def waiting_actions(owner: str) -> list[HeldAction]:
    """Return the actions that wait for a decision, the newest first. 1 query."""
    return [action for action in await _actions(owner) if action.is_waiting]


async def decide(
    owner: Person, action_id: str, decision: Decision, *, reason: str | None, remember: bool
) -> HeldAction:
    """Approve or reject an action. `NotFound` when it is unknown, decided or expired.

    `remember`: the decision holds for all actions of its type and category. An approval adds the score of the risk to
    what is spent. Both are written after the decision: a crash between the two loses them, and the person is asked
    again.
    """

    def change(action: HeldAction) -> None:
        if not action.is_waiting:
            raise NotFound("No such action waits for a decision: it was decided, or its five minutes are over")
        action.status = ActionStatus.APPROVED if decision == "approve" else ActionStatus.REJECTED
        action.reason, action.decided_at = reason, datetime.now(UTC)
        if remember:  # what is remembered lets calls pass, and when it is forgotten, this action must not
            action.used_at = action.decided_at

    def note(rules: AutonomyRules) -> None:
        if remember:
            rules.remembered = {**rules.remembered, _key(action.category, action.type): decision}
        if decision == "approve":
            rules.daily_spend += action.risk.score

    action = await held_actions.of(owner.id).update(action_id, change)
    if remember or decision == "approve":
        rules = await change_rules(owner.id, note)
    else:
        rules = await rules_of(owner.id)
    await asyncio.gather(
        _audit(rules, action, f"autonomy.{decision}", owner.request_id),
        publish(owner.id, "autonomy:decided", {"action": _on_wire(action)}),
    )
    return action


async def _actions(owner: str) -> list[HeldAction]:
    return [action async for action in held_actions.of(owner).all()]


def _place(known: list[HeldAction], action: HeldAction, call: str) -> HeldAction | None:
    """Return what a call waits as: an older action about it, else `action`; None when too many older ones wait."""
    older = [each for each in known if each.is_waiting and each.id < action.id]
    same = next((each for each in older if each.is_about(call)), None)
    return same or (action if len(older) < MAX_WAITING else None)


async def _use(action: HeldAction) -> bool:
    """Use an approval up; return whether no other call has done so."""

    def change(it: HeldAction) -> None:
        if it.used_at:
            raise _UsedByAnother
        it.used_at = datetime.now(UTC)

    try:
        await held_actions.of(action.user_id).update(action.id, change)
    except (_UsedByAnother, tables.RecordNotFound):
        return False
    return True


class _UsedByAnother(Exception):
    """Another call has used the approval."""


async def _drop(action: HeldAction) -> None:
    with contextlib.suppress(tables.RecordNotFound):
        await held_actions.of(action.user_id).delete(action.id)


def _key(category: str, type_: str) -> str:
    return f"{category}:{type_}"


def _hash(tool: str, arguments: Mapping[str, Any]) -> str:
    text = orjson.dumps([tool, arguments], default=str, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS)
    return hashlib.sha256(text).hexdigest()


def _readable(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments as they are kept to be shown: without secrets, and not longer than one would read."""
    shown = cast("dict[str, Any]", redacted(dict(arguments)))
    text = orjson.dumps(shown, default=str)
    return shown if len(text) <= MAX_PARAMS else {"preview": text[:1000].decode("utf-8", "replace")}


def _on_wire(action: HeldAction) -> dict[str, Any]:
    return action_shown(action).model_dump(mode="json", by_alias=True)


async def _tell_of_request(rules: AutonomyRules, action: HeldAction, context: ToolContext) -> None:
    """Write a request for approval down, and tell the person's sockets of it."""
    request = {
        "action": _on_wire(action),
        "suggestion": _SUGGESTIONS.get(action.risk.level, "reject"),
        "alternatives": action.risk.mitigations,
        "timeoutSeconds": int(WAITS.total_seconds()),
    }
    await asyncio.gather(
        _audit(rules, action, "autonomy.request", context.correlation_id, agent=context.agent),
        publish(context.owner, "autonomy:pending", request),
    )


async def _audit(
    rules: AutonomyRules, action: HeldAction, type_: str, request_id: str | None, agent: str | None = None
) -> None:
    if not rules.audit_enabled:
        return
    await record_event(
        action.user_id, type_, Subject("action", action.id, action.type), correlation_id=request_id,
        actor=Subject("agent", agent) if agent else None,
        outcome=AuditOutcome.FAILURE if action.status is ActionStatus.REJECTED else AuditOutcome.SUCCESS,
        details={"tool": action.type, "risk": action.risk.score, "reason": action.reason or action.description},
    )  # fmt: skip
