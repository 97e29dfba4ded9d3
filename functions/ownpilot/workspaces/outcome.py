"""What becomes of an execution by the end of its job."""

import base64
import binascii
from typing import Annotated

from pydantic import BaseModel, Field, ValidationError

from functions.ownpilot.workspaces.records import Execution, ExecutionStatus
from shared.jobs import Exit

KEPT = 1_000_000
"""Characters of output that are stored."""

_BASE64 = Field(max_length=1_400_000)


class ExecutionReport(BaseModel):
    """What the container's program writes. It is not trusted: the code may have written it."""

    stdout: Annotated[str, _BASE64] = ""
    stderr: Annotated[str, _BASE64] = ""
    cut: bool = False
    exit_code: Annotated[int, Field(ge=-(2**31), lt=2**31)]
    timed_out: bool = False
    duration: Annotated[int, Field(ge=0, lt=2**31)] = 0
    isolated: bool = False


def finish(execution: Execution, end: Exit, not_kept: list[dict[str, str]]) -> None:
    """Record how an execution has ended."""
    execution.status, execution.error = outcome(end)
    execution.exit_code = end.exit_code
    execution.duration = round((end.ran or 0) * 1000)
    if report := report_of(end):
        execution.exit_code, execution.duration, execution.isolated = report.exit_code, report.duration, report.isolated
        execution.stdout, execution.stderr, execution.cut = _text(report.stdout), _text(report.stderr), report.cut
    execution.not_kept, execution.code, execution.files, execution.ended_at = not_kept, "", [], end.at


def outcome(end: Exit) -> tuple[ExecutionStatus, str | None]:
    """Return the status of an execution whose job has ended, and why it has failed when its output does not say it."""
    match end.reason:
        case "exited" if report := report_of(end):
            if report.timed_out:
                return ExecutionStatus.TIMEOUT, None
            return ExecutionStatus.FAILED if report.exit_code else ExecutionStatus.COMPLETED, None
        case "timeout":
            return ExecutionStatus.TIMEOUT, None
        case "cancelled":
            return ExecutionStatus.CANCELLED, None
        case "unstartable":
            return ExecutionStatus.FAILED, end.message or "The container could not be started"
        case _:
            return ExecutionStatus.FAILED, end.message or "The container stopped without reporting a result"


def report_of(end: Exit) -> ExecutionReport | None:
    """Return what the container's program has reported, None when it is not there or cannot be read."""
    try:
        return ExecutionReport.model_validate_json(end.report) if end.report else None
    except ValidationError:
        return None


def _text(encoded: str) -> str:
    try:
        return base64.b64decode(encoded).decode("utf-8", "replace")[:KEPT]
    except (binascii.Error, ValueError):
        return ""
