"""What a turn has come to so far, and what of it is written down at its end."""

from dataclasses import dataclass, field
from typing import Any

from functions.ownpilot.chat.context import Block
from functions.ownpilot.chat.conversations import TurnStatus
from functions.ownpilot.chat.effects import Ending
from functions.ownpilot.chat.question import Prepared
from functions.ownpilot.core.llm import endpoint_of
from shared.tables.ids import new_id


@dataclass
class Progress:
    """What a turn has come to so far; it is stored however the turn ends."""

    answer_id: str = field(default_factory=new_id)
    text: str = ""
    finish_reason: str | None = None
    calls: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    results: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    exchange: list[Block] = field(default_factory=list[Block])
    input_tokens: int = 0
    output_tokens: int = 0

    def ending(self, turn: Prepared, status: TurnStatus, error: str | None) -> Ending:
        """Return how a turn has ended, with all that it came to."""
        trace = turn.trace
        if error is not None:
            trace.errors.append(error)
        code = 200 if error is None else 500
        trace.writes += 1
        request = {
            "provider": turn.target.provider, "model": turn.model, "endpoint": endpoint_of(turn.target),
            "messageCount": 2 + sum(map(len, turn.past)), "tools": [each.name for each in turn.tools],
        }  # fmt: skip
        response = {"status": code, "contentLength": len(self.text), "finishReason": self.finish_reason}
        order = {call["id"]: place for place, call in enumerate(self.calls)}
        results = sorted(self.results, key=lambda each: order[each["toolCallId"]])
        return Ending(
            status, self.text, self.finish_reason, self.calls, results, self.exchange, self.input_tokens,
            self.output_tokens, trace.shown(request, response), error, code,
        )  # fmt: skip
