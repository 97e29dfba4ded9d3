"""Builds and publishes the messages that StepFlow sends over its WebSocket.

Each frame holds one message. A `log_entry` message holds one log line. When more than `MAX_SEPARATE_LINES` lines of one
step arrive together, a message holds several of them, joined by newlines, so that a burst of output needs few frames.
`line` is the number of the message's first line (the `offset` of the logs route), `lines` is the number of its lines. A
line that is too long for one message is split over several; all pieces but the last have `lines` 0.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

import orjson

from functions.stepflow.records import Artifact, Execution
from functions.stepflow.transcript import LogLine, Step
from shared import realtime

HUB = "stepflow"
EVERYTHING = "all"
"""The Web PubSub group of the connections without a subscription: they receive all messages."""

MAX_SEPARATE_LINES = 20
"""Log lines that are sent one to a message when they arrive together."""

MAX_FRAMES = 200
"""Messages that are sent one by one when a push of output causes them; more of them share frames."""

MAX_PACKED = 512 * 1024
"""Bytes of the messages in a shared frame."""

MAX_FRAME_TEXT = 128 * 1024
"""Characters of log text in a frame: Web PubSub allows 1 MB, and JSON needs up to six bytes for a character."""

MAX_SHORT_TEXT = 8 * 1024
"""Characters of a name, a command or an error message in a frame; the HTTP API returns the whole text."""

Message = dict[str, Any]


def group_of(execution_id: str) -> str:
    """The Web PubSub group of the connections that have subscribed to an execution."""
    return f"execution-{execution_id}"


def message(kind: str, data: dict[str, Any]) -> Message:
    """Return a message in the documented form, with the present time."""
    return {"type": kind, "data": data, "timestamp": instant(datetime.now(UTC))}


def instant(moment: datetime | None) -> str | None:
    """Format a time as the API does: ISO 8601 in UTC with `Z`."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z") if moment else None


async def publish(execution_id: str, messages: Iterable[Message]) -> None:
    """Send messages, in order, once to each connection that follows this execution or everything."""
    where = f"'{EVERYTHING}' in groups or '{group_of(execution_id)}' in groups"
    for each in packed([*messages]):
        await realtime.publish(HUB, each, where=where)


def packed(messages: list[Message]) -> list[Message]:
    """Return the frames for these messages: one for each, or fewer when there are more than `MAX_FRAMES`.

    A frame that stands for several is the last of them, and its `data` has those before it, in order, as `earlier`.
    """
    if len(messages) <= MAX_FRAMES:
        return messages
    frames: list[Message] = []
    shared: list[Message] = []
    size = 0
    for each in messages:
        length = len(orjson.dumps(each))
        if shared and size + length > MAX_PACKED:
            frames.append(_holding(shared))
            shared, size = [], 0
        shared.append(each)
        size += length
    return [*frames, _holding(shared)]


def _holding(messages: list[Message]) -> Message:
    *earlier, last = messages
    return {**last, "data": {**last["data"], "earlier": earlier}} if earlier else last


def execution_started(execution: Execution) -> Message:
    """Return the message that an execution's command is about to run."""
    return message(
        "execution_started",
        {
            "execution_id": execution.id,
            "name": execution.name[:MAX_SHORT_TEXT],
            "command": execution.command[:MAX_SHORT_TEXT],
            "started_at": instant(execution.started_at),
        },
    )


def execution_waiting(execution: Execution) -> Message:
    """Return the message that a pending execution cannot start yet, and why."""
    reason = (execution.waiting_reason or "")[:MAX_SHORT_TEXT]
    data = {"execution_id": execution.id, "status": execution.status, "waiting_reason": reason}
    return message("execution_status", data)


def execution_completed(execution: Execution, artifacts_count: int) -> Message:
    """Return the last message of an execution: it has ended, in whatever status."""
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


def execution_error(execution: Execution) -> Message:
    """Return the message that says why an execution failed."""
    reason = (execution.error_message or "")[:MAX_SHORT_TEXT]
    data = {"execution_id": execution.id, "error_message": reason, "error_code": "EXECUTION_ERROR"}
    return message("error", {**data, "timestamp": instant(execution.completed_at)})


def step_update(execution: Execution, step: Step) -> Message:
    """Return the message that a step has started or ended."""
    return message("step_update", {"execution_id": execution.id, "step": step_shown(execution, step)})


def step_shown(execution: Execution, step: Step) -> dict[str, Any]:
    """Return a step as messages show it."""
    return {
        "id": execution.step_id(step.index),
        "name": step.name[:MAX_SHORT_TEXT],
        "status": step.status,
        "index": step.index,
        "started_at": instant(step.started_at),
        "completed_at": instant(step.completed_at),
        "exit_code": step.exit_code,
        "error_message": step.error_message and step.error_message[:MAX_SHORT_TEXT],
    }


def artifact_created(artifact: Artifact) -> Message:
    """Return the message that an artifact has been stored."""
    shown = artifact.model_dump(include={"id", "name", "file_name", "step_id", "file_size"})
    shown |= {"name": artifact.name[:MAX_SHORT_TEXT], "file_name": artifact.file_name[:MAX_SHORT_TEXT]}
    shown["download_url"] = artifact.download_url
    return message("artifact_created", {"execution_id": artifact.execution_id, "artifact": shown})


def log_entries(execution: Execution, first: int, lines: Sequence[LogLine]) -> list[Message]:
    """Return the messages for log lines, the first of which has the number `first`."""
    messages: list[Message] = []
    for step, run in groupby(lines, key=lambda line: line.step):
        own = list(run)
        place = 0
        for text, count in _frames([line.content for line in own]):
            data = {
                "execution_id": execution.id,
                "step_id": execution.step_id(step),
                "content": text,
                "timestamp": instant(own[place].at),
                "level": "info",
                "line": first,
                "lines": count,
            }
            messages.append(message("log_entry", data))
            first, place = first + count, place + count
    return messages


def _frames(texts: list[str]) -> Iterable[tuple[str, int]]:
    """Join lines, or split long ones, into texts that fit into a frame; yield each with the number of its lines."""
    max_lines = 1 if len(texts) <= MAX_SEPARATE_LINES else len(texts)
    joined: list[str] = []
    size = 0
    for text in texts:
        if joined and (len(joined) == max_lines or size + len(text) > MAX_FRAME_TEXT):
            yield "\n".join(joined), len(joined)
            joined, size = [], 0
        while len(text) > MAX_FRAME_TEXT:
            yield text[:MAX_FRAME_TEXT], 0
            text = text[MAX_FRAME_TEXT:]
        joined.append(text)
        size += len(text) + 1
    if joined:
        yield "\n".join(joined), len(joined)
