"""Runs of Anthropic's models: the real command line against a stand-in of the Messages API."""

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from infra.emulator.processes import ROOT
from infra.local.environment import Environment
from tests.functions.gateway.anthropic import INPUT_TOKENS, KEY, OUTPUT_TOKENS, Anthropic
from tests.support.environments import another_host
from tests.support.gateway import Gateway, register
from tests.support.values import UNLIMITED

pytestmark = pytest.mark.long

MODEL = "claude-sonnet-4-20250514"
ONCE = INPUT_TOKENS + OUTPUT_TOKENS

LONG = "ü" * 90_000
PROMPTS = {
    # One start of the command line, which takes seconds of a processor, shows several things.
    "text": f"--help [busy once] [text: hello token=abcdefghijklmnop1234] {LONG}",
    "tool": r"[bash: env; printf 'a\nb\n' > note.txt; mkdir -p artifacts; printf kept > artifacts/kept.txt]",
    "refusal": "[refuse]",
    "break": "[break]",
    "overloaded": "[overloaded]",
    "hang": "[bash: sleep 300]",
}
OPTIONS = {"hang": {"timeout": 6}}


@pytest.fixture(scope="module")
async def anthropic() -> AsyncIterator[Anthropic]:
    anthropic = Anthropic()
    await anthropic.start()
    yield anthropic
    await anthropic.stop()


@pytest.fixture(scope="module")
async def claude(anthropic: Anthropic, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    """A client of an environment whose models answer."""
    environment = Environment.temporary(
        tmp_path_factory.mktemp("claude"), ANTHROPIC_API_KEY=KEY, RUNYARD_ANTHROPIC_URL=anthropic.url, **UNLIMITED
    )
    await environment.start()
    gateway = await register(environment)
    gateway.environment = environment  # type: ignore[attr-defined]
    yield gateway
    await gateway.http.aclose()
    await environment.stop()


@pytest.fixture(scope="module")
async def ended(claude: Gateway) -> dict[str, dict[str, Any]]:
    """A run of each prompt, at its end; three at a time, as each needs a processor."""
    gate = asyncio.Semaphore(3)

    async def one(name: str) -> dict[str, Any]:
        async with gate:
            run = await claude.run(PROMPTS[name], MODEL, max_tokens=1000, **OPTIONS.get(name, {}))
            return await claude.reach(run["id"], seconds=120)

    # Those that mostly wait come first.
    names = sorted(PROMPTS, key=lambda name: name not in ("overloaded", "hang"))
    return dict(zip(names, await asyncio.gather(*(one(name) for name in names)), strict=True))


def test_the_image_holds_the_tested_version_of_the_command_line():
    package = json.loads((ROOT / "infra/local/package.json").read_text())
    version = package["devDependencies"]["@anthropic-ai/claude-code"]
    assert f"@anthropic-ai/claude-code@{version}\n" in (ROOT / "infra/runner/Dockerfile").read_text()


async def test_the_answer_is_the_result_and_a_secret_in_it_is_masked(claude: Gateway, ended: dict[str, dict[str, Any]]):
    run = ended["text"]
    assert (run["status"], run["result"], run["error"]) == ("completed", "hello token=[REDACTED]", None)
    log = (await claude.artifacts(run["id"]))["claude.log"]
    assert b"abcdefghijklmnop1234" not in await claude.download(log["id"])


async def test_the_log_shows_the_command_and_its_tool_calls(claude: Gateway, ended: dict[str, dict[str, Any]]):
    artifacts = await claude.artifacts(ended["tool"]["id"])
    log = (await claude.download(artifacts["claude.log"]["id"])).decode()
    assert f"--model {MODEL}" in log
    assert "--permission-mode acceptEdits" in log
    assert "> Bash " in log
    assert "Done." in log


async def test_a_tool_call_changes_the_workspace_and_the_diff_shows_it(
    claude: Gateway, ended: dict[str, dict[str, Any]], tmp_path: Path
):
    run = ended["tool"]
    assert (run["status"], run["result"]) == ("completed", "Done.")
    artifacts = await claude.artifacts(run["id"])
    assert set(artifacts) == {"claude.log", "latest.diff", "kept.txt"}
    assert run["artifact_count"] == 3
    assert await claude.download(artifacts["kept.txt"]["id"]) == b"kept"
    diff = await claude.download(artifacts["latest.diff"]["id"])
    assert b"+++ b/note.txt" in diff
    subprocess.run(["git", "apply", "-"], input=diff, cwd=tmp_path, check=True)
    assert (tmp_path / "note.txt").read_text() == "a\nb\n"
    assert not (tmp_path / "artifacts").exists()


async def test_tokens_and_cost_are_counted(claude: Gateway, ended: dict[str, dict[str, Any]]):
    stats = (await claude.http.get("/gateway/api/dashboard/stats", params={"client_id": claude.id})).json()
    # One answer for the text, two for the tool call; the refusal and the broken stream were answers too.
    assert stats["total_tokens_used"] >= 5 * ONCE
    assert stats["total_tokens_used"] % ONCE == 0
    metrics = (await claude.http.get("/gateway/metrics")).text
    cost = next(line for line in metrics.splitlines() if line.startswith("runyard_cost_usd_total "))
    assert float(cost.split()[1]) > 0


async def test_a_refusal_fails_the_run_with_the_reason(claude: Gateway, ended: dict[str, dict[str, Any]]):
    run = ended["refusal"]
    assert (run["status"], run["result"]) == ("failed", None)
    assert "unable to respond to this request" in run["error"]


async def test_a_broken_stream_is_retried(ended: dict[str, dict[str, Any]]):
    assert ended["break"]["status"] == "completed"


async def test_a_busy_api_is_retried(ended: dict[str, dict[str, Any]], anthropic: Anthropic):
    assert anthropic.was_busy
    assert ended["text"]["status"] == "completed"


async def test_an_api_that_stays_overloaded_fails_the_run_with_the_reason(
    claude: Gateway, ended: dict[str, dict[str, Any]]
):
    run = ended["overloaded"]
    assert run["status"] == "failed"
    assert "529" in run["error"]
    log = (await claude.artifacts(run["id"]))["claude.log"]
    assert b"answered 529: attempt 4 failed" in await claude.download(log["id"])


async def test_a_long_prompt_that_looks_like_an_option_arrives_whole(
    ended: dict[str, dict[str, Any]], anthropic: Anthropic
):
    assert ended["text"]["status"] == "completed"
    assert any("--help " in str(body["messages"]) and LONG in str(body["messages"]) for body in anthropic.requests)


async def test_each_request_carries_the_token_limit(ended: dict[str, dict[str, Any]], anthropic: Anthropic):
    assert {body["max_tokens"] for body in anthropic.requests} == {1000}
    assert {body["model"] for body in anthropic.requests} == {MODEL}


async def test_the_key_is_in_no_log_result_or_state_file(claude: Gateway, ended: dict[str, dict[str, Any]]):
    log = (await claude.artifacts(ended["tool"]["id"]))["claude.log"]
    text = (await claude.download(log["id"])).decode()
    assert "ANTHROPIC_API_KEY=[REDACTED]" in text
    assert KEY not in text
    state: Path = claude.environment.state  # type: ignore[attr-defined]
    # Where the durable engine and all logs are; what Container Instances keeps is the service's own.
    written = [path for folder in ("host", "logs") for path in (state / folder).rglob("*") if path.is_file()]
    assert written
    assert [path for path in written if KEY.encode() in path.read_bytes()] == []


async def test_a_run_past_its_timeout_is_ended(ended: dict[str, dict[str, Any]]):
    run = ended["hang"]
    assert (run["status"], run["error"]) == ("failed", "Timed out after 6 seconds")
    assert run["result"].startswith("$ claude ")  # what it printed up to then


async def test_a_wrong_key_fails_the_run_with_the_reason(
    claude: Gateway, ended: dict[str, dict[str, Any]], tmp_path: Path
):
    environment: Environment = claude.environment  # type: ignore[attr-defined]
    async with another_host(environment, tmp_path, ANTHROPIC_API_KEY="sk-ant-wrong-000000000000") as http:
        answer = await http.post("/gateway/api/runs", json={"prompt": "x", "model": MODEL}, headers=claude.http.headers)
        run = await claude.reach(answer.json()["id"], seconds=120)
    assert (run["status"], run["error"]) == ("failed", "Invalid API key · Fix external API key")


@pytest.mark.parametrize("model", [MODEL, "claude-opus-4-20250514"])
async def test_with_a_key_the_models_are_available(claude: Gateway, model: str):
    assert (await claude.http.get(f"/gateway/api/models/{model}")).json()["available"] is True
