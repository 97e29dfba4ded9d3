"""What is written when a turn has ended, side by side: the answer, the log, what was used, audit and debug log."""

import asyncio
import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from functions.ownpilot.chat.after import has_work
from functions.ownpilot.chat.context import Block, packed
from functions.ownpilot.chat.conversations import LEASE, ChatMessage, ChatTurn, TurnStatus, turns
from functions.ownpilot.chat.logs import ChatLog, logs
from functions.ownpilot.chat.question import Prepared
from functions.ownpilot.core import happenings
from functions.ownpilot.core.audit_log import AuditOutcome, Severity, Subject, record_event
from functions.ownpilot.core.debug_log import DebugType, record_debug
from functions.ownpilot.core.prices import price_in
from functions.ownpilot.core.usage import record_usage
from shared import tables
from shared.deferred import defer
from shared.redaction import redact

log = logging.getLogger(__name__)

SHOWN = 10_000
"""Characters of a message, and of an answer, in the log of requests."""


@dataclass(frozen=True)
class Ending:
    """How a turn has ended: `error` is None when the model has answered."""

    status: TurnStatus
    text: str
    finish_reason: str | None
    calls: list[dict[str, Any]]
    results: list[dict[str, Any]]
    exchange: list[Block]
    input_tokens: int
    output_tokens: int
    trace: dict[str, Any]
    error: str | None = None
    code: int = 200

    @property
    def usage(self) -> dict[str, int]:
        """Tokens as clients see them."""
        return {
            "promptTokens": self.input_tokens,
            "completionTokens": self.output_tokens,
            "totalTokens": self.input_tokens + self.output_tokens,
        }


async def finish(turn: Prepared, ending: Ending, answer_id: str) -> None:
    """Write down a turn; when it returns, all of it can be read.

    The turn itself comes first in importance: `StorageUnavailable` when it could not be stored. What is missing beside
    it is logged. A conversation that was deleted meanwhile stays deleted.
    """
    asked = bool(turn.trace.model_calls)
    stored, *others = await asyncio.gather(
        _store(turn, ending, answer_id), _log(turn, ending), *([_use(turn, ending)] if asked else []),
        *_audit(turn, ending), *_debug(turn, ending), _afterwards(turn, ending),
        return_exceptions=True,
    )  # fmt: skip
    for failed in others:
        if isinstance(failed, BaseException):
            log.error("part of the turn %s was not written down", turn.turn.id, exc_info=failed)
    if isinstance(stored, BaseException):
        raise stored


async def keep_alive(turn: Prepared) -> None:
    """Renew what says that a turn is running, until this is cancelled."""

    def renew(stored: ChatTurn) -> None:
        stored.until = datetime.now(UTC) + LEASE

    while True:
        await asyncio.sleep(LEASE.total_seconds() / 3)
        try:
            await turns.of(turn.conversation.id).update(turn.turn.id, renew)
        except (tables.RecordNotFound, tables.StorageUnavailable):
            log.info("the turn %s could not be kept alive", turn.turn.id)


async def _store(turn: Prepared, ending: Ending, answer_id: str) -> None:
    said = "\n\n".join(filter(None, (ending.text, ending.error)))
    answer = ChatMessage(
        id=answer_id, role="assistant", content=said, provider=turn.target.provider, model=turn.model,
        tool_calls=ending.calls or None, tool_results=ending.results or None, trace=ending.trace,
        is_error=ending.status is TurnStatus.FAILED,
    )  # fmt: skip

    def end(stored: ChatTurn) -> None:
        stored.status = ending.status
        stored.messages = [*stored.messages[:1], answer]
        stored.exchange = [packed(message) for block in ending.exchange for message in block]

    try:
        await turns.of(turn.conversation.id).update(turn.turn, end)
    except tables.RecordNotFound:
        log.info("the conversation %s was deleted during a turn", turn.conversation.id)


async def _log(turn: Prepared, ending: Ending) -> None:
    origin, now = turn.question.origin, datetime.now(UTC)
    line = ChatLog(
        user_id=turn.owner.id, created_at=now, day=now.date().isoformat(), conversation_id=turn.conversation.id,
        provider=turn.target.provider, model=turn.model, endpoint=origin.endpoint, method=origin.method,
        status_code=ending.code, failed=ending.error is not None, input_tokens=ending.input_tokens,
        output_tokens=ending.output_tokens, total_tokens=ending.input_tokens + ending.output_tokens,
        duration_ms=turn.trace.milliseconds, error=ending.error and redact(ending.error), ip_address=origin.ip_address,
        user_agent=origin.user_agent,
        request_body={
            "message": redact(turn.question.message[:SHOWN]), "provider": turn.target.provider, "model": turn.model,
            "agentId": turn.agent.id if turn.agent else None, "messageCount": 2 + sum(map(len, turn.past)),
        },
        response_body={
            "content": redact(ending.text[:SHOWN]), "finishReason": ending.finish_reason,
            "toolCalls": len(ending.calls),
        },
    )  # fmt: skip
    await logs.of(turn.owner.id).insert(line)


async def _use(turn: Prepared, ending: Ending) -> None:
    spent = sum(call["duration"] for call in turn.trace.model_calls)
    await record_usage(
        turn.owner.id, turn.target.provider, turn.model, price=price_in(turn.target.model),
        input_tokens=ending.input_tokens, output_tokens=ending.output_tokens, latency_ms=spent,
        session_id=turn.conversation.id, error=ending.error,
    )  # fmt: skip


def _audit(turn: Prepared, ending: Ending) -> list[Any]:
    subject = Subject("conversation", turn.conversation.id)
    assistant = Subject("agent", turn.agent.id, turn.agent.name) if turn.agent else Subject("agent", "assistant")
    details = {"provider": turn.target.provider, "model": turn.model}
    given: dict[str, Any] = {"correlation_id": turn.owner.request_id}
    received = record_event(
        turn.owner.id, "message.receive", subject, details=details | {"length": len(turn.question.message)}, **given
    )
    if ending.error is None:
        sent = record_event(
            turn.owner.id, "message.send", subject, actor=assistant,
            details=details | {"length": len(ending.text), "durationMs": turn.trace.milliseconds}, **given,
        )  # fmt: skip
    else:
        sent = record_event(
            turn.owner.id, "system.error", subject, actor=assistant, severity=Severity.ERROR,
            outcome=AuditOutcome.FAILURE, details=details | {"error": redact(ending.error)}, **given,
        )  # fmt: skip
    return [received, sent]


def _debug(turn: Prepared, ending: Ending) -> list[Any]:
    where: dict[str, Any] = {"provider": turn.target.provider, "model": turn.model}
    entries = [
        record_debug(
            turn.owner.id, DebugType.REQUEST,
            {"message": turn.question.message, "tools": [each.name for each in turn.tools]}, **where,
        ),
        *(record_debug(turn.owner.id, DebugType.RETRY, each, **where) for each in turn.trace.retries),
    ]  # fmt: skip
    said = {"content": ending.text, "finishReason": ending.finish_reason, "usage": ending.usage}
    type_, data = (DebugType.RESPONSE, said) if ending.error is None else (DebugType.ERROR, {"error": ending.error})
    return [*entries, record_debug(turn.owner.id, type_, data, duration=turn.trace.milliseconds, **where)]


async def _afterwards(turn: Prepared, ending: Ending) -> None:
    """Order what follows from a message and its answer, if anything does."""
    if ending.status is not TurnStatus.DONE:
        return
    tells = await _tells(turn)
    if tells or has_work(turn.question.message, ending.text):
        value = {"owner": turn.owner.id, "conversation": turn.conversation.id, "turn": turn.turn.id, "tells": tells}
        await defer("ownpilot.ownpilot_after_chat", value, item_id=turn.turn.id)


async def _tells(turn: Prepared) -> bool:
    """Whether triggers may wait for this turn; not for one that a trigger has caused, which would go on for ever."""
    if turn.question.source not in ("chat", "channel"):
        return False
    try:
        return await happenings.waits_for(turn.owner.id, happenings.CHAT)
    except tables.StorageUnavailable:  # the deferred work looks again
        return True
