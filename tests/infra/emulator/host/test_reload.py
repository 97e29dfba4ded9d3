"""Serving an app while its code changes."""

import asyncio
import os
import signal
import subprocess
from pathlib import Path

import httpx
import pytest

from infra.emulator.host.reload import watched_files
from tests.infra.emulator.host.harness import Serve, ServedApp, eventually, write_app

VERSION = """
@app.route(route="version", methods=["GET"])
async def version(req: Request) -> dict:
    return {{"version": {version}, "process": os.getpid(), "setting": os.environ.get("SETTING")}}

@app.route(route="start", methods=["POST"])
@app.durable_client_input(client_name="client")
async def start(req: Request, client: df.DurableOrchestrationClient) -> Response:
    return Response(await client.start_new("steps", "one", None))

@app.orchestration_trigger(context_name="context")
def steps(ctx: df.DurableOrchestrationContext):
    for number in range(10):
        yield ctx.call_activity("step", number)

@app.activity_trigger(input_name="number")
async def step(number: int) -> None:
    await asyncio.sleep(0.2)
    logging.info("STEP %d by version {version}", number)
"""


async def version(served: ServedApp) -> int:
    # A new connection, because an idle one may be closed at the moment of a request.
    return (await served.http.get("/api/version", headers={"connection": "close"})).json()["version"]


async def becomes(served: ServedApp, number: int) -> None:
    async def is_it() -> bool:
        return await version(served) == number

    await eventually(is_it)


async def test_a_saved_change_is_served_and_no_request_fails_meanwhile(serve: Serve):
    served = await serve(VERSION.format(version=1), "--reload")
    assert await version(served) == 1
    seen = [1]

    async def ask() -> None:
        while seen[-1] < 3:
            seen.append(await version(served))
            await asyncio.sleep(0.005)  # leaves time to load the new version

    asking = [asyncio.create_task(ask()) for _ in range(3)]
    for number in (2, 3):
        write_app(served.app, VERSION.format(version=number))
        await eventually(lambda number=number: number in seen or any(task.done() for task in asking))
    await asyncio.gather(*asking)
    assert seen == sorted(seen)


async def test_a_change_of_the_same_size_within_the_same_second_is_served(serve: Serve):
    """Python takes the compiled module of the version before for that of this one."""
    served = await serve(VERSION.format(version=1), "--reload", env={"PYTHONDONTWRITEBYTECODE": ""})
    assert await version(served) == 1
    source, changed = served.app / "function_app.py", served.app / "changed"
    before = source.stat().st_mtime_ns
    changed.write_text(source.read_text().replace('"version": 1', '"version": 2').replace("version 1", "version 2"))
    assert changed.stat().st_size == source.stat().st_size
    same_second = before // 10**9 * 10**9
    os.utime(changed, ns=(before, same_second + (1 if before != same_second + 1 else 2)))
    changed.replace(source)
    await becomes(served, 2)


async def test_an_app_that_does_not_load_is_reported_and_the_old_code_still_serves(serve: Serve):
    served = await serve(VERSION.format(version=1), "--reload")
    write_app(served.app, "def broken(")
    await eventually(lambda: "This version does not load; the previous one still serves." in served.log)
    assert "SyntaxError" in served.log
    assert await version(served) == 1
    write_app(served.app, VERSION.format(version=2))
    await becomes(served, 2)


async def test_host_json_settings_and_new_files_count_as_changes(serve: Serve):
    served = await serve(VERSION.format(version=1), "--reload")
    (served.app / "local.settings.json").write_text('{"Values": {"SETTING": "new"}}')

    async def is_set() -> bool:
        answer = await served.http.get("/api/version", headers={"connection": "close"})
        return answer.json()["setting"] == "new"

    await eventually(is_set)
    write_app(served.app, VERSION.format(version=1), host_json={"extensions": {"http": {"routePrefix": "other"}}})

    async def has_moved() -> bool:
        answer = await served.http.get("/other/version", headers={"connection": "close"})
        return answer.status_code == 200

    await eventually(has_moved)


async def test_running_orchestrations_continue(serve: Serve):
    served = await serve(VERSION.format(version=1), "--reload")
    await served.http.post("/api/start")
    for number in (2, 3):
        steps = served.log.count("STEP")
        await eventually(lambda steps=steps: served.log.count("STEP") >= steps + 2)
        write_app(served.app, VERSION.format(version=number))
        await becomes(served, number)
    await eventually(lambda: "STEP 9 by version 3" in served.log)
    assert "failed" not in served.log


async def test_a_process_that_dies_is_started_again_and_none_outlives_the_supervisor(serve: Serve):
    served = await serve(VERSION.format(version=1), "--reload")
    first = (await served.http.get("/api/version")).json()["process"]
    os.kill(first, signal.SIGKILL)

    async def another() -> bool:
        try:
            return (await served.http.get("/api/version")).json()["process"] != first
        except httpx.TransportError:  # the connection ended with the process
            return False

    await eventually(another)
    child = (await served.http.get("/api/version")).json()["process"]
    os.kill(served.pid, signal.SIGKILL)
    await eventually(lambda: not is_running(child))


async def test_it_stops_in_order(serve: Serve):
    served = await serve(VERSION.format(version=1), "--reload")
    child = (await served.http.get("/api/version")).json()["process"]
    assert served.child and served.child.process
    served.child.process.terminate()
    assert await asyncio.wait_for(served.child.process.wait(), 60) == 0
    assert not is_running(child)


def is_running(pid: int) -> bool:
    """Whether the process exists and is not a zombie."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(state.strip()) and not state.startswith("Z")


@pytest.mark.parametrize(
    ("path", "counts"),
    [
        ("function_app.py", True),
        ("functions/gateway/runs.py", True),
        ("host.json", True),
        ("local.settings.json", True),
        ("README.md", False),
        ("tests/test_x.py", False),
        (".venv/lib/x.py", False),
        (".local/x.py", False),
        ("infra/local/node_modules/x/y.py", False),
        ("functions/__pycache__/x.py", False),
    ],
)
def test_which_files_count(tmp_path: Path, path: str, counts: bool):
    file = tmp_path / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("")
    assert (str(file) in watched_files(tmp_path)) is counts
