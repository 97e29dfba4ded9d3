"""A turn: the model is asked, uses tools, is asked again, until it answers. One function for all who ask."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from functions.ownpilot.chat.context import fitted
from functions.ownpilot.chat.conversations import TurnStatus
from functions.ownpilot.chat.effects import finish, keep_alive
from functions.ownpilot.chat.preparing import prepare
from functions.ownpilot.chat.progress import Progress
from functions.ownpilot.chat.question import Prepared, Question
from functions.ownpilot.chat.trace import json_object, milliseconds_since, preview
from functions.ownpilot.core.budget import check_budget
from functions.ownpilot.core.entry import iso
from functions.ownpilot.core.llm import Finish, Message, ModelError, Text, ToolCall, Usage, ask
from functions.ownpilot.core.owner import Person
from functions.ownpilot.core.prices import price_in
from functions.ownpilot.core.tool_context import ToolContext, ToolResult
from functions.ownpilot.core.usage import FREE
from functions.ownpilot.tools.meta import TOOLS as META_TOOLS
from functions.ownpilot.tools.meta import unwrapped
from functions.ownpilot.tools.use import use_tool
from shared.http.errors import HANDLED, ApiError, api_error
from shared.outbound import Retry

SYNC_SECONDS = 200.0
"""After this time an answer that is not streamed ends as it is: the platform ends a request after 230 seconds."""

LAST_WORDS = 5.0
"""Seconds for which an answer that has run out of time waits for its reader, to say so."""

OUT_OF_TIME = "[The answer ends here: the time for one answer is over. Ask again to continue.]"
OUT_OF_TIME_REASON = "time_limit"

Emit = Callable[[str, dict[str, Any]], Awaitable[None]]
"""Is called with each event of a turn: its name and its data."""


@dataclass(frozen=True)
class TurnAnswer:
    """What came of a turn."""

    id: str
    conversation_id: str
    text: str
    model: str
    finish_reason: str | None
    calls: list[dict[str, Any]]
    usage: dict[str, int]
    trace: dict[str, Any]


class TurnFailed(ApiError):
    """500: the model could not be asked, or did not come to an end; the message says why."""


class _LimitReached(Exception):
    """The model has asked for more turns or calls than one message may take."""


async def take_turn(owner: Person, question: Question, *, seconds: float | None = SYNC_SECONDS) -> TurnAnswer:
    """Ask the assistant, and return its whole answer. The errors of `prepare`, and `TurnFailed`.

    After `seconds` the answer ends as it is, and says so.
    """
    return await run(await prepare(owner, question), seconds=seconds)


async def _ignore(event: str, data: dict[str, Any]) -> None:
    """Do nothing with an event: nobody follows this turn."""


async def run(
    turn: Prepared, emit: Emit = _ignore, *, stream: bool = False, seconds: float | None = None
) -> TurnAnswer:
    """Carry out a turn that was prepared; `emit` is called with each event but the last one, which the caller sends.

    Whatever happens, what was said is written down before this returns or raises: also when the task is cancelled,
    because the client has left. `TurnFailed`.
    """
    return await _Run(turn, emit, stream=stream).run(seconds)


class _Run:
    def __init__(self, turn: Prepared, emit: Emit, *, stream: bool):
        self.turn, self.emit, self.stream, self.so_far = turn, emit, stream, Progress()

    async def run(self, seconds: float | None) -> TurnAnswer:
        so_far = self.so_far
        error: str | None = None
        alive = asyncio.create_task(keep_alive(self.turn))
        try:
            await self._converse_within(seconds)
        except (ModelError, _LimitReached) as failure:
            error = str(failure)
        except HANDLED as failure:
            error = api_error(failure).message
        except asyncio.CancelledError:
            so_far.finish_reason = "cancelled"
            await finish(self.turn, so_far.ending(self.turn, TurnStatus.STOPPED, None), so_far.answer_id)
            raise
        except Exception:
            await finish(
                self.turn, so_far.ending(self.turn, TurnStatus.FAILED, "Internal server error"), so_far.answer_id
            )
            raise
        finally:
            alive.cancel()
        ending = so_far.ending(self.turn, TurnStatus.DONE if error is None else TurnStatus.FAILED, error)
        # Also when the client leaves now, all of it is written.
        await asyncio.shield(asyncio.ensure_future(finish(self.turn, ending, so_far.answer_id)))
        if error is not None:
            raise TurnFailed(error)
        return TurnAnswer(
            so_far.answer_id, self.turn.conversation.id, so_far.text, self.turn.model, so_far.finish_reason,
            so_far.calls, ending.usage, ending.trace,
        )  # fmt: skip

    async def _converse_within(self, seconds: float | None) -> None:
        """As `_converse`; after so many seconds the answer ends as it is, and says so."""
        try:
            async with asyncio.timeout(seconds):
                await self._converse()
        except TimeoutError:
            self.so_far.finish_reason = OUT_OF_TIME_REASON
            with contextlib.suppress(TimeoutError):  # who follows the turn may have stopped reading
                async with asyncio.timeout(LAST_WORDS):
                    await self._say(f"\n\n{OUT_OF_TIME}" if self.so_far.text else OUT_OF_TIME)

    async def _converse(self) -> None:
        """Ask until the model calls no more tools. `_LimitReached`, `ModelError`; `TooManyRequests` for the budget."""
        turn, so_far = self.turn, self.so_far
        for number in range(turn.max_turns):
            if number:  # `prepare` has looked before the first call
                price = price_in(turn.target.model) or FREE
                await check_budget(turn.owner.id, price.cost(so_far.input_tokens, so_far.output_tokens))
            await self._status("Thinking" if number == 0 else "Thinking about the results", {"turn": number + 1})
            text, calls = await self._ask()
            if not calls:
                so_far.exchange.append([Message("assistant", text)])
                return
            if len(so_far.calls) + len(calls) > turn.max_tool_calls:
                raise _LimitReached(f"The model called more than {turn.max_tool_calls} tools for one message")
            shown = [{"id": call.id, "name": call.name, "arguments": json_object(call.arguments)} for call in calls]
            so_far.calls += shown
            await self._chunk(toolCalls=shown)
            results = await asyncio.gather(*map(self._use, calls))
            said = [
                Message("tool", result.content, tool_call_id=call.id)
                for call, result in zip(calls, results, strict=True)
            ]
            so_far.exchange.append([Message("assistant", text, tuple(calls)), *said])
        raise _LimitReached(f"The model did not come to an end in {turn.max_turns} turns")

    async def _ask(self) -> tuple[str, Sequence[ToolCall]]:
        """Ask once; return what the model says and which tools it calls."""
        turn, so_far, trace = self.turn, self.so_far, self.turn.trace
        started, begun, calls, used = time.monotonic(), len(so_far.text), list[ToolCall](), [0, 0]
        gap = "\n\n" if so_far.text else ""
        messages = fitted(turn.system, turn.past, turn.asked, so_far.exchange, turn.room)
        answer = ask(
            turn.target, messages, turn.tools, temperature=turn.agent.temperature if turn.agent else None,
            max_tokens=turn.answer_tokens, stream=self.stream, on_retry=self._retried,
        )  # fmt: skip
        try:
            async with aclosing(answer) as parts:
                async for part in parts:
                    match part:
                        case Text():
                            await self._say(gap + part.text)
                            begun, gap = begun + len(gap), ""
                        case ToolCall():
                            calls.append(part)
                        case Usage():
                            used = [used[0] + part.input_tokens, used[1] + part.output_tokens]
                        case Finish():
                            so_far.finish_reason = part.reason
        finally:
            so_far.input_tokens += used[0]
            so_far.output_tokens += used[1]
            duration = milliseconds_since(started)
            trace.model_calls.append({
                "provider": turn.target.provider, "model": turn.model, "tokens": sum(used), "inputTokens": used[0],
                "outputTokens": used[1], "duration": duration,
            })  # fmt: skip
            trace.events.append({"type": "model", "name": turn.model, "duration": duration})
        return so_far.text[begun:], calls

    async def _use(self, call: ToolCall) -> ToolResult:
        """Run one tool; a call of `use_tool` is shown as the tool inside it."""
        turn, trace = self.turn, self.turn.trace
        name, inner = unwrapped(call.name, call.arguments)
        arguments = json_object(inner) if isinstance(inner, str) else dict(inner)
        tool = {"id": call.id, "name": name}
        await self._progress("tool_start", tool={**tool, "arguments": arguments})
        context = ToolContext(
            turn.owner.id, turn.conversation.id, turn.agent.id if turn.agent else None, turn.question.source,
            allowed=turn.allowed, correlation_id=turn.owner.request_id, workspace=turn.question.workspace_id,
        )  # fmt: skip
        result = await use_tool(context, call.name, call.arguments)
        reason = result.metadata.get("reason")
        if reason is not None:
            await self.emit("autonomy", {"type": "tool_blocked", "toolCall": tool, "reason": reason})
        if name not in META_TOOLS:
            trace.checks.append(
                {"tool": name, "approved": reason is None, **({} if reason is None else {"reason": reason})}
            )
        shown, duration = preview(result.content), round(result.duration)
        self.so_far.results.append({"toolCallId": call.id, "content": result.content, "isError": result.is_error})
        trace.tool_calls.append({
            "name": name, "arguments": arguments, "result": shown, "success": not result.is_error,
            "duration": duration, **({"error": shown} if result.is_error else {}),
        })  # fmt: skip
        trace.events.append({"type": "tool", "name": name, "duration": duration, "success": not result.is_error})
        trace.adds += not result.is_error and name in ("remember", "batch_remember")
        outcome = {"success": not result.is_error, "preview": shown, "durationMs": duration}
        await self._progress("tool_end", tool=tool, result=outcome)
        return result

    def _retried(self, retry: Retry) -> None:
        self.turn.trace.retries.append(asdict(retry))

    async def _say(self, text: str) -> None:
        self.so_far.text += text
        await self._chunk(delta=text)

    async def _chunk(self, **members: Any) -> None:
        await self.emit(
            "chunk",
            {"id": self.so_far.answer_id, "conversationId": self.turn.conversation.id, **members, "done": False},
        )

    async def _status(self, message: str, data: dict[str, Any]) -> None:
        await self._progress("status", message=message, data=data)

    async def _progress(self, type_: str, **members: Any) -> None:
        await self.emit("progress", {"type": type_, **members, "timestamp": iso(datetime.now(UTC))})
