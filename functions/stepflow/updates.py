"""What StepFlow's sockets hear, in the documented messages.

A frame holds one message. A `log_entry` holds one log line; when more than `SINGLE` lines of one step come at once they
share frames, their texts joined by newlines, so that a burst stays few frames. `line` is the number of its first line
(the `offset` of the logs route), `lines` how many it holds. A line too long for a frame goes on in the next ones, whose
`lines` is 0.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

from functions.stepflow.records import Artifact, Execution
from functions.stepflow.transcript import LogLine, Step
from shared import realtime

HUB = "stepflow"
EVERYTHING = "all"
"""The group of connections that have subscribed to nothing in particular."""

SINGLE = 20
"""Log lines at once that still get a frame each."""

FRAME = 128 * 1024
"""Characters of log text in a frame; one of the service holds at most 1 MB, and JSON may write a character as six."""

SHORT = 8 * 1024
"""Characters of a name or a reason in a frame; the API has the whole of it."""

Message = dict[str, Any]


def group_of(execution_id: str) -> str:
    """The group of connections that have subscribed to an execution."""
    return f"execution-{execution_id}"


def message(kind: str, data: dict[str, Any]) -> Message:
    """A message in the documented form."""
    return {"type": kind, "data": data, "timestamp": instant(datetime.now(UTC))}


def instant(moment: datetime | None) -> str | None:
    """A moment as the API writes it."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z") if moment else None


async def tell(execution_id: str, messages: Iterable[Message]) -> None:
    """Send messages in order to who watches this execution or everything; once to each."""
    where = f"'{EVERYTHING}' in groups or '{group_of(execution_id)}' in groups"
    for each in messages:
        await realtime.publish(HUB, each, where=where)


def started(execution: Execution) -> Message:
    """The command is about to run."""
    data = {"execution_id": execution.id, "name": execution.name[:SHORT], "command": execution.command[:SHORT]}
    return message("execution_started", {**data, "started_at": instant(execution.started_at)})


def completed(execution: Execution, artifacts_count: int) -> Message:
    """The last message of an execution."""
    return message(
        "execution_completed",
        {
            "execution_id": execution.id,
            "status": execution.status,
            "exit_code": execution.exit_code,
            "completed_at": instant(execution.completed_at),
            "duration_seconds": execution.duration_seconds,
            "total_steps": execution.total_steps,
            "artifacts_count": artifacts_count,
        },
    )


def failed(execution: Execution) -> Message:
    """Why an execution failed."""
    reason = (execution.error_message or "")[:SHORT]
    data = {"execution_id": execution.id, "error_message": reason, "error_code": "EXECUTION_ERROR"}
    return message("error", {**data, "timestamp": instant(execution.completed_at)})


def step_changed(execution: Execution, step: Step) -> Message:
    """A step has started or ended."""
    return message("step_update", {"execution_id": execution.id, "step": step_shown(execution, step)})


def step_shown(execution: Execution, step: Step) -> dict[str, Any]:
    """A step as messages show it."""
    return {
        "id": execution.step_id(step.index),
        "name": step.name[:SHORT],
        "status": step.status,
        "index": step.index,
        "started_at": instant(step.started_at),
        "completed_at": instant(step.completed_at),
        "exit_code": step.exit_code,
        "error_message": step.error_message and step.error_message[:SHORT],
    }


def artifact_created(artifact: Artifact) -> Message:
    """A file is there."""
    shown = artifact.model_dump(include={"id", "name", "file_name", "step_id", "file_size"})
    shown |= {"name": artifact.name[:SHORT], "file_name": artifact.file_name[:SHORT]}
    shown["download_url"] = artifact.download_url
    return message("artifact_created", {"execution_id": artifact.execution_id, "artifact": shown})


def printed(execution: Execution, first: int, lines: Sequence[LogLine], at: datetime) -> list[Message]:
    """Log lines, the first of them number `first`."""
    found: list[Message] = []
    for step, run in groupby(lines, key=lambda line: line.step):
        texts = [line.content for line in run]
        for text, count in _frames(texts):
            data = {
                "execution_id": execution.id,
                "step_id": execution.step_id(step),
                "content": text,
                "timestamp": instant(at),
                "level": "info",
                "line": first,
                "lines": count,
            }
            found.append(message("log_entry", data))
            first += count
    return found


def _frames(texts: list[str]) -> Iterable[tuple[str, int]]:
    """Texts joined to what fits into a frame each, with the number of lines that end there; long ones in pieces."""
    most = 1 if len(texts) <= SINGLE else len(texts)
    held: list[str] = []
    size = 0
    for text in texts:
        if held and (len(held) == most or size + len(text) > FRAME):
            yield "\n".join(held), len(held)
            held, size = [], 0
        while len(text) > FRAME:
            yield text[:FRAME], 0
            text = text[FRAME:]
        held.append(text)
        size += len(text) + 1
    if held:
        yield "\n".join(held), len(held)
