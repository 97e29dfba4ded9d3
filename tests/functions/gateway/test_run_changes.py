"""Runs after their creation: lists, changes by clients, retries, repeats of the same request."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from functions.gateway.records import Run, RunStatus
from functions.gateway.store import MAX_PROMPTS, outlines, runs
from infra.local.environment import Environment
from tests.support.gateway import Gateway, register
from tests.support.values import SECRET, UNKNOWN
from tests.support.waiting import eventually


@pytest.fixture(scope="module")
async def owner(stack: Environment) -> AsyncIterator[Gateway]:
    """A client of which this module knows every run."""
    owner = await register(stack)
    yield owner
    await owner.http.aclose()


@pytest.fixture(scope="module")
async def family(owner: Gateway) -> dict[str, str]:
    """A run of each status, by that status; the running one sleeps."""
    ids = {
        "completed": (await owner.run("true"))["id"],
        "failed": (await owner.run("false"))["id"],
        "running": (await owner.run("echo on; sleep 300"))["id"],
        "cancelled": (await owner.run("sleep 300"))["id"],
    }
    await owner.http.delete(f"/gateway/api/runs/{ids['cancelled']}")
    await asyncio.gather(*(owner.reach(run_id, status) for status, run_id in ids.items()))
    return ids


@pytest.fixture
async def sleeper(gateway: Gateway) -> AsyncIterator[str]:
    """A run that a test ends."""
    run_id = (await gateway.run("echo started; sleep 300"))["id"]
    yield run_id
    await gateway.http.delete(f"/gateway/api/runs/{run_id}")


class TestListRuns:
    @pytest.mark.parametrize("status", ["completed", "failed", "running", "cancelled"])
    async def test_runs_are_filtered_by_status_and_client(self, owner: Gateway, family: dict[str, str], status: str):
        for sort_by in ("created_at", "updated_at", "status"):
            params = {"client_id": owner.id, "status": status, "sort_by": sort_by}
            page = (await owner.http.get("/gateway/api/runs", params=params)).json()
            assert ([run["id"] for run in page["runs"]], page["total"]) == ([family[status]], 1)

    async def test_runs_are_filtered_by_status_over_all_clients(self, gateway: Gateway, family: dict[str, str]):
        page = (await gateway.http.get("/gateway/api/runs?status=failed&limit=1000")).json()
        assert family["failed"] in [run["id"] for run in page["runs"]]
        assert {run["status"] for run in page["runs"]} == {"failed"}
        assert page["total"] == len(page["runs"])

    async def test_runs_are_sorted_by_status(self, owner: Gateway, family: dict[str, str]):
        params = {"client_id": owner.id, "sort_by": "status", "sort_order": "asc"}
        page = (await owner.http.get("/gateway/api/runs", params=params)).json()
        assert [run["status"] for run in page["runs"]] == ["cancelled", "completed", "failed", "running"]
        params["sort_order"] = "desc"
        turned = (await owner.http.get("/gateway/api/runs", params=params)).json()
        assert [run["id"] for run in turned["runs"]] == [run["id"] for run in page["runs"]][::-1]

    async def test_runs_are_sorted_by_the_last_change(self, owner: Gateway, family: dict[str, str]):
        await owner.http.patch(
            f"/gateway/api/runs/{family['completed']}", json={"metadata": {"seen": str(uuid.uuid4())}}
        )
        params = {"client_id": owner.id, "sort_by": "updated_at", "limit": 1}
        page = (await owner.http.get("/gateway/api/runs", params=params)).json()
        assert page["runs"][0]["id"] == family["completed"]

    @pytest.mark.parametrize("sort_by", ["created_at", "updated_at", "status"])
    @pytest.mark.parametrize("sort_order", ["asc", "desc"])
    async def test_pages_by_offset_and_by_link_are_the_same_list(
        self, owner: Gateway, family: dict[str, str], sort_by: str, sort_order: str
    ):
        params = {"client_id": owner.id, "sort_by": sort_by, "sort_order": sort_order}
        whole = [run["id"] for run in (await owner.http.get("/gateway/api/runs", params=params)).json()["runs"]]
        assert sorted(whole) == sorted(family.values())
        by_offset = [
            run["id"]
            for offset in range(4)
            for run in (
                await owner.http.get("/gateway/api/runs", params={**params, "limit": 1, "offset": offset})
            ).json()["runs"]
        ]
        by_link: list[str] = []
        answer = await owner.http.get("/gateway/api/runs", params={**params, "limit": 3, "api_key": owner.key})
        by_link += [run["id"] for run in answer.json()["runs"]]
        assert owner.key not in answer.headers["link"]
        answer = await owner.http.get(answer.links["next"]["url"])
        by_link += [run["id"] for run in answer.json()["runs"]]
        assert (by_offset, by_link) == (whole, whole)
        assert "next" not in answer.links

    @pytest.mark.usefixtures("app")
    async def test_a_list_with_too_long_prompts_is_refused_and_a_shorter_one_is_not(self, newcomer: Gateway):
        long: dict[str, Any] = {"prompt": "x", "prompt_size": MAX_PROMPTS // 2 + 1, "model": "bash", "options": {}}
        long |= {"client_id": newcomer.id, "status": RunStatus.COMPLETED, "started_at": datetime.now(UTC)}
        made = [await runs.insert(Run(**long)) for _ in range(2)]
        for path in (f"runs?client_id={newcomer.id}&", "dashboard/recent?"):
            refused = await newcomer.http.get(f"/gateway/api/{path}limit=2")
            assert (refused.status_code, list(refused.json())) == (413, ["error"])
            assert "smaller limit" in refused.json()["error"]
            shown = (await newcomer.http.get(f"/gateway/api/{path}limit=1")).json()["runs"]
            assert [run["id"] for run in shown] == [made[1].id]
        for run in made:
            await runs.delete(run.id)

    @pytest.mark.usefixtures("app")
    async def test_the_size_of_a_prompt_is_known_without_the_prompt(self, newcomer: Gateway):
        await newcomer.run("true # " + "ä\n" * 2000)
        (listed,) = (await outlines.page({"client_id": newcomer.id})).items
        assert (listed.prompt, listed.prompt_size) == (None, 7 + 2000 * 4 + 2)


class TestUpdateRun:
    async def test_a_running_run_can_get_a_partial_result(self, gateway: Gateway, sleeper: str):
        await gateway.reach(sleeper, "running")
        answer = await gateway.http.patch(f"/gateway/api/runs/{sleeper}", json={"status": "running", "result": "half"})
        assert answer.status_code == 200
        body = answer.json()
        assert (body.pop("updated_at") > "2024", body) == (True, {"id": sleeper, "status": "running", "result": "half"})

    async def test_the_response_has_error_and_metadata_when_they_were_set(self, gateway: Gateway, sleeper: str):
        body = {"error": "odd", "metadata": {"a": [1, {"b": None}]}}
        answer = (await gateway.http.patch(f"/gateway/api/runs/{sleeper}", json=body)).json()
        assert {name: answer[name] for name in body} == body
        assert set(answer) == {"id", "status", "result", "updated_at", "error", "metadata"}
        assert (await gateway.get(sleeper))["metadata"] == body["metadata"]

    async def test_secrets_are_masked(self, gateway: Gateway, sleeper: str):
        body = {"result": f"the key is {SECRET}", "error": f"token={SECRET}", "metadata": {"note": [SECRET]}}
        answer = await gateway.http.patch(f"/gateway/api/runs/{sleeper}", json=body)
        assert SECRET not in answer.text
        assert answer.json()["result"] == "the key is [REDACTED]"
        assert SECRET not in (await gateway.http.get(f"/gateway/api/runs/{sleeper}")).text

    async def test_the_status_cancelled_stops_the_container_as_delete_does(self, gateway: Gateway, sleeper: str):
        await gateway.reach(sleeper, "running")
        answer = await gateway.http.patch(f"/gateway/api/runs/{sleeper}", json={"status": "cancelled"})
        assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
        await container_ended(gateway, sleeper)

    async def test_the_status_completed_set_by_a_client_is_final(self, gateway: Gateway, sleeper: str):
        answer = await gateway.http.patch(f"/gateway/api/runs/{sleeper}", json={"status": "completed", "result": "ok"})
        assert answer.status_code == 200
        await container_ended(gateway, sleeper)
        run = await gateway.get(sleeper)
        assert (run["status"], run["result"]) == ("completed", "ok")

    async def test_the_status_failed_set_by_a_client_raises_one_alert(self, gateway: Gateway, sleeper: str):
        body = {"status": "failed", "error": f"because of {SECRET}"}
        assert (await gateway.http.patch(f"/gateway/api/runs/{sleeper}", json=body)).status_code == 200
        await container_ended(gateway, sleeper)
        alerts = (await gateway.http.get("/gateway/api/alerts", params={"run_id": sleeper})).json()["alerts"]
        assert [alert["message"] for alert in alerts] == ["Run failed: because of [REDACTED]"]

    async def test_the_result_of_a_finished_run_may_still_be_set(self, owner: Gateway, family: dict[str, str]):
        answer = await owner.http.patch(f"/gateway/api/runs/{family['failed']}", json={"result": "after all"})
        assert (answer.status_code, answer.json()["result"]) == (200, "after all")
        assert (await owner.get(family["failed"]))["status"] == "failed"

    @pytest.mark.parametrize(
        ("final", "status"),
        [("completed", "pending"), ("completed", "running"), ("completed", "completed"), ("completed", "failed"),
         ("completed", "cancelled"), ("failed", "running"), ("cancelled", "completed")],
    )  # fmt: skip
    async def test_the_status_of_a_finished_run_cannot_be_changed(
        self, owner: Gateway, family: dict[str, str], final: str, status: str
    ):
        answer = await owner.http.patch(f"/gateway/api/runs/{family[final]}", json={"status": status})
        assert (answer.status_code, answer.json()) == (400, {"error": f"Cannot change status of {final} run"})

    async def test_a_running_run_cannot_become_pending(self, owner: Gateway, family: dict[str, str]):
        answer = await owner.http.patch(f"/gateway/api/runs/{family['running']}", json={"status": "pending"})
        assert answer.status_code == 400

    @pytest.mark.parametrize(
        "body",
        [{}, {"colour": "blue"}, {"status": "done"}, {"status": None}, {"result": 5}, {"metadata": []}, [], None],
    )
    async def test_a_body_without_a_valid_change_is_refused(self, owner: Gateway, family: dict[str, str], body: object):
        answer = await owner.http.patch(f"/gateway/api/runs/{family['running']}", json=body)
        assert (answer.status_code, list(answer.json())) == (400, ["error"])

    async def test_an_unknown_run_is_404(self, gateway: Gateway):
        answer = await gateway.http.patch(f"/gateway/api/runs/{UNKNOWN}", json={"result": "x"})
        assert (answer.status_code, answer.json()) == (404, {"error": "Run not found"})

    async def test_a_change_to_an_older_version_is_refused(self, owner: Gateway, family: dict[str, str]):
        url = f"/gateway/api/runs/{family['cancelled']}"
        headers = {"If-Match": (await owner.http.get(url)).headers["etag"]}
        first = await owner.http.patch(url, json={"result": str(uuid.uuid4())}, headers=headers)
        second = await owner.http.patch(url, json={"result": "late"}, headers=headers)
        assert (first.status_code, second.status_code, list(second.json())) == (200, 412, ["error"])
        assert (await owner.get(family["cancelled"]))["result"] == first.json()["result"]

    @pytest.mark.parametrize("tag", ['"x"', "x", '"a", "b"'])
    async def test_a_change_to_an_unknown_version_is_refused(self, owner: Gateway, family: dict[str, str], tag: str):
        url = f"/gateway/api/runs/{family['cancelled']}"
        assert (await owner.http.patch(url, json={"result": "x"}, headers={"If-Match": tag})).status_code == 412


async def container_ended(gateway: Gateway, run_id: str) -> None:
    """Wait until the container of a run has ended, so that its job takes no more output."""

    async def ended() -> bool:
        log = (await gateway.http.get(f"/gateway/api/runs/{run_id}/log")).text
        artifacts = await gateway.artifacts(run_id)
        return not log or "claude.log" in artifacts

    await eventually(ended, seconds=60)


class TestRetryRun:
    @pytest.mark.parametrize("status", ["failed", "cancelled"])
    async def test_a_retry_has_the_same_prompt_model_and_options(
        self, gateway: Gateway, owner: Gateway, family: dict[str, str], status: str
    ):
        original = await owner.get(family[status])
        answer = await gateway.http.post(f"/gateway/api/runs/{family[status]}/retry")
        assert answer.status_code == 201
        body = answer.json()
        assert set(body) == {"id", "status", "prompt", "model", "retry_of", "started_at"}
        assert (body["status"], body["retry_of"]) == ("pending", family[status])
        run = await gateway.get(body["id"])
        assert [run[name] for name in ("prompt", "model", "options")] == [
            original[name] for name in ("prompt", "model", "options")
        ]
        assert run["client_id"] == gateway.id
        assert (await owner.get(family[status]))["status"] == status
        await gateway.http.delete(f"/gateway/api/runs/{body['id']}")

    @pytest.mark.parametrize("status", ["completed", "running"])
    async def test_only_failed_and_cancelled_runs_can_be_retried(
        self, owner: Gateway, family: dict[str, str], status: str
    ):
        answer = await owner.http.post(f"/gateway/api/runs/{family[status]}/retry")
        assert (answer.status_code, answer.json()) == (400, {"error": f"Cannot retry {status} run"})

    async def test_an_unknown_run_is_404(self, gateway: Gateway):
        assert (await gateway.http.post(f"/gateway/api/runs/{UNKNOWN}/retry")).status_code == 404


class TestLog:
    async def test_the_log_can_be_read_from_an_offset(self, owner: Gateway, family: dict[str, str]):
        url = f"/gateway/api/runs/{family['running']}/log"
        await eventually(lambda: text_of(owner.http, url), until=lambda text: text == "on\n")
        assert (await owner.http.get(url, params={"offset": 1})).text == "n\n"
        assert (await owner.http.get(url, params={"offset": 3})).text == ""
        assert (await owner.http.get(url, params={"offset": 1000})).text == ""

    @pytest.mark.parametrize("offset", ["-1", "+1", " 1", "1_0", "\u0663", "1.0", ""])
    async def test_an_offset_that_is_not_in_digits_is_refused(
        self, owner: Gateway, family: dict[str, str], offset: str
    ):
        answer = await owner.http.get(f"/gateway/api/runs/{family['running']}/log", params={"offset": offset})
        assert answer.status_code == 400
        assert answer.json()["error"].startswith("offset: ")

    async def test_the_log_of_a_run_without_output_is_empty(self, owner: Gateway, family: dict[str, str]):
        assert (await owner.http.get(f"/gateway/api/runs/{family['completed']}/log")).text == ""

    async def test_an_unknown_run_is_404(self, gateway: Gateway):
        assert (await gateway.http.get(f"/gateway/api/runs/{UNKNOWN}/log")).status_code == 404


async def text_of(http: httpx.AsyncClient, url: str) -> str:
    return (await http.get(url)).text


class TestOutput:
    async def test_the_log_holds_five_megabytes_and_the_result_their_end(self, gateway: Gateway):
        program = "for i in range(50_000): print(f'{i:099d}')"
        run = await gateway.reach((await gateway.run(program, "python", timeout=120))["id"], seconds=120)
        assert run["status"] == "completed"
        first, _, rest = run["result"].partition("\n")
        assert first == f"[the first {5_000_000 - 256 * 1024} bytes are in claude.log only]"
        assert len(rest) == 256 * 1024
        assert rest.endswith(f"{49_999:099d}\n")
        log = (await gateway.artifacts(run["id"]))["claude.log"]
        assert log["size"] == 5_000_000
        assert await gateway.download(log["id"]) == b"".join(b"%099d\n" % i for i in range(50_000))

    async def test_a_secret_is_masked_in_result_and_log(self, gateway: Gateway):
        run = await gateway.reach((await gateway.run(f"echo key {SECRET}"))["id"])
        log = (await gateway.artifacts(run["id"]))["claude.log"]
        assert SECRET not in run["result"]
        assert SECRET.encode() not in await gateway.download(log["id"])
        assert "[REDACTED]" in run["result"]


class TestIdempotency:
    async def test_repeating_a_request_under_one_key_creates_one_run(self, gateway: Gateway):
        headers = {"Idempotency-Key": str(uuid.uuid4())}
        body = {"prompt": "true", "model": "bash"}
        first = await gateway.http.post("/gateway/api/runs", json=body, headers=headers)
        second = await gateway.http.post("/gateway/api/runs", json=body, headers=headers)
        assert (first.status_code, second.status_code) == (201, 201)
        assert first.json() == second.json()
        assert "idempotency-replayed" not in first.headers
        assert second.headers["idempotency-replayed"] == "true"

    async def test_another_body_under_the_same_key_is_refused(self, gateway: Gateway):
        headers = {"Idempotency-Key": str(uuid.uuid4())}
        await gateway.http.post("/gateway/api/runs", json={"prompt": "true", "model": "bash"}, headers=headers)
        answer = await gateway.http.post(
            "/gateway/api/runs", json={"prompt": "false", "model": "bash"}, headers=headers
        )
        assert (answer.status_code, answer.json()) == (409, {"error": "Idempotency-Key was used with another body"})

    async def test_concurrent_requests_under_one_key_create_one_run(self, owner: Gateway, gateway: Gateway):
        headers = {"Idempotency-Key": str(uuid.uuid4())}
        body = {"prompt": f"true {uuid.uuid4()}", "model": "bash"}
        answers = await asyncio.gather(
            *(gateway.http.post("/gateway/api/runs", json=body, headers=headers) for _ in range(8))
        )
        assert {answer.status_code for answer in answers} <= {201, 409}
        assert len({answer.json()["id"] for answer in answers if answer.status_code == 201}) == 1

    async def test_a_refused_request_may_be_corrected_under_its_key(self, gateway: Gateway):
        headers = {"Idempotency-Key": str(uuid.uuid4())}
        bad = await gateway.http.post("/gateway/api/runs", json={"prompt": ""}, headers=headers)
        good = await gateway.http.post("/gateway/api/runs", json={"prompt": "true", "model": "bash"}, headers=headers)
        assert (bad.status_code, good.status_code) == (400, 201)

    async def test_each_client_has_its_own_keys(self, gateway: Gateway, owner: Gateway):
        headers = {"Idempotency-Key": str(uuid.uuid4())}
        body = {"prompt": "true", "model": "bash"}
        answers = [await g.http.post("/gateway/api/runs", json=body, headers=headers) for g in (gateway, owner)]
        assert answers[0].json()["id"] != answers[1].json()["id"]

    async def test_repeating_a_retry_under_one_key_creates_one_run(self, owner: Gateway, family: dict[str, str]):
        headers = {"Idempotency-Key": str(uuid.uuid4())}
        url = f"/gateway/api/runs/{family['failed']}/retry"
        answers = [await owner.http.post(url, headers=headers) for _ in range(2)]
        assert answers[0].json() == answers[1].json()

    async def test_repeating_an_upload_under_one_key_stores_one_artifact(self, owner: Gateway, family: dict[str, str]):
        url = f"/gateway/api/runs/{family['cancelled']}/artifacts"
        multipart = {"Content-Type": "multipart/form-data; boundary=x", "Idempotency-Key": str(uuid.uuid4())}
        data = (
            b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + b"y" * 500_000 + b"\r\n--x--"
        )
        reframed = data.replace(b"--x", b"--y"), {**multipart, "Content-Type": "multipart/form-data; boundary=y"}
        answers = [
            await owner.http.post(url, content=content, headers=headers)
            for content, headers in ((data, multipart), reframed)
        ]
        assert [answer.status_code for answer in answers] == [201, 201]
        assert answers[0].json() == answers[1].json()
        other = await owner.http.post(url, content=data.replace(b"yyy", b"zzz"), headers=multipart)
        assert other.status_code == 409

    @pytest.mark.parametrize("key", ["", "x" * 256])
    async def test_an_invalid_key_is_refused(self, gateway: Gateway, key: str):
        answer = await gateway.http.post(
            "/gateway/api/runs", json={"prompt": "true", "model": "bash"}, headers={"Idempotency-Key": key}
        )
        assert answer.status_code == 400
