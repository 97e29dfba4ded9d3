"""Runs of Anthropic's models: the `claude` command line at work in a container, and what it reports at its end."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from functions.gateway.records import Run
from functions.gateway.redaction import redacted
from shared import blobs
from shared.jobs import ARTIFACTS, Exit, JobSpec, Unstartable
from shared.settings import settings

AGENT = Path(__file__).with_name("container") / "agent.py"
"""What runs in the container: it starts the command line and makes its events readable."""

REPORT = "claude.json"
"""The file in which the agent tells tokens, cost and text; it becomes no artifact."""

MAX_REPORT = 16 * 1024 * 1024


@dataclass(frozen=True)
class Report:
    """What came of the model's work; `cost` in USD, `error` when it failed."""

    result: str | None
    error: str | None
    tokens: int
    cost: float


def job(run: Run) -> JobSpec:
    """The container's work for a run. `Unstartable` without a key."""
    config = settings()
    if not config.anthropic_api_key:
        raise Unstartable("ANTHROPIC_API_KEY is not set: models of Anthropic cannot run here")
    environment = {
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "CLAUDE_CODE_MAX_RETRIES": "4",  # about 10 s: a longer outage is told, not waited for
        "CLAUDE_CODE_MAX_OUTPUT_TOKENS": str(run.options.get("max_tokens", 4096)),
        "DISABLE_AUTOUPDATER": "1",
    }
    if config.anthropic_url:
        environment["ANTHROPIC_BASE_URL"] = config.anthropic_url
    return JobSpec(
        ["python3", "agent.py", run.model],
        int(run.options.get("timeout", 300)),
        directory="run",
        inputs={"agent.py": AGENT.read_bytes(), "prompt.txt": run.prompt.encode()},
        environment=environment,
        secrets={"ANTHROPIC_API_KEY": config.anthropic_api_key},
        keep="workspace/artifacts",
    )


async def report_of(end: Exit) -> Report | None:
    """What the agent reported; None when it did not come to that."""
    blob = next((file.blob for file in end.files if file.name == REPORT and file.size <= MAX_REPORT), None)
    if blob is None:
        return None
    try:
        told: dict[str, Any] = json.loads(await blobs.get(ARTIFACTS, blob))
    except blobs.BlobNotFound:  # a repeat, after the run was finished
        return None
    text = redacted(told["result"])
    return Report(
        result=None if told["is_error"] else text,
        error=text or "The model ended with an error" if told["is_error"] else None,
        tokens=told["tokens"],
        cost=told["cost"],
    )


async def forget_report(end: Exit) -> None:
    """Delete the report, once the run has what it says."""
    for file in end.files:
        if file.name == REPORT:
            await blobs.delete(ARTIFACTS, file.blob)
