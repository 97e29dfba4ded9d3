"""The program that starts the `claude` command line, and what a run becomes by its report.

The events are recordings of version 2.1.112, cut to what is read; `test_claude.py` runs the real command line.
"""

import json
import os
import subprocess
import sys
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from functions.gateway.claude import AGENT, REPORT
from functions.gateway.job import KIND
from functions.jobs.ending import settle
from shared.jobs import Exit
from tests.support.gateway import Gateway
from tests.support.runners import runner_of

REFUSED = "API Error: Claude Code is unable to respond to this request, which appears to violate our Usage Policy"
OVERLOADED = "API Error: 529 overloaded · check status.claude.com"
WRONG_KEY = "Invalid API key · Fix external API key"
RETRY = {"type": "system", "subtype": "api_retry", "attempt": 4, "max_retries": 4, "error_status": 529}
USED = {"claude-sonnet-4-20250514": {"inputTokens": 100, "outputTokens": 7, "cacheReadInputTokens": 1, "costUSD": 0.5}}


def said(text: str) -> dict[str, Any]:
    """The event of a text."""
    return {"type": "assistant", "message": {"role": "assistant", "content": [{"type": "text", "text": text}]}}


def result(text: str | None, **members: Any) -> dict[str, Any]:
    """The last event."""
    return {"type": "result", "subtype": "success", "is_error": True, "result": text, "modelUsage": {}, **members}


@dataclass
class Ran:
    """What the program did: its exit code, its log, and its report, which is None when it has written none."""

    code: int
    log: str
    report: dict[str, Any] | None


def run(folder: Path, events: list[Any], code: int = 0) -> Ran:
    """Run the program with a command line that prints these events, or texts as they are, and ends with a code."""
    lines = "".join(f"{event if isinstance(event, str) else json.dumps(event)}\n" for event in events)
    (folder / "bin").mkdir()
    (folder / "bin/claude").write_text(f"#!/bin/sh\ncat '{folder}/events'\nexit {code}\n")
    (folder / "bin/claude").chmod(0o755)
    (folder / "events").write_text(lines)
    return start(folder, f"{folder}/bin:{os.environ['PATH']}")


def start(folder: Path, path: str) -> Ran:
    (folder / "prompt.txt").write_text("x")
    done = subprocess.run(
        [sys.executable, str(AGENT), "model"], cwd=folder, env={"PATH": path}, capture_output=True, text=True
    )
    report = folder / REPORT
    return Ran(done.returncode, done.stdout, json.loads(report.read_text()) if report.exists() else None)


@pytest.mark.parametrize(
    ("events", "report", "line"),
    [
        ([said(REFUSED), result(REFUSED, modelUsage=USED, total_cost_usd=0.5)], (REFUSED, 108, 0.5), REFUSED),
        ([RETRY, said(OVERLOADED), result(OVERLOADED, total_cost_usd=0)], (OVERLOADED, 0, 0.0),
         "the model's API answered 529: attempt 4 failed"),
        ([said(WRONG_KEY), result(WRONG_KEY)], (WRONG_KEY, 0, 0.0), WRONG_KEY),
        ([result(None, subtype="error_during_execution")], ("error_during_execution", 0, 0.0), "claude ended"),
    ],
    ids=["refused", "overloaded", "wrong key", "no text"],
)  # fmt: skip
def test_an_error_is_reported_with_its_reason(
    tmp_path: Path, events: list[Any], report: tuple[str, int, float], line: str
):
    ran = run(tmp_path, events, code=1)
    text, tokens, cost = report
    assert (ran.code, ran.report) == (1, {"result": text, "is_error": True, "tokens": tokens, "cost": cost})
    assert line in ran.log


def test_an_error_is_not_taken_for_success_because_the_command_line_ends_with_0(tmp_path: Path):
    assert run(tmp_path, [result(REFUSED)]).code == 1


def test_lines_that_are_no_events_are_printed_and_without_a_result_there_is_no_report(tmp_path: Path):
    ran = run(tmp_path, ["not an event", "[1]"])
    assert (ran.code, ran.report) == (1, None)
    assert "\nnot an event\n[1]\nclaude ended with code 0\n" in ran.log


def test_a_command_line_that_cannot_be_started_is_code_127(tmp_path: Path):
    ran = start(tmp_path, "/nowhere")
    assert (ran.code, ran.report) == (127, None)
    assert "claude cannot be started: " in ran.log


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        ({"result": REFUSED, "is_error": True, "tokens": 107, "cost": 0.5}, ("failed", None, REFUSED)),
        ({"result": "hello", "is_error": False, "tokens": 107, "cost": 0.5}, ("completed", "hello", None)),
        ({"result": 1}, ("failed", None, "The report of the model's command line cannot be read")),
    ],
)
async def test_the_report_decides_the_status_the_result_and_the_error_of_the_run(
    gateway: Gateway, http: httpx.AsyncClient, app: None, report: dict[str, Any], expected: tuple[str, str | None, str]
):
    runner = await runner_of(KIND, gateway, http)
    written = b64encode(json.dumps(report).encode()).decode()
    code = int(report.get("is_error", True))
    exit_ = {"exit_code": code, "reason": "exited", "size": 0, "report": written}
    assert (await runner.post("exit", exit_)).status_code == 200
    await settle(runner.job.id, KIND, Exit())
    run = await gateway.get(runner.job.id)
    assert (run["status"], run["result"], run["error"]) == expected
    assert await gateway.artifacts(run["id"]) == {}
