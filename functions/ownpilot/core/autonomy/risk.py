"""How risky an action is: a score from the kind of the action and from what speaks for caution. No storage."""

import json
import re
from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import Any, NamedTuple


class RiskLevel(StrEnum):
    """How risky an action is, the least risky first."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class Factor(NamedTuple):
    """What speaks for caution: `weight` from 0 to 1, and what one can do about it."""

    description: str
    weight: float
    mitigation: str


FACTORS = {
    "data_deletion": Factor("Deletes data", 0.8, "Keep a copy of what is deleted"),
    "data_modification": Factor("Changes data", 0.5, "Look at the values before and after the change"),
    "sensitive_data": Factor("Handles sensitive data", 0.7, "Leave out or mask what is sensitive"),
    "bulk_operation": Factor("Does many things at once", 0.4, "Try it with a few items first"),
    "external_api": Factor("Calls a service outside", 0.5, "Check what is sent to the service"),
    "email_send": Factor("Sends an e-mail", 0.6, "Read text and recipients before it is sent"),
    "notification_send": Factor("Sends a message", 0.3, "Read the message before it is sent"),
    "code_execution": Factor("Runs code", 0.9, "Run it where it can do no harm"),
    "system_command": Factor("Runs a command of the system", 0.95, "Read the command, and run it with few rights"),
    "file_write": Factor("Writes a file", 0.6, "Write to a new file"),
    "file_delete": Factor("Deletes a file", 0.8, "Move the file away instead"),
    "financial_transaction": Factor("Moves money", 1.0, "Check amount and recipient"),
    "high_cost": Factor("Costs much", 0.6, "Set a limit to the costs"),
    "irreversible": Factor("Cannot be undone", 0.7, "Make sure that nothing is needed any more"),
    "affects_others": Factor("Concerns other people", 0.5, "Ask those whom it concerns"),
    "system_wide": Factor("Concerns the whole system", 0.8, "Narrow it to what is needed"),
}
_ALL_WEIGHTS = sum(factor.weight for factor in FACTORS.values())

BASES = {
    "tool_execution": 20, "data_modification": 30, "external_communication": 40, "file_operation": 25,
    "code_execution": 70, "system_command": 80, "api_call": 35, "notification": 15, "plan_execution": 45,
    "memory_modification": 25, "goal_modification": 20, "financial": 90,
}  # fmt: skip
"""Points of each category of actions."""

OTHER_BASE = 30
"""Points of an action of any other category."""

_FLOORS = {RiskLevel.CRITICAL: 75, RiskLevel.HIGH: 50, RiskLevel.MEDIUM: 25, RiskLevel.LOW: 0}
"""The lowest score of each level."""

_TYPES = {"email_send": "send_email"}
"""What an action is called whose tool has another name."""

_KNOWN: dict[str, frozenset[str]] = {
    "write_file": frozenset({"file_write", "data_modification"}),
    "move_file": frozenset({"file_write", "data_modification"}),
    "delete_file": frozenset({"file_delete", "data_deletion", "irreversible"}),
    "execute_code": frozenset({"code_execution", "irreversible"}),
    "run_script": frozenset({"code_execution", "system_command"}),
    "send_email": frozenset({"email_send", "external_api", "affects_others"}),
    "send_channel_message": frozenset({"notification_send", "external_api"}),
    "web_fetch": frozenset({"external_api"}),
    "api_call": frozenset({"external_api"}),
    "trigger_task": frozenset({"external_api"}),
    "email_delete": frozenset({"data_deletion", "irreversible", "external_api"}),
    **dict.fromkeys(
        ("expense_add", "reminder_create", "clipboard_save", "news_add_feed", "pomodoro_start", "pomodoro_stop"),
        frozenset({"data_modification"}),
    ),
}
_CHANGES = re.compile(r"(batch_)?(add|update|create|complete|remember|boost|decompose)(_|$)")
_DELETES = re.compile(r"(batch_)?(delete|forget)(_|$)")

_SENSITIVE_WORDS = (
    "password", "secret", "token", "api_key", "apikey", "credential", "private", "ssn", "credit_card", "bank",
)  # fmt: skip
_FLAGS = {
    "bulk_operation": ("bulk", "all"),
    "sensitive_data": ("sensitive",),
    "irreversible": ("force", "permanent", "noUndo"),
    "affects_others": ("recipients", "broadcast", "users"),
    "system_wide": ("global", "systemWide"),
}
"""The parameters that say by a true value that a factor is present."""

_MANY = 10
_MUCH = {"cost": 1000, "tokens": 5000}

_CATEGORIES = {
    "memory": "memory_modification", "goals": "goal_modification", "filesystem": "file_operation",
    "codeExecution": "code_execution", "email": "external_communication",
}  # fmt: skip
"""The category of actions to which the changing tools of a group belong, where it is not `data_modification`."""


class Risk(NamedTuple):
    """The risk of an action: a score from 0 to 100, its level, and the factors that are present."""

    score: int
    level: RiskLevel
    present: list[str]

    @property
    def mitigations(self) -> list[str]:
        """What one can do about the factors that are present."""
        return [FACTORS[name].mitigation for name in self.present]


def action_type(tool: str) -> str:
    """Return the type of the action that a tool does: its name, but where the rules know it by another one."""
    return _TYPES.get(tool, tool)


def action_category(tool: str, group: str) -> str:
    """Return the category of the action that a tool of this group does: `tool_execution` when it changes nothing."""
    known = known_factors(action_type(tool))
    if "email_send" in known:
        return "external_communication"
    return _CATEGORIES.get(group, "data_modification") if known else "tool_execution"


def known_factors(type_: str) -> frozenset[str]:
    """Return the factors that an action of this type always has."""
    if known := _KNOWN.get(type_):
        return known
    if _DELETES.match(type_):
        found = {"data_deletion"}
    elif _CHANGES.match(type_):
        found = {"data_modification"}
    else:
        return frozenset()
    return frozenset(found | {"sensitive_data"} if "contact" in type_ else found)


def assess(category: str, type_: str, params: Mapping[str, Any]) -> Risk:
    """Return the risk of an action with these parameters."""
    return risk_of(category, known_factors(type_) | _given_factors(params))


def risk_of(category: str, present: Collection[str]) -> Risk:
    """Return the risk of an action with these factors."""
    weights = sum(FACTORS[name].weight for name in present)
    base = BASES.get(category, OTHER_BASE)
    score = min(100, int((base + 100 * weights / _ALL_WEIGHTS) / 2 + 0.5))
    level = next(level for level, floor in _FLOORS.items() if score >= floor)
    return Risk(score, level, [name for name in FACTORS if name in present])


def _given_factors(params: Mapping[str, Any]) -> frozenset[str]:
    found = {factor for factor, flags in _FLAGS.items() if any(params.get(flag) for flag in flags)}
    items: Any = params.get("items")
    if isinstance(items, list) and len(items) > _MANY:
        found.add("bulk_operation")
    if any(_number(params.get(name)) > most for name, most in _MUCH.items()):
        found.add("high_cost")
    text = json.dumps(params, default=str).lower()
    if any(word in text for word in _SENSITIVE_WORDS):
        found.add("sensitive_data")
    return frozenset(found)


def _number(value: Any) -> float:
    return value if isinstance(value, int | float) else 0
