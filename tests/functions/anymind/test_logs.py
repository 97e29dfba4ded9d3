"""Logs: how builds and executions ended, and what agents have printed."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from functions.anymind.records import AgentVersion, Execution, ExecutionStatus, VersionStatus
from functions.anymind.store import executions, versions
from infra.local.environment import Environment
from shared import blobs
from shared.jobs import LOGS
from tests.support.agents import CODE, agent_of, execute, logs, ready, running
from tests.support.anymind import BASE, Anymind, refused, registered
from tests.support.waiting import eventually

MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}")


@pytest.fixture(scope="module")
async def agent(anymind: Anymind) -> int:
    """An agent that runs the code which it is called with."""
    return await ready(anymind, agent_of(CODE))


class TestExecutionLogs:
    async def test_printed_lines_come_before_the_end(self, anymind: Anymind, agent: int):
        code = "import sys\nprint('one\\ntwo')\nsys.stdout.flush()\nprint('bad', file=sys.stderr)\nresult = {}"
        done = await execute(anymind, agent, code=code)
        entries = await anymind.ok("GET", f"/logs/executions/{done['id']}/logs")
        assert all(MOMENT.fullmatch(entry["timestamp"]) for entry in entries)
        assert {entry["source"] for entry in entries} == {"runtime"}
        metadata = {"execution_id": done["id"], "status": "completed"}
        assert all(entry["metadata"] == metadata for entry in entries)
        found = [(entry["level"], entry["message"]) for entry in entries]
        assert found[-1] == ("INFO", f"Execution {done['id']} completed successfully")
        # Two pipes have no order between them.
        assert [message for level, message in found[:-1] if level == "INFO"] == ["one", "two"]
        assert [message for level, message in found[:-1] if level == "WARNING"] == ["bad"]

    async def test_a_failure_ends_with_its_error(self, anymind: Anymind, agent: int):
        done = await execute(anymind, agent, code="raise ValueError('broken')")
        found = await logs(anymind, done["id"])
        assert found[-1] == ("ERROR", "broken")
        assert ("WARNING", "ValueError: broken") in found  # the last line of the traceback

    async def test_secrets_are_masked(self, anymind: Anymind, agent: int):
        done = await execute(anymind, agent, code="print('api_key=' + 'abcdef123456'); result = {}")
        assert (await logs(anymind, done["id"]))[0] == ("INFO", "api_key=[REDACTED]")

    async def test_of_many_and_long_lines_the_newest_hundred_entries_are_shown(
        self, anymind: Anymind, agent: int, app: None
    ):
        code = "for number in range(1000): print(number, 'x' * 400)\nresult = {}"
        done = await execute(anymind, agent, code=code)
        stored = await executions.get(str(done["id"]))
        assert (stored.log, stored.lines) == ("", 100)  # too long for the record
        found = await logs(anymind, done["id"])
        assert len(found) == 100
        assert [message.split()[0] for _, message in found[:-1]] == [str(number) for number in range(901, 1000)]

    async def test_lines_are_shown_while_the_execution_runs(self, anymind: Anymind, agent: int):
        code = "import time\nprint('begun', flush=True)\ntime.sleep(29)"
        execution, waiting = await running(anymind, agent, code=code)
        found = await eventually(lambda: logs(anymind, execution))
        assert found == [("INFO", "begun")]
        await anymind.ok("POST", f"/runtime/executions/{execution}/cancel")
        assert (await waiting)["status"] == "cancelled"

    async def test_a_log_that_was_made_and_is_still_empty_shows_nothing(self, anymind: Anymind, agent: int, app: None):
        execution = await executions.insert(
            Execution(agent_id=str(agent), agent_version_id="1", user_id=str(anymind.id), input_data={})
        )
        await blobs.append(LOGS, execution.job_id, 0, b"")
        assert await anymind.ok("GET", f"/logs/executions/{execution.id}/logs") == []
        await executions.delete(execution.id)

    async def test_a_line_of_another_form_is_shown_as_it_is(self, anymind: Anymind, agent: int, app: None):
        execution = await executions.insert(
            Execution(
                agent_id=str(agent), agent_version_id="1", user_id=str(anymind.id), input_data={},
                status=ExecutionStatus.COMPLETED, ended_at=datetime.now(UTC), lines=2,
                log="2024-01-01T00:00:00.000000 O one\n[output was dropped]\n",
            )
        )  # fmt: skip
        entries = await anymind.ok("GET", f"/logs/executions/{execution.id}/logs")
        assert [(entry["timestamp"], entry["level"], entry["message"]) for entry in entries[:2]] == [
            ("2024-01-01T00:00:00.000000", "INFO", "one"),
            ("2024-01-01T00:00:00.000000", "WARNING", "[output was dropped]"),
        ]

    async def test_an_unknown_execution_is_not_found(self, anymind: Anymind):
        answer = await anymind.http.get(f"{BASE}/logs/executions/999999999/logs")
        assert refused(answer, 404) == "Execution not found"


class TestAgentLogs:
    async def test_a_new_agent_has_none(self, anymind: Anymind):
        assert await anymind.ok("GET", f"/logs/{(await anymind.agent())['id']}") == []

    async def test_builds_and_executions_come_in_the_order_in_which_they_ended(self, anymind: Anymind):
        agent = await ready(anymind, agent_of(CODE))
        done = await execute(anymind, agent, code="print('hello'); result = {}")
        entries = await anymind.ok("GET", f"/logs/{agent}")
        assert [(entry["source"], entry["level"], entry["message"]) for entry in entries] == [
            ("build", "INFO", "Build completed successfully"),
            ("runtime", "INFO", "hello"),
            ("runtime", "INFO", f"Execution {done['id']} completed successfully"),
        ]

    async def test_the_newest_are_shown_of_many(self, anymind: Anymind, app: None):
        agent = str((await anymind.agent())["id"])
        owned: dict[str, Any] = {"agent_id": agent, "user_id": str(anymind.id)}
        began = datetime.now(UTC) - timedelta(hours=1)
        for number in range(1, 13):
            at = began + timedelta(minutes=number)
            failed: dict[str, Any] = {"status": VersionStatus.FAILED, "build_log": f"build {number}", "settled": True}
            path = f"agents/{agent}/{number}"
            await versions.insert(
                AgentVersion(**owned, **failed, number=number, ended_at=at, tarball_path=path, blob="x", size=1)
            )
        for number in range(60):
            at = began + timedelta(minutes=20, seconds=number)
            log = f"2024-01-01T00:00:00.000000 O line {number}\n"
            ended: dict[str, Any] = {"status": ExecutionStatus.COMPLETED, "log": log, "lines": 1, "ended_at": at}
            await executions.insert(Execution(**owned, **ended, agent_version_id="1", input_data={}))
        entries = await anymind.ok("GET", f"/logs/{agent}")
        assert len(entries) == 100
        assert [entry["message"] for entry in entries[::2]] == [f"line {number}" for number in range(10, 60)]
        # Where executions leave room, the builds before them are shown.
        quiet = str((await anymind.agent())["id"])
        await versions.insert(
            AgentVersion(
                agent_id=quiet, user_id=str(anymind.id), number=1, status=VersionStatus.FAILED, build_log="no",
                settled=True, ended_at=began, tarball_path=f"agents/{quiet}/1", blob="x", size=1,
            )
        )  # fmt: skip
        assert [entry["message"] for entry in await anymind.ok("GET", f"/logs/{quiet}")] == ["no"]

    async def test_another_users_agent_is_not_found(self, stack: Environment, agent: int):
        async with registered(stack) as stranger:
            assert refused(await stranger.http.get(f"{BASE}/logs/{agent}"), 404) == "Agent not found"
