"""What a turn did, for the client that wants to know: models, tools, checks, times in milliseconds."""

import time
from dataclasses import dataclass, field
from typing import Any, cast

import orjson

from shared.http.json import plain

PREVIEW = 500
"""Characters of a tool's result that are shown while it runs, and in the trace."""


def preview(text: str) -> str:
    """Return the beginning of a text."""
    return text if len(text) <= PREVIEW else f"{text[: PREVIEW - 3]}..."


def json_object(arguments: str) -> dict[str, Any]:
    """Return the arguments that a model wrote; any but a JSON object of bearable depth as `{"_raw": text}`."""
    try:
        given = plain(orjson.loads(arguments or "{}"))
    except ValueError:
        given = None
    return cast("dict[str, Any]", given) if isinstance(given, dict) else {"_raw": arguments}


@dataclass
class Trace:
    """Grows while a turn runs; `reads` and `writes` are operations on records, without those of tools."""

    started: float = field(default_factory=time.monotonic)
    tool_calls: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    model_calls: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    checks: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    retries: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    errors: list[str] = field(default_factory=list[str])
    events: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    reads: int = 0
    writes: int = 0
    recalls: int = 0
    adds: int = 0

    @property
    def milliseconds(self) -> int:
        """How long the turn has been running."""
        return milliseconds_since(self.started)

    def shown(self, request: dict[str, Any], response: dict[str, Any]) -> dict[str, Any]:
        """Return the trace as clients see it."""
        return {
            "duration": self.milliseconds,
            "toolCalls": self.tool_calls,
            "modelCalls": self.model_calls,
            "autonomyChecks": self.checks,
            "dbOperations": {"reads": self.reads, "writes": self.writes},
            "memoryOps": {"adds": self.adds, "recalls": self.recalls},
            "triggersFired": [],
            "errors": self.errors,
            "events": self.events,
            "request": request,
            "response": response,
            "retries": self.retries,
        }


def milliseconds_since(started: float) -> int:
    """Return the milliseconds since a moment of `time.monotonic`."""
    return round((time.monotonic() - started) * 1000)
