"""The one door through which every tool is used: by a model, by a request, by a plan."""

import asyncio
import json
import logging
import time
from collections.abc import Mapping
from typing import Any

from functions.ownpilot.core.argument_schema import has_large
from functions.ownpilot.core.audit_log import AuditOutcome, Severity, Subject, record_event
from functions.ownpilot.core.autonomy import Held, admit
from functions.ownpilot.core.debug_log import DebugType, record_debug
from functions.ownpilot.core.tool_context import Checked, ToolContext, ToolError, ToolResult, WrongArguments
from functions.ownpilot.tools import meta, schemas
from functions.ownpilot.tools.registry import Tool, tools_for
from shared.http.errors import HANDLED, api_error
from shared.tables import StorageUnavailable

log = logging.getLogger(__name__)

MAX_BYTES = 200 * 1024
"""Bytes of a result; a longer one is cut."""

MAX_DEPTH = 5
"""How many tools may use each other, one inside the other."""

Arguments = Mapping[str, Any] | str
"""The arguments of a call: an object, or its JSON as a model wrote it."""


async def use_tool(context: ToolContext, name: str, arguments: Arguments, found: Tool | None = None) -> ToolResult:
    """Use a tool and return its result; whatever goes wrong is a result too, with `is_error`.

    The arguments are checked, the user's rules are asked, and the call is written down in the audit and debug logs. It
    may take the tool's `seconds`, and its result have `MAX_BYTES`. A call of `use_tool` is one of the tool inside it.
    `found` is the tool, when the caller has looked it up.
    """
    name, arguments = meta.unwrapped(name, arguments)
    started = time.monotonic()
    try:
        found = found or await _find(context, name)
        checked = _check(found, arguments)
        if found.category == meta.CATEGORY:
            return await _run(found, context, checked, started)
        held = await admit(context, name, checked.given, found.category)
    except ToolError as error:
        return _result(started, str(error), is_error=True)
    except HANDLED as error:
        return _result(started, api_error(error).message, is_error=True)
    if held:
        result = _rejected(started, name, held)
    else:
        result = await _run(found, context, checked, started)
    await _write_down(context, name, checked.given, result)
    return result


async def try_tool(context: ToolContext, found: Tool, arguments: Arguments) -> ToolResult:
    """Run a tool that no list has, for the person who is about to make it; nothing is asked or written down."""
    started = time.monotonic()
    try:
        checked = _check(found, arguments)
    except ToolError as error:
        return _result(started, str(error), is_error=True)
    return await _run(found, context, checked, started)


async def _find(context: ToolContext, name: str) -> Tool:
    tools = await tools_for(context.owner, context.allowed)
    found = meta.TOOLS.get(name) or tools.get(name)
    if found is None:
        raise ToolError(meta.unknown(name, tools))
    if context.depth > MAX_DEPTH:
        raise ToolError(f"At most {MAX_DEPTH} tools can use each other, one inside the other.")
    return found


def _check(found: Tool, arguments: Arguments) -> Checked:
    """Return arguments that suit a tool; null is none, as models send it for what they leave out.

    `ToolError` says what is wrong, and what the tool takes.
    """
    given = {name: value for name, value in meta.members(arguments).items() if value is not None}
    try:
        checked = found.check(given)
    except WrongArguments as error:
        shown = schemas.help_of(found.name, found.description, found.parameters)
        raise ToolError(f"{'; '.join(error.reasons[:10])}\n\n{shown}") from None
    if has_large(checked.given):
        raise ToolError("Whole numbers must be below 2^63: send a larger one as a text.")
    return checked


def _rejected(started: float, name: str, held: Held) -> ToolResult:
    """Return the result of a call that the user's rules do not let pass."""
    text = f"The call of {name} was rejected: {held.reason}."
    if held.action_id:
        text += f" It waits for the user's approval as {held.action_id}; once approved, the same call passes."
    return _result(started, text, is_error=True, rejected=True, pendingAction=held.action_id, reason=held.reason)


async def _run(found: Tool, context: ToolContext, checked: Checked, started: float) -> ToolResult:
    try:
        async with asyncio.timeout(found.seconds):
            answer = await found.run(context, checked.values)
        if isinstance(answer, ToolResult):
            return _result(started, answer.content, is_error=answer.is_error, **answer.metadata)
        return _result(started, answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False))
    except ToolError as error:
        text = str(error)
    except HANDLED as error:
        text = api_error(error).message
    except TimeoutError:
        text = f"{found.name} did not end within {found.seconds:g} seconds and was stopped."
    except Exception:
        log.exception("tool %s failed", found.name)
        text = f"{found.name} failed."
    return _result(started, text, is_error=True)


def _result(started: float, text: str, *, is_error: bool = False, **metadata: Any) -> ToolResult:
    data = text.encode("utf-8", "replace")
    text = data.decode()  # without halves of surrogate pairs, which no answer can hold
    if len(data) > MAX_BYTES:
        metadata["cut"] = True
        kept = data[:MAX_BYTES].decode("utf-8", "ignore")
        text = f"{kept}\n[The result has {len(data)} bytes; only the first {MAX_BYTES} are shown.]"
    return ToolResult(text, is_error, metadata, round((time.monotonic() - started) * 1000, 2))


async def _write_down(context: ToolContext, name: str, arguments: dict[str, Any], result: ToolResult) -> None:
    """Write a call into the audit and debug logs. The tool has run, so a failure of storage is not one of the call."""
    outcome = (AuditOutcome.SUCCESS, AuditOutcome.FAILURE)[result.is_error]
    details: dict[str, Any] = {"arguments": arguments, "durationMs": result.duration, "source": context.source}
    shown: dict[str, Any] = {"tool": name, "success": not result.is_error, "result": result.content}
    try:
        await asyncio.gather(
            record_event(
                context.owner, "tool.error" if result.is_error else "tool.success", Subject("tool", name),
                actor=Subject("agent", context.agent) if context.agent else None,
                severity=Severity.WARN if result.is_error else Severity.INFO, outcome=outcome,
                details=details | ({"error": result.content} if result.is_error else {}),
                correlation_id=context.correlation_id,
            ),
            record_debug(context.owner, DebugType.TOOL_CALL, {"tool": name, "arguments": arguments}),
            record_debug(context.owner, DebugType.TOOL_RESULT, shown, duration=result.duration),
        )  # fmt: skip
    except StorageUnavailable as error:
        log.warning("a call of the tool %s is missing in the logs: %s", name, error)
