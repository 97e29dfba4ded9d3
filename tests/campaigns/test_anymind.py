"""Agents whose archive or handler is hostile, hosts that are killed during builds and executions, and large uploads."""

import asyncio
import os
import tarfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from infra.local.environment import Environment
from tests.support.agents import (
    CODE,
    ECHO,
    agent_of,
    archive,
    built,
    execute,
    executed_at_once,
    installed,
    ready,
    send,
    upload,
)
from tests.support.anymind import BASE, Anymind, refused, registered
from tests.support.campaign import Campaign
from tests.support.kills import kill, no_container_left
from tests.support.values import SHORT_CLOCKS, UNLIMITED
from tests.support.waiting import eventually

FINAL = ("completed", "failed", "cancelled")

LIMIT = 100 * 1024 * 1024


@dataclass
class Own:
    """An environment, and a user of it."""

    environment: Environment
    user: Anymind


@pytest.fixture(params=["", "python=2"], ids=["cold", "warm"])
async def own(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Own]:
    environment = Environment.temporary(tmp_path, **UNLIMITED, **SHORT_CLOCKS, RUNYARD_WARM=request.param)
    await environment.start()
    try:
        async with registered(environment) as user:
            yield Own(environment, user)
    finally:
        await environment.stop()


def zeros(size: int) -> bytes:
    """An archive of an agent with a file of so many zeros."""
    return archive({"anymind.yaml": "entrypoint: main:handle", "main.py": ECHO, "zeros": bytes(size)})


def header_without_end(size: int) -> bytes:
    """An archive whose header of one file has a text of so many characters."""
    member = tarfile.TarInfo("x")
    member.pax_headers = {"comment": "x" * size}
    return archive({"x": member})


ARCHIVES = {
    "a bomb": lambda: zeros(600_000_000),
    "a header without end": lambda: header_without_end(300_000_000),
    "100,000 members": lambda: archive({f"d/{number}": "" for number in range(100_000)}),
    "noise": lambda: os.urandom(1_000_000),
    "code that never imports": lambda: agent_of("while True: pass"),
    "code that eats memory": lambda: agent_of("x = bytearray(10 << 30)"),
    "code that forks": lambda: agent_of("import os\nwhile True: os.fork()"),
    "a billion laughs": lambda: archive(
        {"anymind.yaml": "a: &a [x]\n" + "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in
                                                 zip("abcdefgh", "bcdefghi", strict=True))}
    ),
}  # fmt: skip


async def test_hostile_archives_fail_and_harm_nothing(own: Own, campaign: Campaign):
    chosen = campaign.chance.sample(sorted(ARCHIVES), campaign.rounds(3, len(ARCHIVES)))
    good = await ready(own.user, agent_of(ECHO))
    for name in chosen:
        version = await upload(own.user, ARCHIVES[name]())
        agent = await built(own.user, version["agent_id"], seconds=400)
        assert (agent["status"], agent["current_version_id"]) == ("failed", None), name
        (entry,) = await own.user.ok("GET", f"/logs/{agent['id']}")
        assert (entry["level"], bool(entry["message"])) == ("ERROR", True), name
        assert (await execute(own.user, good, number=1))["output_data"] == {"number": 1}, name


HANDLERS: dict[str, tuple[str, str]] = {
    "sleeps": ("import time; time.sleep(31)", "Timed out after 30 seconds"),
    "never ends": ("while True: pass", "Timed out after 30 seconds"),
    "eats memory": ("bytearray(10 << 30)", "Ran out of memory"),
    "eats memory in small bites": ("x = []\nwhile True: x.append(bytes(1_000_000))", "Ran out of memory"),
    "prints without end": ("while True: print('x' * 1000)", "The agent printed more than 10000000 bytes"),
    "prints a line without end": (
        "import sys\nwhile True: sys.stderr.write('x' * 1000)", "The agent printed more than 10000000 bytes",
    ),
    "returns too much": ("result = 'x' * 20_000_000", "The result is larger than 10000000 bytes"),
    "kills itself": ("import os; os.kill(0, 9)", "The agent's process was killed by SIGKILL"),
    "kills all that it sees": ("import os\nos.kill(-1, 9)\nimport time; time.sleep(31)", ""),
    "forks without end": ("import os\nwhile True:\n    try: os.fork()\n    except OSError: pass", ""),
    "leaves processes behind": (
        "import subprocess\nfor _ in range(50): subprocess.Popen(['sleep', '999'], start_new_session=True)", "none",
    ),
}  # fmt: skip
"""What a handler does, and how its execution's error begins; `none` where it is no error."""


async def test_hostile_handlers_are_ended_and_harm_nothing(own: Own, campaign: Campaign):
    agent, good = await ready(own.user, agent_of(CODE)), await ready(own.user, agent_of(ECHO))
    for name in campaign.chance.sample(sorted(HANDLERS), campaign.rounds(4, len(HANDLERS))):
        code, error = HANDLERS[name]
        done = await execute(own.user, agent, code=code)
        if error == "none":
            assert done["status"] == "completed", (name, done["error_message"])
        else:
            assert done["status"] == "failed", name
            assert done["error_message"].startswith(error), (name, done["error_message"])
        for which in (good, agent):
            answer = await execute(own.user, which, code="result = {'code': 1}")
            assert answer["status"] == "completed", (name, answer["error_message"])
    if not own.environment.settings["RUNYARD_WARM"]:
        await no_container_left(own.environment)


LOOK = """
import os, glob
found = []
for path in glob.glob("/proc/[0-9]*/environ"):
    try: found.append(open(path).read())
    except OSError: pass
text = str(found) + str(dict(os.environ))
result = {"seen": [word for word in ("RUNYARD_JOB", "AccountKey", "token", "/jobs/") if word in text]}
"""

CALL = """
import urllib.error, urllib.request
def call(url, headers, data=None):
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=10) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0
result = {"statuses": [call(url, headers, data.encode() if data else None) for url, headers, data in CALLS]}
"""


async def test_a_handler_reaches_nothing_of_others(own: Own):
    agent = await ready(own.user, agent_of(CODE))
    assert (await execute(own.user, agent, code=LOOK))["output_data"] == {"seen": []}
    ports = own.environment.ports
    key = {"Authorization": "SharedKey devstoreaccount1:" + "A" * 43 + "=", "x-ms-version": "2021-12-02"}
    token = {"Authorization": "Bearer guessed", "Content-Type": "application/json"}
    exit_ = '{"exit_code": 0, "reason": "exited", "size": 0}'
    job = "0190f7a2-0000-7000-8000-000000000000"
    calls: list[Any] = [
        [f"http://127.0.0.1:{ports['table']}/devstoreaccount1/Tables", key, None],
        [f"http://127.0.0.1:{ports['blob']}/devstoreaccount1/artifacts?restype=container&comp=list", key, None],
        [f"http://127.0.0.1:{ports['blob']}/devstoreaccount1/artifacts/x?sig=guessed", {}, None],
        [f"{own.environment.url}/jobs/{job}/exit", token, exit_],
        [f"{own.environment.url}/admin/functions/maintenance_minute", token, "{}"],
    ]
    done = await execute(own.user, agent, code=CALL.replace("CALLS", repr(calls)))
    assert set(done["output_data"]["statuses"]) <= {0, 401, 403, 404}, done


async def test_fifty_executions_at_once_have_fifty_right_answers(own: Own):
    await executed_at_once(own.user, await installed(own.user), 50)


async def test_an_archive_of_100_mib_is_accepted_and_one_byte_more_is_not(own: Own):
    agent = (await own.user.agent())["id"]
    answer = await send(own.user, agent, bytes(LIMIT))
    assert answer.status_code == 201, answer.text
    assert refused(await send(own.user, agent, bytes(LIMIT + 1)), 413) == "File too large"
    stored = await own.user.http.get(f"{BASE}/uploads/{answer.json()['tarball_path']}")
    assert len(stored.content) == LIMIT


async def test_all_builds_and_executions_end_though_the_host_is_killed_again_and_again(own: Own, campaign: Campaign):
    """What was accepted is there at the end; a request that a kill has cut off may or may not have been accepted."""
    kills, builds, count = campaign.rounds(2, 10), campaign.rounds(5, 20), campaign.rounds(10, 40)
    good = await ready(own.user, agent_of("import time\ndef handle(p):\n    time.sleep(0.3)\n    return p\n"))
    accepted: list[int] = []

    async def build() -> None:
        agent = await tried(own.user, "/agents", json={"name": "killed"})
        form = {"file": ("agent.tar.gz", agent_of(ECHO))}
        if agent is not None and await tried(own.user, f"/uploads/agent/{agent}", files=form) is not None:
            accepted.append(agent)

    async def call(number: int) -> None:
        await tried(own.user, f"/runtime/{good}/execute", json={"payload": {"number": number}})

    async def disturb() -> None:
        for _ in range(kills):
            await asyncio.sleep(campaign.chance.uniform(0.2, 1.5))
            await kill(own.environment, "host")

    work = [build() for _ in range(builds)] + [call(number) for number in range(count)]
    campaign.chance.shuffle(work)
    await asyncio.gather(disturb(), *(later(campaign.chance.uniform(0, 1.2 * kills), one) for one in work))
    for agent in await own.user.ok("GET", "/agents?limit=1000"):
        if agent["id"] in accepted or agent["status"] == "building":
            assert (await built(own.user, agent["id"], seconds=300))["status"] == "ready"

    async def unended() -> list[dict[str, Any]]:
        listed = await own.user.ok("GET", "/runtime/executions?limit=1000")
        return [each for each in listed if each["status"] not in FINAL]

    await eventually(unended, until=lambda found: not found, seconds=300)
    listed = await own.user.ok("GET", "/runtime/executions?limit=1000")
    wrong = [each for each in listed if each["output_data"] != each["input_data"]]
    assert all(each["status"] == "failed" and each["error_message"] for each in wrong), wrong
    assert len(wrong) <= len(listed) // 2, wrong
    assert (await execute(own.user, good, number=-1))["output_data"] == {"number": -1}


async def later(seconds: float, work: Any) -> None:
    """Do something after a while."""
    await asyncio.sleep(seconds)
    await work


async def tried(user: Anymind, path: str, **given: Any) -> int | None:
    """The id of what a POST has made, None when the host was killed meanwhile."""
    try:
        answer = await user.http.post(f"{BASE}{path}", **given)
    except httpx.TransportError:
        return None
    return answer.json()["id"] if answer.status_code == 201 else None
