"""A run of one of Anthropic's models: the real command line against a stand-in of the Messages API.

`test_agent.py` shows what becomes of its other ways to end, and `tests/campaigns/test_claude.py` that it takes them.
"""

import json
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from functions.gateway.claude import Report, parse_report
from infra.emulator.processes import ROOT
from infra.local.environment import Environment
from tests.support.anthropic import INPUT_TOKENS, KEY, MODEL, OUTPUT_TOKENS, Anthropic
from tests.support.gateway import Gateway, register

LONG = "ü" * 90_000
# One run shows all of it, because a start of the command line takes seconds of a processor.
PROMPT = (
    "--help [busy once] [text: hello token=abcdefghijklmnop1234] "
    r"[bash: env; printf 'a\nb\n' > note.txt; mkdir -p artifacts; printf kept > artifacts/kept.txt] "
) + LONG


@pytest.fixture(scope="module")
async def claude(stack: Environment) -> AsyncIterator[Gateway]:
    """A client that has no other runs."""
    gateway = await register(stack)
    yield gateway
    await gateway.http.aclose()


@pytest.fixture(scope="module")
async def run(claude: Gateway) -> dict[str, Any]:
    """The run at its end."""
    return await claude.reach((await claude.run(PROMPT, MODEL, max_tokens=1000))["id"], seconds=120)


def test_the_image_holds_the_tested_version_of_the_command_line():
    package = json.loads((ROOT / "infra/local/package.json").read_text())
    version = package["devDependencies"]["@anthropic-ai/claude-code"]
    assert f"@anthropic-ai/claude-code@{version}\n" in (ROOT / "infra/runner/Dockerfile").read_text()


async def test_the_answer_is_the_result_and_a_secret_in_it_is_masked(claude: Gateway, run: dict[str, Any]):
    assert (run["status"], run["result"], run["error"]) == ("completed", "hello token=[REDACTED]", None)
    log = (await claude.artifacts(run["id"]))["claude.log"]
    assert b"abcdefghijklmnop1234" not in await claude.download(log["id"])


async def test_the_log_shows_the_command_and_its_tool_calls(claude: Gateway, run: dict[str, Any]):
    artifacts = await claude.artifacts(run["id"])
    log = (await claude.download(artifacts["claude.log"]["id"])).decode()
    assert f"--model {MODEL}" in log
    assert "--permission-mode acceptEdits" in log
    assert "> Bash " in log
    assert "\nhello token=" in log


async def test_a_tool_call_changes_the_workspace_and_the_diff_shows_it(
    claude: Gateway, run: dict[str, Any], tmp_path: Path
):
    artifacts = await claude.artifacts(run["id"])
    assert set(artifacts) == {"claude.log", "latest.diff", "kept.txt"}
    assert run["artifact_count"] == 3
    assert await claude.download(artifacts["kept.txt"]["id"]) == b"kept"
    diff = await claude.download(artifacts["latest.diff"]["id"])
    assert b"+++ b/note.txt" in diff
    subprocess.run(["git", "apply", "-"], input=diff, cwd=tmp_path, check=True)
    assert (tmp_path / "note.txt").read_text() == "a\nb\n"
    assert not (tmp_path / "artifacts").exists()


async def test_tokens_and_cost_are_counted(claude: Gateway, run: dict[str, Any]):
    stats = (await claude.http.get("/gateway/api/dashboard/stats", params={"client_id": claude.id})).json()
    assert stats["total_tokens_used"] == 2 * (INPUT_TOKENS + OUTPUT_TOKENS)  # the tool call and the text
    metrics = (await claude.http.get("/gateway/metrics")).text
    cost = next(line for line in metrics.splitlines() if line.startswith("runyard_cost_usd_total "))
    assert float(cost.split()[1]) > 0


async def test_a_busy_api_is_retried(run: dict[str, Any], anthropic: Anthropic):
    assert anthropic.was_busy
    assert run["status"] == "completed"


async def test_a_long_prompt_that_looks_like_an_option_arrives_whole_with_the_model_and_the_token_limit(
    run: dict[str, Any], anthropic: Anthropic
):
    own = [body for body in anthropic.requests if LONG in str(body["messages"])]
    assert own and all("--help " in str(body["messages"]) for body in own)
    assert {(body["model"], body["max_tokens"]) for body in own} == {(MODEL, 1000)}


async def test_the_key_is_in_no_log_result_or_state_file(claude: Gateway, run: dict[str, Any], stack: Environment):
    log = (await claude.artifacts(run["id"]))["claude.log"]
    text = (await claude.download(log["id"])).decode()
    assert "ANTHROPIC_API_KEY=[REDACTED]" in text
    assert KEY not in text
    # Where the durable engine and all logs are; what Container Instances keeps is the service's own.
    written = [path for folder in ("host", "logs") for path in (stack.state / folder).rglob("*") if path.is_file()]
    assert written
    assert [path for path in written if KEY.encode() in path.read_bytes()] == []


@pytest.mark.parametrize(
    "spoiled", [{"cost": 1e308}, {"cost": -1}, {"cost": "NaN"}, {"tokens": 10**11}, {"tokens": -1}]
)
def test_a_report_of_absurd_costs_counts_as_unreadable(spoiled: dict[str, Any]):
    written = {"result": "done", "is_error": False, "tokens": 5, "cost": 0.5}
    assert parse_report(json.dumps(written)) == Report("done", None, 5, 0.5)
    report = parse_report(json.dumps({**written, **spoiled}))
    assert (report.result, report.tokens, report.cost) == (None, 0, 0.0)
    assert report.error
