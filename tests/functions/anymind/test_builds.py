"""Builds: an archive becomes a version that can be executed, or fails with a reason."""

from typing import Any

import pytest

from functions.anymind.build_job import TIMEOUT, outcome
from functions.anymind.store import versions
from infra.local.environment import Environment
from shared.jobs import Exit, SkippedFile
from tests.support.agents import (
    CONFIG,
    ECHO,
    agent_of,
    archive,
    built,
    execute,
    executed_at_once,
    installed,
    ready,
    upload,
)
from tests.support.anymind import Anymind
from tests.support.groups import removed
from tests.support.waiting import eventually


async def last_entry(user: Anymind, agent_id: int) -> dict[str, Any]:
    """The newest log entry of an agent, without its time."""
    entry = (await user.ok("GET", f"/logs/{agent_id}"))[-1]
    entry.pop("timestamp")
    return entry


class TestBuild:
    async def test_a_ready_version_becomes_the_agents_current_one(self, anymind: Anymind):
        version = await upload(anymind, agent_of(ECHO))
        agent = await built(anymind, version["agent_id"])
        assert (agent["status"], agent["current_version_id"]) == ("ready", version["id"])
        assert await last_entry(anymind, agent["id"]) == {
            "level": "INFO",
            "message": "Build completed successfully",
            "source": "build",
            "metadata": {"version_id": version["id"], "status": "ready"},
        }

    async def test_a_failed_one_leaves_the_current_version_which_is_still_executed(self, anymind: Anymind):
        agent = await ready(anymind, agent_of("def handle(payload):\n    return {'version': 1}\n"))
        good = (await anymind.ok("GET", f"/agents/{agent}"))["current_version_id"]
        version = await upload(anymind, agent_of("1 / 0"), agent)
        failed = await built(anymind, agent)
        assert (failed["status"], failed["current_version_id"]) == ("failed", good)
        assert await last_entry(anymind, agent) == {
            "level": "ERROR",
            "message": "Importing main failed: ZeroDivisionError: division by zero",
            "source": "build",
            "metadata": {"version_id": version["id"], "status": "failed"},
        }
        assert (await execute(anymind, agent))["output_data"] == {"version": 1}

    @pytest.mark.parametrize("packed", [b"", b"only text", archive({"../out": "x"})], ids=["empty", "text", "outside"])
    async def test_what_is_no_archive_fails(self, anymind: Anymind, packed: bytes):
        version = await upload(anymind, packed)
        assert (await built(anymind, version["agent_id"]))["status"] == "failed"
        message = (await last_entry(anymind, version["agent_id"]))["message"]
        assert message.startswith("The archive cannot be unpacked: ")

    async def test_the_reason_is_masked(self, anymind: Anymind):
        version = await upload(anymind, agent_of("raise ValueError('password=hunter22')"))
        await built(anymind, version["agent_id"])
        message = (await last_entry(anymind, version["agent_id"]))["message"]
        assert message == "Importing main failed: ValueError: password=[REDACTED]"

    @pytest.mark.parametrize(
        ("packed", "reason"),
        [
            (archive({"/caf\udce9": "x"}), "The archive cannot be unpacked: /caf\\udce9 is an absolute name"),
            (agent_of("raise ValueError('caf\\udce9')"), "Importing main failed: ValueError: caf\\udce9"),
            (agent_of(ECHO, anymind_yaml="on: !!timestamp x"), "anymind.yaml is not valid YAML: "),
            (agent_of(ECHO, anymind_yaml="on: !!bool maybe"), "anymind.yaml is not valid YAML: 'maybe'"),
            (agent_of(ECHO, anymind_yaml=f"{CONFIG}n: 0x{'f' * 4000}"), "The build failed: Exceeds the limit"),
        ],
        ids=["name", "error", "timestamp", "truth", "number"],
    )
    async def test_a_reason_is_given_whatever_the_archive_holds(self, anymind: Anymind, packed: bytes, reason: str):
        version = await upload(anymind, packed)
        assert (await built(anymind, version["agent_id"]))["status"] == "failed"
        assert (await last_entry(anymind, version["agent_id"]))["message"].startswith(reason)

    @pytest.mark.parametrize("package", ["yaml", "pip"])
    async def test_an_agent_sees_no_package_that_it_does_not_bring(self, anymind: Anymind, package: str):
        version = await upload(anymind, agent_of(f"import {package}\n{ECHO}"))
        assert (await built(anymind, version["agent_id"]))["status"] == "failed"
        message = (await last_entry(anymind, version["agent_id"]))["message"]
        assert message == f"Importing main failed: ModuleNotFoundError: No module named '{package}'"

    async def test_no_container_is_left(self, stack: Environment, anymind: Anymind, app: None):
        version = await upload(anymind, agent_of(ECHO))
        await built(anymind, version["agent_id"])
        job_id = (await versions.get(str(version["id"]))).job_id
        await eventually(lambda: removed(stack, job_id))


async def test_an_agent_of_two_modules_with_a_package_is_executed_ten_times_at_once(anymind: Anymind):
    done = await executed_at_once(anymind, await installed(anymind), 10)
    entries = await anymind.ok("GET", f"/logs/executions/{done[7]['id']}/logs")
    assert sorted((entry["level"], entry["message"]) for entry in entries) == [
        ("INFO", f"Execution {done[7]['id']} completed successfully"),
        ("INFO", "asked for 7"),
        ("WARNING", "nothing is wrong"),
    ]


class TestOutcome:
    """What a build becomes whose container has not reported as it should."""

    @pytest.mark.parametrize(
        ("end", "log"),
        [
            (Exit(reason="exited", exit_code=1), "The container of the build stopped without a report"),
            (Exit(reason="exited", report="{"), "The container of the build stopped without a report"),
            (Exit(reason="exited", report='{"entrypoint": 5}'), "The container of the build stopped without a report"),
            (Exit(reason="exited", exit_code=137, message="Ran out of memory"), "Ran out of memory"),
            (Exit(reason="timeout"), f"The build took longer than {TIMEOUT} seconds"),
            (Exit(reason="cancelled"), "The build was cancelled"),
            (Exit(reason="unstartable", message="No such image"), "No such image"),
            (Exit(reason="lost"), "The container of the build stopped without a report"),
            (
                Exit(
                    reason="exited", report='{"config": ""}', skipped=[SkippedFile(name="r", reason="File is over 1")]
                ),
                "The built archive could not be stored: File is over 1",
            ),
        ],
    )
    def test_a_build_without_a_good_report_has_failed(self, end: Exit, log: str):
        assert outcome(end) == (None, log)
