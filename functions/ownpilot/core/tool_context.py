"""Who uses a tool, and what comes of it: what tools, their users and the rules about them have in common."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class ToolContext:
    """On whose behalf a tool runs.

    `session` is the conversation or the run that the call belongs to, empty outside of one; `agent` the agent's id.
    `source` is what asks: `chat`, `api`, and later a trigger or a plan. `depth` counts tools that use tools. `allowed`
    are the only tools that may be used, None: all. `correlation_id` is the request's id, for the audit log.
    """

    owner: str
    session: str = ""
    agent: str | None = None
    source: Literal["chat", "api", "trigger", "plan", "channel"] = "api"
    depth: int = 0
    allowed: Collection[str] | None = None
    correlation_id: str | None = None


@dataclass(frozen=True)
class ToolResult:
    """What a tool answers: `content` is the text that the model reads, `duration` is in milliseconds.

    A call that the user's rules do not let pass has `is_error`, and in `metadata` `rejected` (true), `reason`, and
    `pendingAction`: the id of the action to approve, None when there is nothing to decide. `cut` (true): it was longer.
    """

    content: str
    is_error: bool = False
    metadata: dict[str, Any] = field(default_factory=dict[str, Any])
    duration: float = 0.0


class ToolError(Exception):
    """Raised by a tool that cannot do what it was asked for; the text is for the model and must hold no secret."""
