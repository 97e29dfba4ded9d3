"""The command line of Anthropic's models in the ways to end that `tests/functions/gateway/test_agent.py` replays."""

from pathlib import Path
from typing import Any

import pytest

from infra.local.environment import Environment
from tests.support.anthropic import MODEL
from tests.support.campaign import Campaign
from tests.support.environments import another_host
from tests.support.gateway import Gateway

ENDS: dict[str, tuple[str, str]] = {
    "[refuse]": ("failed", "unable to respond to this request"),
    "[overloaded]": ("failed", "529"),
    "[break]": ("completed", ""),
    "[bash: sleep 300]": ("failed", "Timed out after 20 seconds"),
}
"""By prompt: the status of the run, and a part of its error."""


async def run_of(gateway: Gateway, prompt: str, **options: Any) -> tuple[dict[str, Any], str]:
    """A run at its end, and its log."""
    run = await gateway.reach((await gateway.run(prompt, MODEL, **options))["id"], seconds=240)
    log = (await gateway.artifacts(run["id"]))["claude.log"]
    return run, (await gateway.download(log["id"])).decode()


async def test_each_way_to_end_gives_the_run_its_status_and_reason(gateway: Gateway, campaign: Campaign):
    for prompt in campaign.chance.sample(list(ENDS), campaign.rounds(1, len(ENDS))):
        status, reason = ENDS[prompt]
        run, log = await run_of(gateway, prompt, timeout=20)
        assert run["status"] == status, (prompt, run)
        assert reason in (run["error"] or ""), (prompt, run)
        assert log.startswith("$ claude "), prompt
        if prompt == "[overloaded]":
            assert "answered 529: attempt 4 failed" in log


async def test_a_wrong_key_fails_the_run_with_the_reason(
    stack: Environment, gateway: Gateway, campaign: Campaign, tmp_path: Path
):
    if not campaign.full:
        pytest.skip("a part of the whole campaign")
    async with another_host(stack, tmp_path, ANTHROPIC_API_KEY="sk-ant-wrong-000000000000") as http:
        body = {"prompt": "x", "model": MODEL}
        answer = await http.post("/gateway/api/runs", json=body, headers=gateway.http.headers)
        run = await gateway.reach(answer.json()["id"], seconds=240)
    assert (run["status"], run["error"]) == ("failed", "Invalid API key · Fix external API key")
