"""How executions end, and the messages they end with."""

import pytest

from tests.support.stepflow import StepFlow


class TestOutcome:
    @pytest.mark.parametrize(
        ("command", "status", "code"),
        [("true", "completed", 0), ("false", "failed", 1), ("exit 3", "failed", 3), ("sh -c 'exit 3'", "failed", 3),
         ("kill -9 $$", "failed", 137)],
    )  # fmt: skip
    async def test_the_exit_code_decides_the_status(self, stepflow: StepFlow, command: str, status: str, code: int):
        found = await stepflow.run(command)
        execution = found["execution"]
        assert (execution["status"], execution["exit_code"], found["steps"]) == (status, code, [])
        assert (execution["error_message"] is None) is (status == "completed")
        assert execution["progress_percentage"] == 0.0
        assert execution["started_at"] <= execution["completed_at"]

    async def test_a_missing_command_fails_with_a_message(self, stepflow: StepFlow):
        execution = (await stepflow.run("no-such-command --at-all"))["execution"]
        assert (execution["status"], execution["exit_code"]) == ("failed", 127)
        assert "127" in execution["error_message"]

    async def test_a_command_that_cannot_be_started_fails_with_the_error_of_the_system(self, stepflow: StepFlow):
        execution = (await stepflow.run("echo a\0b"))["execution"]
        assert (execution["status"], execution["exit_code"]) == ("failed", 1)
        assert "null byte" in execution["error_message"]

    async def test_failed_steps_do_not_fail_the_execution(self, stepflow: StepFlow):
        found = await stepflow.run("echo STEP_START: a; echo STEP_ERROR: broken")
        assert (found["execution"]["status"], found["steps"][0]["status"]) == ("completed", "failed")

    async def test_an_open_critical_step_is_named_when_the_command_fails(self, stepflow: StepFlow):
        found = await stepflow.run("echo 'STEP_START: setup [stop_on_error=true]'; exit 4")
        assert found["execution"]["status"] == "failed"
        assert "setup" in found["execution"]["error_message"]
        assert (found["steps"][0]["status"], found["steps"][0]["exit_code"]) == ("failed", 4)

    @pytest.mark.parametrize("directory", ["/" + "x" * 300, "deep/" + "y" * 300])
    async def test_a_working_directory_that_cannot_be_created_fails_with_the_error_of_the_system(
        self, stepflow: StepFlow, directory: str
    ):
        execution = (await stepflow.run("true", working_directory=directory))["execution"]
        assert (execution["status"], execution["exit_code"]) == ("failed", 1)
        assert "[Errno" in execution["error_message"]

    async def test_environment_variables_reach_the_command_and_not_the_runner(self, stepflow: StepFlow):
        variables = {"PYTHONHOME": "/nowhere", "RUNYARD_JOB": "mine", "LD_PRELOAD": "", "GRUSS": "grüße " * 1000}
        found = await stepflow.run('echo "$PYTHONHOME $RUNYARD_JOB"; echo "$GRUSS" | wc -c', environment=variables)
        assert await stepflow.logs(found["execution"]["id"]) == [
            "/nowhere mine",
            str(len("grüße ".encode()) * 1000 + 1),
        ]

    async def test_an_execution_past_its_timeout_fails_with_the_reason(self, stepflow: StepFlow):
        found = await stepflow.run("echo STEP_START: slow; echo one; trap '' TERM; sleep 60; sleep 60", timeout=1)
        execution = found["execution"]
        assert (execution["status"], execution["exit_code"]) == ("failed", -1)
        assert execution["error_message"] == "Execution timed out after 1 second"
        assert found["steps"][0]["status"] == "failed"
        assert await stepflow.logs(execution["id"]) == ["one"]
