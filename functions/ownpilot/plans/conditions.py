"""Conditions of plans: `true`, `false`, `result:<step id>`, and comparisons of results."""

import ast
import json
import re
from collections.abc import Mapping
from typing import Any

from functions.ownpilot.core.tool_context import ToolError

MAX_CONDITION = 1000
"""Characters of a condition."""

_RESULT = re.compile(r"result:([a-z]+_[0-9a-f]+)")
_WORDS = {"true": True, "false": False, "null": None, "True": True, "False": False, "None": None}
_NODES = (
    ast.Constant, ast.Compare, ast.BoolOp, ast.UnaryOp, ast.Name, ast.Subscript, ast.List,
)  # fmt: skip
"""What a condition may consist of: nothing is called, and nothing is reached by a dot."""

_MEMBERS = {
    "tool_call": "result", "llm_decision": "decision", "condition": "result", "parallel": "results",
    "loop": "results", "sub_plan": "status",
}  # fmt: skip


def named_in(condition: str) -> set[str]:
    """Return the ids of the steps whose results a condition is about."""
    return set(_RESULT.findall(condition))


def holds(condition: str, results: Mapping[str, Any]) -> bool:
    """Return whether a condition holds; `results` are the values of the completed steps that it names. `ToolError`.

    `result:step_1 == "yes" and result:step_2["total"] > 3` compares values, as `value_of` makes them. A value alone
    holds unless it is empty, zero, false or null.
    """
    import simpleeval  # 8 ms

    text = condition.strip()
    if len(text) > MAX_CONDITION:
        raise ToolError(f"A condition has at most {MAX_CONDITION} characters.")
    used = named_in(text)
    if unknown := sorted(used - results.keys()):
        raise ToolError(f"The condition is about the result of {unknown[0]}, which is not completed.")
    names = {**_WORDS, **{step_id: results[step_id] for step_id in used}}
    text = _RESULT.sub(r" \1 ", text)
    evaluator = simpleeval.EvalWithCompoundTypes(names=names, functions={})
    nodes: Any = evaluator.nodes
    evaluator.nodes = {kind: nodes[kind] for kind in _NODES}
    try:
        return bool(evaluator.eval(text, ast.parse(text.strip(), mode="eval").body))
    except SyntaxError:
        raise ToolError(f"This is not a condition: {condition[:100]}") from None
    except (RecursionError, MemoryError):
        raise ToolError("The condition is nested too deeply.") from None
    except (simpleeval.InvalidExpression, ValueError, TypeError, LookupError) as error:
        raise ToolError(f"The condition cannot be judged: {str(error)[:200]}") from None


def value_of(type_: str, result: Any) -> Any:
    """Return what a condition sees of the result of a step of this type: its essence, a text of JSON as its value."""
    member = _MEMBERS.get(type_)
    value: Any = result.get(member) if member and isinstance(result, dict) else result
    if isinstance(value, str):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value
