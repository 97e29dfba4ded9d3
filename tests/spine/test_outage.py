"""The storage service stops and starts again: every response says so, and nothing is lost."""

from dataclasses import replace
from pathlib import Path

from infra.local.environment import Environment
from tests.support.gateway import register
from tests.support.values import UNLIMITED


async def test_responses_are_503_without_storage_and_normal_when_it_is_back(tmp_path: Path):
    environment = replace(Environment.temporary(tmp_path, **UNLIMITED), keep=True)
    await environment.start()
    try:
        gateway = await register(environment)
        done = await gateway.reach((await gateway.run("echo before"))["id"])
        assert environment.storage
        await environment.storage.stop()
        for method, path, body in (
            ("GET", f"/gateway/api/runs/{done['id']}", None),
            ("POST", "/gateway/api/runs", {"prompt": "true", "model": "bash"}),
            ("GET", "/gateway/api/dashboard/stats", None),
        ):
            answer = await gateway.http.request(method, path, json=body)
            assert answer.status_code == 503, (method, path, answer.text)
            assert answer.json() == {"error": "The storage service does not answer"}
        health = await gateway.http.get("/gateway/health")
        assert (health.status_code, health.json()["database"]) == (503, "disconnected")
        assert (await gateway.http.get("/gateway/health/live")).status_code == 200
        await environment.start_storage()
        assert (await gateway.get(done["id"]))["result"] == "before\n"
        again = await gateway.reach((await gateway.run("echo after"))["id"])
        assert (again["status"], again["result"]) == ("completed", "after\n")
        await gateway.http.aclose()
    finally:
        await environment.stop()


async def test_a_run_that_prints_while_storage_is_down_keeps_every_line(tmp_path: Path):
    environment = replace(Environment.temporary(tmp_path, **UNLIMITED), keep=True)
    await environment.start()
    try:
        gateway = await register(environment)
        run = await gateway.run("import time\nfor i in range(30):\n    print(i)\n    time.sleep(0.1)\n", "python")
        await gateway.reach(run["id"], "running")
        assert environment.storage
        await environment.storage.stop()
        await environment.start_storage()
        done = await gateway.reach(run["id"], seconds=60)
        assert (done["status"], done["result"]) == ("completed", "".join(f"{i}\n" for i in range(30)))
        await gateway.http.aclose()
    finally:
        await environment.stop()
