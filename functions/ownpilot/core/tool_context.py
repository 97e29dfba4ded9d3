"""Who uses a tool, and what comes of it: what tools, their users and the rules about them have in common."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol


@dataclass(frozen=True)
class ToolContext:
    """On whose behalf a tool runs.

    `session` is the conversation or the run that the call belongs to, empty outside of one; `agent` the agent's id.
    `source` is what asks: `chat`, `api`, and later a trigger or a plan. `depth` counts tools that use tools. `allowed`
    are the only tools that may be used, None: all. `correlation_id` is the request's id, for the audit log.
    `workspace` is the file workspace for its files, None: that of the session.
    """

    owner: str
    session: str = ""
    agent: str | None = None
    source: Literal["chat", "api", "trigger", "plan", "channel"] = "api"
    depth: int = 0
    allowed: Collection[str] | None = None
    correlation_id: str | None = None
    workspace: str | None = None


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


class WrongArguments(Exception):
    """Raised for arguments that do not suit a tool; `reasons` say what is wrong, one for each place."""

    def __init__(self, reasons: Sequence[str]):
        super().__init__("; ".join(reasons))
        self.reasons = reasons


@dataclass(frozen=True)
class Checked:
    """Arguments that suit a tool: `given` is JSON as the caller meant it; `values` is what the tool's `run` takes."""

    given: dict[str, Any]
    values: Any


class Tool(Protocol):
    """A tool, wherever it comes from: declared in this app, or made by a person.

    `parameters` is the JSON schema of the arguments, an object with `properties`. `code` is the program text. `plugin`
    is the plugin that the tool belongs to. `seconds` is for how long it may run.
    """

    @property
    def name(self) -> str: ...
    @property
    def description(self) -> str: ...
    @property
    def category(self) -> str: ...
    @property
    def tags(self) -> Sequence[str]: ...
    @property
    def plugin(self) -> str | None: ...
    @property
    def seconds(self) -> float: ...
    @property
    def parameters(self) -> dict[str, Any]: ...
    @property
    def code(self) -> str: ...

    def check(self, arguments: Mapping[str, Any]) -> Checked:
        """Return arguments that can be run with. `WrongArguments`."""
        ...

    async def run(self, context: ToolContext, values: Any) -> Any:
        """Run with checked values; return a text, JSON values or a `ToolResult`. `ToolError`."""
        ...
