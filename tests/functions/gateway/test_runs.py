"""Runs: prompts and code executed in containers."""

import uuid

import httpx
import pytest

from tests.support.environments import StrictHost
from tests.support.gateway import Gateway
from tests.support.values import UNKNOWN


class TestCreateRun:
    async def test_a_request_without_a_key_is_401(self, http: httpx.AsyncClient):
        answer = await http.post("/gateway/api/runs", json={"prompt": "true", "model": "bash"})
        assert (answer.status_code, answer.json()) == (401, {"error": "Invalid or missing API key"})

    async def test_the_key_is_checked_before_the_body(self, http: httpx.AsyncClient):
        assert (await http.post("/gateway/api/runs", content=b"{")).status_code == 401

    async def test_a_new_run_is_pending(self, gateway: Gateway):
        run = await gateway.run("echo hello", timeout=60, colour="blue")
        assert (run["status"], run["prompt"], run["model"], run["artifact_count"]) == (
            "pending",
            "echo hello",
            "bash",
            0,
        )
        assert run["options"] == {"timeout": 60, "max_tokens": 4096, "colour": "blue"}
        assert run["started_at"].endswith("Z")
        assert uuid.UUID(run["id"])

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"prompt": ""},
            {"prompt": "  \n"},
            {"prompt": 5},
            {"prompt": "x" * 100_001},
            {"prompt": "x", "model": "gpt-0"},
            {"prompt": "x", "model": 7},
            {"prompt": "x", "options": []},
            {"prompt": "x", "options": {"timeout": 0}},
            {"prompt": "x", "options": {"timeout": 3601}},
            {"prompt": "x", "options": {"timeout": "5"}},
            {"prompt": "x", "options": {"max_tokens": 0}},
            {"prompt": "x", "options": {"max_tokens": 8193}},
            [],
            "x",
            None,
        ],
    )
    async def test_an_invalid_body_is_refused(self, gateway: Gateway, body: object):
        answer = await gateway.http.post("/gateway/api/runs", json=body)
        assert answer.status_code == 400, answer.text
        assert list(answer.json()) == ["error"]

    @pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 5000])
    async def test_a_body_that_is_not_json_is_refused(self, gateway: Gateway, content: bytes):
        answer = await gateway.http.post(
            "/gateway/api/runs", content=content, headers={"Content-Type": "application/json"}
        )
        assert (answer.status_code, list(answer.json())) == (400, ["error"])

    async def test_a_body_over_ten_megabytes_is_refused(self, gateway: Gateway):
        answer = await gateway.http.post("/gateway/api/runs", json={"prompt": "x" * 11_000_000})
        assert (answer.status_code, list(answer.json())) == (413, ["error"])


class TestRunOfAProgram:
    async def test_python_prints_and_leaves_files(self, gateway: Gateway):
        program = (
            "import pathlib\n"
            "print('grüße')\n"
            "pathlib.Path('artifacts').mkdir()\n"
            "pathlib.Path('artifacts/data.bin').write_bytes(bytes(range(256)))\n"
        )
        run = await gateway.reach((await gateway.run(program, "python"))["id"])
        assert (run["status"], run["result"], run["error"], run["artifact_count"]) == ("completed", "grüße\n", None, 2)
        assert run["completed_at"] >= run["started_at"]
        files = await gateway.artifacts(run["id"])
        assert await gateway.download(files["data.bin"]["id"]) == bytes(range(256))
        assert await gateway.download(files["claude.log"]["id"]) == "grüße\n".encode()

    async def test_a_failing_program_fails_the_run_and_raises_an_alert(self, gateway: Gateway):
        run = await gateway.reach((await gateway.run("echo before; exit 3"))["id"])
        assert (run["status"], run["result"], run["error"]) == ("failed", "before\n", "Exited with code 3")

    async def test_a_program_killed_by_a_signal_fails_the_run(self, gateway: Gateway):
        run = await gateway.reach((await gateway.run("kill -9 $$"))["id"])
        assert (run["status"], run["error"]) == ("failed", "Exited with code 137")

    async def test_a_run_past_its_timeout_fails_with_the_reason(self, gateway: Gateway):
        run = await gateway.reach((await gateway.run("echo one; sleep 60", timeout=1))["id"])
        assert (run["status"], run["error"], run["result"]) == ("failed", "Timed out after 1 second", "one\n")

    async def test_a_claude_model_without_a_key_fails_with_the_reason(self, gateway: Gateway, strict_host: StrictHost):
        run = await gateway.reach((await strict_host.run(gateway, "hello", "claude-sonnet-4-20250514"))["id"])
        assert run["status"] == "failed"
        assert "ANTHROPIC_API_KEY" in run["error"]


async def test_files_of_two_folders_keep_their_folders_in_their_names(gateway: Gateway):
    run = await gateway.run("for d in a b/c; do mkdir -p artifacts/$d; echo $d > artifacts/$d/out.csv; done")
    await gateway.reach(run["id"])
    found = (await gateway.http.get(f"/gateway/api/runs/{run['id']}/artifacts")).json()["artifacts"]
    contents = {each["filename"]: await gateway.download(each["id"]) for each in found}
    assert contents == {"a_out.csv": b"a\n", "b_c_out.csv": b"b/c\n"}


class TestGetRun:
    async def test_a_request_without_a_key_is_401(self, http: httpx.AsyncClient):
        assert (await http.get(f"/gateway/api/runs/{UNKNOWN}")).status_code == 401

    @pytest.mark.parametrize("run_id", [UNKNOWN, "x", "a%20b", "..%2fx"])
    async def test_an_unknown_id_is_404(self, gateway: Gateway, run_id: str):
        answer = await gateway.http.get(f"/gateway/api/runs/{run_id}")
        assert answer.status_code == 404

    async def test_a_run_has_the_documented_keys(self, gateway: Gateway):
        run = await gateway.get((await gateway.run("true"))["id"])
        assert set(run) == {
            "id", "status", "prompt", "result", "error", "model", "started_at", "completed_at", "artifact_count",
            "client_id", "options", "metadata",
        }  # fmt: skip
        assert run["client_id"] == gateway.id


class TestCancelRun:
    async def test_a_request_without_a_key_is_401(self, http: httpx.AsyncClient):
        assert (await http.delete(f"/gateway/api/runs/{UNKNOWN}")).status_code == 401

    async def test_an_unknown_run_is_404(self, gateway: Gateway):
        answer = await gateway.http.delete(f"/gateway/api/runs/{UNKNOWN}")
        assert (answer.status_code, answer.json()) == (404, {"error": "Run not found"})

    async def test_a_finished_run_cannot_be_cancelled(self, gateway: Gateway):
        run = await gateway.reach((await gateway.run("true"))["id"])
        answer = await gateway.http.delete(f"/gateway/api/runs/{run['id']}")
        assert (answer.status_code, answer.json()) == (400, {"error": "Cannot cancel completed run"})

    async def test_a_cancelled_run_cannot_be_cancelled_again(self, gateway: Gateway):
        run = await gateway.run("sleep 60")
        first = await gateway.http.delete(f"/gateway/api/runs/{run['id']}")
        assert (first.status_code, first.json()) == (200, {"id": run["id"], "status": "cancelled"})
        second = await gateway.http.delete(f"/gateway/api/runs/{run['id']}")
        assert (second.status_code, second.json()) == (400, {"error": "Cannot cancel cancelled run"})


class TestListRuns:
    async def test_a_request_without_a_key_is_401(self, http: httpx.AsyncClient):
        assert (await http.get("/gateway/api/runs")).status_code == 401

    async def test_runs_are_listed_newest_first_with_an_exact_total(self, gateway: Gateway):
        mine = {"client_id": gateway.id}
        before = (await gateway.http.get("/gateway/api/runs", params=mine)).json()["total"]
        ids = [(await gateway.run("true"))["id"] for _ in range(3)]
        page = (await gateway.http.get("/gateway/api/runs", params={**mine, "limit": 2})).json()
        assert [run["id"] for run in page["runs"]] == ids[:0:-1]
        assert page["total"] == before + 3
        assert set(page["runs"][0]) == {
            "id", "status", "prompt", "model", "started_at", "completed_at", "artifact_count", "client_id",
        }  # fmt: skip

    @pytest.mark.parametrize(
        "query", ["limit=0", "limit=-1", "limit=x", "offset=-1", "status=done", "sort_by=name", "sort_order=up"]
    )
    async def test_an_invalid_query_is_refused(self, gateway: Gateway, query: str):
        assert (await gateway.http.get(f"/gateway/api/runs?{query}")).status_code == 400

    async def test_an_unknown_client_has_an_empty_list(self, gateway: Gateway):
        answer = await gateway.http.get(f"/gateway/api/runs?client_id={UNKNOWN}")
        assert (answer.status_code, answer.json()) == (200, {"runs": [], "total": 0})
