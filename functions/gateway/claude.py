"""Runs of Anthropic's models: the job that runs the `claude` command line, and the report that it writes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field, ValidationError

from functions.gateway.records import Run
from functions.gateway.redaction import redacted
from shared.jobs import JobSpec, Unstartable
from shared.settings import settings

AGENT = Path(__file__).with_name("container") / "agent.py"
"""The program that runs in the container: it starts the command line and prints its events as text."""

REPORT = "claude.json"
"""The file in which the agent reports tokens, cost and the model's answer."""


@dataclass(frozen=True)
class Report:
    """What the agent reported: the model's answer as `result`, or the reason of a failure as `error`; `cost` in USD."""

    result: str | None
    error: str | None
    tokens: int
    cost: float


def job(run: Run) -> JobSpec:
    """Return what to run for a run of an Anthropic model. `Unstartable` without an API key."""
    config = settings()
    if not config.anthropic_api_key:
        raise Unstartable("ANTHROPIC_API_KEY is not set, so Anthropic models cannot run")
    environment = {
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "CLAUDE_CODE_MAX_RETRIES": "4",  # about 10 s; a longer outage fails the run
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
        report=REPORT,
    )


class Written(BaseModel):
    """The report as the agent writes it; `result` is the reason when `is_error`."""

    result: str
    is_error: bool
    tokens: Annotated[int, Field(ge=0, le=10**10)]
    cost: Annotated[float, Field(ge=0, le=100_000)]  # sums of them must stay finite


def parse_report(text: str) -> Report:
    """Return the report that the agent has written; the model's own commands may have spoiled it."""
    try:
        written = Written.model_validate_json(text)
    except ValidationError:
        return Report(None, "The report of the model's command line cannot be read", 0, 0.0)
    answer = redacted(written.result)
    return Report(
        result=None if written.is_error else answer,
        error=answer or "The model ended with an error" if written.is_error else None,
        tokens=written.tokens,
        cost=written.cost,
    )
