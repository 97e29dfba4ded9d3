"""Jobs of every kind whose runner or program is hostile, beside good runs: each ends, and harms no other.

The runner is hostile from the moment at which the test has replaced the token of a running job by its own.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from functions.gateway.records import Run
from functions.gateway.store import runs
from infra.local.environment import Environment
from shared import containers, warm
from shared.jobs import Job, group_name, jobs, kinds, new_token
from shared.order import AGES
from shared.tables.ids import new_id
from tests.support.campaign import Campaign
from tests.support.environments import connected
from tests.support.gateway import FINAL, Gateway, register
from tests.support.kills import all_runs, counted_right, is_whole, no_container_left, start_numbered
from tests.support.runners import FILES, POISON, Runner
from tests.support.stepflow import StepFlow, client_of
from tests.support.values import SHORT_CLOCKS, UNLIMITED
from tests.support.waiting import eventually

GOOD = 20
LOG_LIMIT = 1_000_000


@dataclass
class Own:
    """An environment with a low limit of output, and a client of each API that has jobs."""

    environment: Environment
    gateway: Gateway
    stepflow: StepFlow

    async def start(self, kind: str, command: str) -> str:
        """Start a job that runs this shell command; answers its id. A new kind of job is added here."""
        if kind == "gateway.run":
            return (await self.gateway.run(command))["id"]
        if kind == "stepflow.execution":
            return await self.stepflow.create(command)
        raise NotImplementedError(f"how is a job of the kind {kind} started?")

    def path(self, kind: str, job_id: str) -> str:
        """The path at which a job is read, and cancelled with DELETE."""
        return {
            "gateway.run": f"/gateway/api/runs/{job_id}",
            "stepflow.execution": f"/stepflow/api/executions/{job_id}",
        }[kind]

    async def cancel(self, kind: str, job_id: str) -> None:
        """Ask for the end of a job."""
        if kind == "stepflow.execution":  # where DELETE removes the record too
            answer = await self.gateway.http.post(f"{self.path(kind, job_id)}/cancel")
        else:
            answer = await self.gateway.http.delete(self.path(kind, job_id))
        assert answer.status_code == 200, answer.text

    async def status(self, kind: str, job_id: str) -> str:
        """The status of a job as its API shows it."""
        answer = await self.gateway.http.get(self.path(kind, job_id))
        assert answer.status_code == 200, answer.text
        body = answer.json()
        return body["data"]["execution"]["status"] if kind == "stepflow.execution" else body["status"]

    async def ends(self, kind: str, job_id: str) -> str:
        """The status of a job at its end, `none` without one."""
        try:
            return await eventually(
                lambda: self.status(kind, job_id), until=lambda status: status in FINAL, seconds=600
            )  # fmt: skip
        except AssertionError:
            return "none"


@pytest.fixture
async def own(tmp_path: Path) -> AsyncIterator[Own]:
    limits = {"RUNYARD_LOG_LIMIT": str(LOG_LIMIT), "RUNYARD_ARTIFACT_LIMIT": "1000000"}
    environment = Environment.temporary(tmp_path, **UNLIMITED, **SHORT_CLOCKS, **limits)
    await environment.start()
    try:
        gateway = await register(environment)
        async with client_of(environment) as stepflow, connected(**environment.app_settings):
            yield Own(environment, gateway, stepflow)
        await gateway.http.aclose()
    finally:
        await environment.stop()


@dataclass
class Hostile:
    """The runner of a running job, in hostile hands."""

    own: Own
    runner: Runner
    campaign: Campaign

    @property
    def id(self) -> str:
        return self.runner.job.id

    async def refused(self, path: str, body: Any) -> None:
        """Check that a push is refused."""
        answer = await self.runner.post(path, body)
        assert 400 <= answer.status_code < 500, (path, str(body)[:200], answer.status_code, answer.text)

    async def taken(self, path: str, body: Any) -> None:
        """Check that a push is accepted."""
        answer = await self.runner.post(path, body)
        assert answer.status_code in (200, 201), (path, str(body)[:200], answer.status_code, answer.text)

    async def exits(self, size: int = 0, **members: Any) -> str:
        """Report a good exit; answers the status that follows from it."""
        await self.taken("exit", {"exit_code": 0, "reason": "exited", "size": size, **members})
        return "completed"


async def exits_out_of_bounds(it: Hostile) -> str:
    reports = [*POISON.values(), *({"files": [it.runner.file(**file)]} for file in FILES.values())]
    for report in reports:
        await it.refused("exit", {"exit_code": 0, "reason": "exited", "size": 0, **report})
    return await it.exits()


async def wrong_types(it: Hostile) -> str:
    odd = [None, True, -1, 1.5, "x", [], {}, [[]], 10**30, "\ud800", "x" * 100_000]
    for path, members in {
        "exit": ("exit_code", "reason", "message", "size", "files", "skipped", "at"),
        "files": ("name", "size"),
        "captures": ("line", "end", "path", "file", "at"),
    }.items():
        for member in members:
            answer = await it.runner.post(
                path, {"line": 0, "end": 1, "path": "x", member: it.campaign.chance.choice(odd)}
            )
            assert answer.status_code < 500, (path, member, answer.text)
    if (await jobs.get(it.id)).exit is not None:
        return "any"
    return await it.exits((await jobs.get(it.id)).size)


async def invalid_json(it: Hostile) -> str:
    for path in ("exit", "files", "captures"):
        for body in (b"", b"{", b"\xff\xfe", b"[" * 100_000, b"NaN", b'{"size":' + b"1" * 5000 + b"}"):
            await it.refused(path, body)
    return await it.exits()


async def an_exit_twice(it: Hostile) -> str:
    first = await it.exits()
    answer = await it.runner.post("exit", {"exit_code": 7, "reason": "exited", "size": 0})
    assert answer.status_code in (200, 410)
    return first


async def an_exit_before_the_output(it: Hostile) -> str:
    for size in (1, 5, 10**6, 10**30):
        await it.refused("exit", {"exit_code": 0, "reason": "exited", "size": size})
    await it.taken("events?offset=0", b"late\n")
    await it.refused("exit", {"exit_code": 0, "reason": "exited", "size": 0})
    return await it.exits(5)


async def wrong_offsets(it: Hostile) -> str:
    await it.taken("events?offset=0", b"0123456789\n")
    for offset in ("12", "-1", "x", "", "1e3", str(2**63), str(10**30), "1" * 5000):
        await it.refused(f"events?offset={offset}", b"x")
    for offset in it.campaign.chance.sample(range(11), 5):  # repeats and overlaps
        await it.taken(f"events?offset={offset}", b"0123456789\n"[offset:])
    return await it.exits(11)


async def foreign_tokens(it: Hostile) -> str:
    good, tokens = it.runner.headers, ["", "Bearer", "Bearer x", f"Basic {new_token()[0]}", f"Bearer {new_token()[0]}"]
    for token in tokens:
        it.runner.headers = {"Authorization": token}
        for path in ("events?offset=0", "exit", "files", "captures"):
            assert (await it.runner.post(path, b"{}")).status_code == 401, (token, path)
    it.runner.headers = good
    return await it.exits()


async def huge_frames(it: Hostile) -> str:
    await it.refused("events?offset=0", b"x" * (LOG_LIMIT + 1_000_000))
    await it.refused("exit", b" " * 11_000_000)
    noise = it.campaign.chance.randbytes(500_000)
    await it.taken("events?offset=0", noise)
    await it.refused(f"events?offset={len(noise)}", b"y" * LOG_LIMIT)
    return await it.exits(len(noise))


async def odd_ages(it: Hostile) -> str:
    for place, ages in enumerate(("x", "0:", "0:nan", "0:-1e999", ":", "1" * 5000 + ":1", "0:1," * 1000)):
        it.runner.headers[AGES] = ages
        await it.taken(f"events?offset={place * 2}", b"x\n")
    return await it.exits(14)


async def too_many_captures(it: Hostile) -> str:
    for line in range(it.campaign.rounds(20, 1000)):
        await it.taken("captures", {"line": line * 10, "end": line * 10 + 9, "path": f"f{line}"})
    if it.campaign.full:
        await it.refused("captures", {"line": 10**6, "end": 10**6 + 1, "path": "f"})
    return await it.exits()


async def files_that_are_not_as_declared(it: Hostile) -> str:
    large = await it.runner.upload("large", 1, b"x" * 1_000_000)
    foreign = it.runner.file(name="foreign", blob=f"{it.runner.job.kind}/{new_id()}/file")
    return await it.exits(files=[large, foreign, it.runner.file(name="never")])


async def pushes_after_a_cancel(it: Hostile) -> str:
    await it.own.cancel(it.runner.job.kind, it.id)
    for path, body in (("events?offset=0", b"x\n"), ("exit", {"exit_code": 0, "size": 2}), ("files", {"name": "a"})):
        answer = await it.runner.post(path, body)
        assert answer.status_code < 500, (path, answer.text)
    return "cancelled"


async def a_stored_exit_that_cannot_be_read(it: Hostile) -> str:
    def spoil(record: Job) -> None:
        record.exit = {"exit_code": 0, "reason": "exited", "size": 10**18, "files": [it.runner.file(size=10**30)]}

    await jobs.update(it.id, spoil)
    return "failed"  # as soon as the container is checked


async def a_container_that_is_removed(it: Hostile) -> str:
    await containers.remove(group_name(it.id))
    return "failed"


RUNNERS: list[Callable[[Hostile], Awaitable[str]]] = [
    exits_out_of_bounds, wrong_types, invalid_json, an_exit_twice, an_exit_before_the_output, wrong_offsets,
    foreign_tokens, huge_frames, odd_ages, too_many_captures, files_that_are_not_as_declared, pushes_after_a_cancel,
    a_stored_exit_that_cannot_be_read, a_container_that_is_removed,
]  # fmt: skip
"""What a hostile runner does; each answers the status in which its job must end, `any` for every final one."""


def programs(campaign: Campaign) -> dict[str, str]:
    """Hostile programs in Python; the jobs of all of them complete."""
    many = campaign.rounds(300, 60_000)
    return {
        "many files": "import os\nos.mkdir('artifacts')\n"
        f"for n in range({many}): open(f'artifacts/{{n}}', 'w').close()",
        "odd names": "import os\nos.mkdir('artifacts')\n"
        "for n in range(1, 256):\n    if n != 47: open(b'artifacts/' + bytes([n] * 3), 'w').close()",
        "output over the limit": f"for n in range({LOG_LIMIT // 50}): print('x' * 99)",
        "one line without end": f"import sys\nsys.stdout.write('x' * {LOG_LIMIT * 2})",
        "bytes that are no text": "import os\nfor n in range(200): os.write(1, os.urandom(500))",
        "markers of nothing": "for n in range(300): print(f'ARTIFACT: none{n}.txt')\nprint('STEP_COMPLETE: none')",
        "a closed output": "import os\nos.close(1)\nos.close(2)",
    }


async def hostile_runner(own: Own, campaign: Campaign, kind: str, attack: Callable[[Hostile], Awaitable[str]]) -> None:
    """One job whose runner turns hostile; it must end as the attack says."""
    job_id = await own.start(kind, "sleep 600")
    await eventually(lambda: own.status(kind, job_id), until=lambda status: status == "running", seconds=120)
    token, hashed = new_token()

    def take(record: Job) -> None:
        record.token_hash = hashed

    job = await jobs.update(job_id, take)
    async with httpx.AsyncClient(base_url=own.environment.url, timeout=60, trust_env=False) as http:
        expected = await attack(Hostile(own, Runner(http, job, {"Authorization": f"Bearer {token}"}), campaign))
    found = await own.ends(kind, job_id)
    assert expected in (found, "any"), (kind, attack.__name__, found)


async def hostile_program(own: Own, kind: str, name: str, program: str) -> None:
    """One job with a hostile program; it must complete."""
    found = await own.ends(kind, await own.start(kind, f"python3 - <<'END'\n{program}\nEND"))
    assert found == "completed", (kind, name)


async def abandoned_run(own: Own) -> str:
    """A run without a workflow, as a crash leaves it, which the upkeep must start; its id."""
    at = datetime.now(UTC) - timedelta(minutes=5)
    run = Run(id=new_id(at), client_id=own.gateway.id, prompt="echo x", model="bash", options={}, started_at=at)
    return (await runs.insert(run)).id


async def test_hostile_jobs_of_every_kind_end_and_harm_no_good_run(own: Own, campaign: Campaign):
    hostile: list[Callable[[], Awaitable[None]]] = []
    known = programs(campaign)
    # A warm container runs jobs of others; hostile agents, tools and code of workspaces have their own campaigns.
    others = {warm.KIND, "anymind.build", "anymind.execution", "ownpilot.execution", "ownpilot.tool"}
    for kind in kinds.keys() - others:
        for attack in campaign.chance.sample(RUNNERS, campaign.rounds(3, len(RUNNERS))):
            hostile.append(lambda kind=kind, attack=attack: hostile_runner(own, campaign, kind, attack))
        for name in campaign.chance.sample(list(known), campaign.rounds(1, len(known))):
            hostile.append(lambda kind=kind, name=name: hostile_program(own, kind, name, known[name]))
    campaign.chance.shuffle(hostile)
    gate = asyncio.Semaphore(4 * (os.cpu_count() or 1))

    async def one(attack: Callable[[], Awaitable[None]]) -> None:
        async with gate:
            await attack()

    good = [await start_numbered(own.gateway, number, 0.1) for number in range(GOOD)]
    attacks = [asyncio.create_task(one(attack)) for attack in hostile]
    abandoned = await abandoned_run(own)
    assert (await own.gateway.http.post("/admin/functions/maintenance_minute", json={})).status_code == 202
    await asyncio.gather(*attacks)
    for run_id in good:
        await is_whole(own.gateway, await own.gateway.reach(run_id, seconds=600))
    assert (await own.gateway.reach(abandoned, seconds=600))["result"] == "x\n"
    log = (own.environment.state / "logs/host.log").read_text(errors="replace")
    assert "upkeep of jobs failed" not in log
    await counted_right(own.gateway, await all_runs(own.gateway))
    await executions_counted_right(own.stepflow)
    await no_container_left(own.environment)


async def executions_counted_right(stepflow: StepFlow) -> None:
    """Check that every execution has ended, and that the lists by status agree with the whole list."""
    total = (await stepflow.data("/api/executions"))["total_count"]
    by_status = [(await stepflow.data("/api/executions", status=status))["total_count"] for status in FINAL]
    assert sum(by_status) == total, json.dumps(dict(zip(FINAL, by_status, strict=True)))
