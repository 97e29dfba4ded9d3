"""Logs: whatever a command prints is read whole, in order, and a page costs the same anywhere in it."""

import pytest

from tests.support.stepflow import StepFlow, refused
from tests.support.values import UNKNOWN


def script(code: str) -> list[str]:
    return ["python3", "-c", code]


class TestOutput:
    async def test_output_without_a_newline_at_its_end_is_read_whole(self, stepflow: StepFlow):
        found = await stepflow.run("printf 'one\\ntwo'")
        assert await stepflow.logs(found["execution"]["id"]) == ["one", "two"]

    async def test_a_marker_without_a_newline_at_its_end_is_read(self, stepflow: StepFlow):
        found = await stepflow.run("echo x > f; echo STEP_START: a; printf 'ARTIFACT: f'")
        assert (found["artifacts"][0]["file_size"], found["artifacts"][0]["step_id"]) == (2, found["steps"][0]["id"])

    async def test_a_line_of_a_megabyte_is_kept_whole(self, stepflow: StepFlow):
        async with stepflow.watch() as watcher:
            execution_id = await stepflow.create(script("print('before'); print('x' * 1_000_000); print('after')"))
            await watcher.completed(execution_id)
        lines = ["before", "x" * 1_000_000, "after"]
        assert await stepflow.logs(execution_id) == lines
        sent = [message["data"] for message in watcher.of(execution_id) if message["type"] == "log_entry"]
        assert "".join(entry["content"] for entry in sent) == "".join(lines)
        assert sum(entry["lines"] for entry in sent) == 3

    async def test_ten_thousand_lines_are_kept_in_order(self, stepflow: StepFlow):
        code = "for n in range(10_000): print(f'{n:06} ' + 'x' * 100)"
        found = await stepflow.run(script(code))
        execution_id = found["execution"]["id"]
        assert found["execution"]["status"] == "completed"
        for offset in (0, 4_999, 9_990):
            page = await stepflow.data(f"/api/executions/{execution_id}/logs", offset=offset, limit=10)
            assert [entry["content"][:6] for entry in page["logs"]] == [f"{offset + n:06}" for n in range(10)]
            assert (page["total_count"], page["has_more"]) == (10_000, offset < 9_990)
        assert [line[:6] for line in await stepflow.logs(execution_id)] == [f"{n:06}" for n in range(10_000)]

    async def test_bytes_that_are_not_utf8_are_read_as_latin1(self, stepflow: StepFlow):
        code = "import sys; sys.stdout.buffer.write('grüße\\n'.encode('latin-1') + 'grüße\\n'.encode() + b'a\\0b\\n')"
        assert await stepflow.logs((await stepflow.run(script(code)))["execution"]["id"]) == ["grüße", "grüße", "a\0b"]

    async def test_output_of_only_markers_has_an_empty_log(self, stepflow: StepFlow):
        code = "for n in range(100): print(f'STEP_START: {n}'); print(f'META: n: {n}')"
        found = await stepflow.run(script(code))
        assert [step["name"] for step in found["steps"]] == [str(n) for n in range(100)]
        assert all(step["metadata"] == {"n": step["name"]} for step in found["steps"])
        assert found["execution"]["completed_steps"] == 100
        assert await stepflow.logs(found["execution"]["id"]) == []

    async def test_lines_of_standard_error_and_standard_output_keep_their_order(self, stepflow: StepFlow):
        found = await stepflow.run("echo 1; echo 2 >&2; echo 3; echo STEP_START: a >&2")
        assert await stepflow.logs(found["execution"]["id"]) == ["1", "2", "3"]
        assert len(found["steps"]) == 1


class TestListLogs:
    async def test_each_line_names_its_step(self, stepflow: StepFlow):
        lines = ["0", "STEP_START: a", "1", "STEP_START: b", "STEP_COMPLETE: b", "2", "STEP_START: c", "3"]
        command = ["printf", "%s\\n", *lines]
        found = await stepflow.run(command)
        a, b, c = (step["id"] for step in found["steps"])
        path = f"/api/executions/{found['execution']['id']}/logs"
        page = await stepflow.data(path)
        assert [(line["content"], line["step_id"], line["step_name"]) for line in page["logs"]] == [
            ("0", None, None), ("1", a, "a"), ("2", None, None), ("3", c, "c"),
        ]  # fmt: skip
        assert {frozenset(line) for line in page["logs"]} == {
            frozenset({"timestamp", "content", "level", "step_id", "step_name"})
        }
        assert page["logs"][0]["level"] == "info"
        own = await stepflow.data(path, step_id=c)
        assert ([line["content"] for line in own["logs"]], own["total_count"]) == (["3"], 1)
        assert (await stepflow.data(path, step_id=b))["logs"] == []

    async def test_the_lines_of_one_step_are_paged(self, stepflow: StepFlow):
        found = await stepflow.run("echo x; echo STEP_START: a; seq 30; echo STEP_COMPLETE: a; echo y")
        path, step_id = f"/api/executions/{found['execution']['id']}/logs", found["steps"][0]["id"]
        page = await stepflow.data(path, step_id=step_id, limit=10, offset=20)
        assert [line["content"] for line in page["logs"]] == [str(n) for n in range(21, 31)]
        assert (page["total_count"], page["has_more"]) == (30, False)
        assert (await stepflow.data(path, step_id=step_id, offset=30))["logs"] == []
        assert (await stepflow.data(path, limit=10))["has_more"] is True

    async def test_logs_of_an_unknown_execution_or_step_are_404(self, stepflow: StepFlow):
        refused(await stepflow.http.get(f"/api/executions/{UNKNOWN}/logs"), 404)
        execution_id = (await stepflow.run("true"))["execution"]["id"]
        refused(await stepflow.http.get(f"/api/executions/{execution_id}/logs?step_id={UNKNOWN}"), 404)

    @pytest.mark.parametrize("query", ["limit=0", "offset=-1", "limit=x"])
    async def test_an_invalid_query_is_refused(self, stepflow: StepFlow, query: str):
        refused(await stepflow.http.get(f"/api/executions/{UNKNOWN}/logs?{query}"), 400)


async def test_logs_of_two_concurrent_executions_do_not_mix(stepflow: StepFlow):
    async with stepflow.watch() as watcher:
        command = "for i in $(seq 200); do echo {0} $i; done; echo STEP_START: {0}; echo end {0}"
        ids = {name: await stepflow.create(command.replace("{0}", name)) for name in ("a", "b")}
        for execution_id in ids.values():
            await watcher.completed(execution_id)
    for name, execution_id in ids.items():
        lines = [f"{name} {n}" for n in range(1, 201)] + [f"end {name}"]
        assert await stepflow.logs(execution_id) == lines
        sent = [m["data"]["content"] for m in watcher.of(execution_id) if m["type"] == "log_entry"]
        assert "\n".join(sent).split("\n") == lines
