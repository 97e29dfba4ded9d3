"""Workspaces under fire: containers killed while they send files back, and many workspaces at once."""

import asyncio
import contextlib
import os
import signal
import uuid
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from functions.ownpilot.workspaces.records import workspaces
from infra.local.environment import Environment
from tests.support.campaign import Campaign
from tests.support.environments import connected
from tests.support.groups import processes_with
from tests.support.ownpilot import OwnPilot
from tests.support.values import SHORT_CLOCKS, UNLIMITED
from tests.support.waiting import eventually
from tests.support.workers import pool_is_full

POOL = 3
FILES = 40
CHANGE = f"""
import pathlib, sys
for number in range({FILES}):
    pathlib.Path(f"file-{{number}}").write_text(GENERATION * 5000)
"""
PLACES = ("/files", "/workspace", "/root", "/dev/shm", "/tmp")
SEARCH = f"""
import glob, os, pathlib, re
found = set()
for place in {PLACES}:
    for path in glob.glob(place + "/*") + glob.glob(place + "/.*"):
        if os.path.isfile(path):
            found |= set(re.findall(rb"MARK-[0-9a-f]{{32}}", pathlib.Path(path).read_bytes()))
    if os.access(place, os.W_OK):
        pathlib.Path(place, "mark").write_text("MARK-OWN")
print(*sorted({{each.decode() for each in found}} | {{"MARK-OWN"}}))
"""


@pytest.fixture(scope="module")
async def environment(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Environment]:
    settings = {**UNLIMITED, **SHORT_CLOCKS, "RUNYARD_WARM": f"python={POOL}", "RUNYARD_WARM_IDLE": "20"}
    environment = Environment.temporary(tmp_path_factory.mktemp("workspaces"), **settings)
    await environment.start()
    async with connected(**environment.app_settings):
        yield environment
    await environment.stop()


@pytest.fixture
async def http(environment: Environment) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=environment.url, timeout=230, trust_env=False) as http:
        await pool_is_full(http, POOL)
        yield http


async def run(person: OwnPilot, workspace: str, code: str) -> Any:
    """An execution at its end, however long it waits for that."""
    body = {"language": "python", "code": code, "timeout": 250_000}
    while True:
        answer = await person.send("POST", f"/workspaces/{workspace}/execute", json=body)
        assert answer.status_code in (200, 202), answer.text
        done = answer.json()["data"]
        if answer.status_code == 200:
            return done
        body = {"executionId": done["executionId"]}


async def test_a_container_killed_before_its_files_are_back_leaves_the_old_or_the_new_ones(
    environment: Environment, http: httpx.AsyncClient, campaign: Campaign
):
    person = OwnPilot(http)
    workspace = (await person.post("/workspaces", name="w"))["id"]
    before = ""
    for number in range(campaign.rounds(3, 60)):
        generation = f"{number:03d}"
        going = asyncio.create_task(run(person, workspace, f"GENERATION = {generation!r}\n{CHANGE}"))
        await asyncio.sleep(campaign.chance.uniform(0, 1.0))
        program = campaign.chance.choice(["runner.py", "worker.py"])
        for pid in await processes_with(str(environment.state / "runner" / program)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        done = await going
        document = (await person.send("GET", f"/workspaces/{workspace}/download")).json()
        found = {file["content"] for file in document["files"]}
        before = generation if done["status"] == "completed" else before
        assert found == ({before * 5000} if before else set()), (generation, done["status"], done["error"])
        assert document["totalFiles"] == (FILES if before else 0)
        await eventually(lambda: workspaces.of(person.user).get(workspace), until=lambda found: not found.queue)


async def test_many_workspaces_at_once_never_see_a_file_of_another(http: httpx.AsyncClient, campaign: Campaign):
    """Twenty of them, in a sample five."""
    people = [OwnPilot(http) for _ in range(campaign.rounds(1, 4))]
    made = [
        (person, (await person.post("/workspaces", name="w"))["id"], f"MARK-{uuid.uuid4().hex}")
        for person in people
        for _ in range(5)
    ]

    async def rounds(person: OwnPilot, workspace: str, mark: str) -> None:
        for _ in range(campaign.rounds(1, 5)):
            done = await run(person, workspace, SEARCH.replace("MARK-OWN", mark))
            assert (done["status"], done["stdout"].split()) == ("completed", [mark]), done
        document = (await person.send("GET", f"/workspaces/{workspace}/download")).json()
        assert {file["path"]: file["content"] for file in document["files"]} == {"mark": mark}

    await asyncio.gather(*(rounds(*each) for each in made))
