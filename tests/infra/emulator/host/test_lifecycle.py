"""Start, admin API, stop and kill of a host."""

import asyncio
import json
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from infra.emulator.processes import Child, NotReady, python
from tests.infra.emulator.host.harness import Serve, ServedApp, eventually, serving, shared

APP = """
@app.route(route="things/{id:int}", methods=["GET", "DELETE"])
async def things(req: Request) -> dict:
    return {"id": req.path_params["id"]}

@app.route(route="any")
async def anything(req: Request) -> dict:
    return {name: os.environ.get(name) for name in req.query_params}

@app.route(route="slow", methods=["GET"])
async def slow(req: Request) -> Response:
    logging.info("working")
    await asyncio.sleep(float(req.query_params["seconds"]))
    return Response("done")

@app.route(route="streams", methods=["GET"])
async def streams(req: Request) -> StreamingResponse:
    async def lines():
        while True:
            yield "line\\n"
            await asyncio.sleep(0.05)
    return StreamingResponse(lines())

@app.route(route="hangs", methods=["GET"])
def hangs(req: Request) -> Response:
    logging.info("hanging")
    time.sleep(60)

@app.timer_trigger(arg_name="timer", schedule="0 0 * * * *")
def hourly(timer: func.TimerRequest): ...
"""


async def stopped(served: ServedApp, number: int = signal.SIGTERM) -> int:
    """The exit code after a signal."""
    assert served.child and served.child.process
    served.child.process.send_signal(number)
    return await asyncio.wait_for(served.child.process.wait(), 60)


@pytest.fixture(scope="module")
async def described(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServedApp]:
    """One host for all tests that only query it."""
    async with shared(tmp_path_factory.mktemp("described"), APP) as served:
        yield served


class TestDescription:
    async def test_the_start_prints_every_function_and_its_address(self, described: ServedApp):
        assert f"    things: [DELETE,GET] {described.url}/api/things/{{id:int}}\n" in described.log
        assert f"    anything: [*] {described.url}/api/any\n" in described.log
        assert "    hourly: timerTrigger\n" in described.log
        assert f"Serving {described.url}\n" in described.log

    async def test_admin_lists_the_functions_with_their_routes(self, described: ServedApp):
        functions = {item["name"]: item for item in (await described.http.get("/admin/functions")).json()}
        assert list(functions) == ["anything", "hangs", "hourly", "slow", "streams", "things"]
        assert functions["things"] == {
            "name": "things",
            "trigger": "httpTrigger",
            "route": "api/things/{id:int}",
            "methods": ["DELETE", "GET"],
            "invoke_url_template": f"{described.url}/api/things/{{id:int}}",
        }
        assert (await described.http.get("/admin/functions/Things")).json() == functions["things"]

    async def test_admin_reports_the_state_of_the_host(self, described: ServedApp):
        assert (await described.http.get("/admin/host/ping")).status_code == 200
        status = (await described.http.get("/admin/host/status")).json()
        assert status["state"] == "Running"
        assert 0 <= status["processUptime"] < 60_000

    async def test_an_unsupported_admin_operation_is_a_501(self, described: ServedApp):
        answers = {
            path: (await described.http.post(path, json={})).status_code
            for path in (
                "/admin/functions/nobody",
                "/admin/functions/things",
                "/admin/vfs/x",
                "/runtime/webhooks/other",
            )
        }
        assert list(answers.values()) == [404, 501, 501, 501]
        assert (await described.http.post("/admin/functions/hourly", content="not json")).status_code == 400

    async def test_the_home_page_answers_at_the_root(self, described: ServedApp):
        assert (await described.http.get("/")).status_code == 200
        assert (await described.http.get("/else")).status_code == 404

    async def test_the_home_page_can_be_turned_off(self, serve: Serve):
        served = await serve(APP, env={"AzureWebJobsDisableHomepage": "true"})
        answer = await served.http.get("/")
        assert (answer.status_code, answer.content) == (204, b"")

    async def test_a_function_can_serve_the_root(self, serve: Serve):
        served = await serve(
            """
            @app.route(route="{ignored:maxlength(0)?}", methods=["GET"])
            async def root(req: Request) -> dict:
                return req.path_params
            """,
            host_json={"extensions": {"http": {"routePrefix": ""}}},
        )
        assert (await served.http.get("/")).json() == {}


class TestSettings:
    async def test_functions_see_the_settings_and_where_they_are_served(self, serve: Serve):
        values = {"FROM_FILE": "file", "FROM_OUTSIDE": "file"}
        files = {"local.settings.sample.json": json.dumps({"Values": values})}
        served = await serve(APP, env={"FROM_OUTSIDE": "real"}, files=files)
        seen = (await served.http.get("/api/any?FROM_FILE&FROM_OUTSIDE&WEBSITE_HOSTNAME")).json()
        assert seen == {"FROM_FILE": "file", "FROM_OUTSIDE": "real", "WEBSITE_HOSTNAME": f"127.0.0.1:{served.port}"}

    async def test_the_function_timeout_of_host_json_ends_a_function(self, serve: Serve):
        served = await serve(APP, host_json={"functionTimeout": "00:00:01"})
        assert (await served.http.get("/api/slow?seconds=30")).status_code == 500
        assert "TimeoutError" in served.log


class TestStart:
    @pytest.mark.skipif(not Path("/proc").exists(), reason="needs /proc")
    async def test_the_first_answer_takes_little_processor_time(self, serve: Serve):
        served = await serve(APP)
        assert (await served.http.get("/api/things/1")).status_code == 200
        # 0.9 s on an idle machine; on a busy one, whose processors share caches and units, the same work takes longer.
        assert served.processor_seconds() < 4

    async def test_a_port_in_use_ends_it_with_the_reason(self, described: ServedApp):
        state = described.state
        arguments = ["--app", str(described.app), "--port", str(described.port), "--state", str(state / "second")]
        second = Child("second", python("infra.emulator.host", *arguments), log=state / "second.log")

        async def never() -> bool:
            return False

        with pytest.raises(NotReady, match=r"did not start: port \d+ is taken"):
            await second.start(never)

    async def test_it_serves_an_open_socket(self, described: ServedApp):
        app, state = described.app, described.state / "given"
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            where = ["--app", str(app), "--state", str(state), "--fd", str(listener.fileno())]
            process = await asyncio.create_subprocess_exec(
                *python("infra.emulator.host", *where), pass_fds=[listener.fileno()], stdout=asyncio.subprocess.DEVNULL
            )
            try:
                await eventually(lambda: serving(port))
            finally:
                process.terminate()
                assert await process.wait() == 0


class TestStop:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    async def test_requests_in_flight_are_finished(self, serve: Serve, number: int):
        served = await serve(APP)
        request = asyncio.create_task(served.http.get("/api/slow?seconds=1"))
        await eventually(lambda: "working" in served.log)
        assert await stopped(served, number) == 0
        assert (await request).text == "done"
        with pytest.raises(httpx.ConnectError):
            await served.http.get("/api/things/1")

    async def test_neither_a_stream_without_end_nor_a_hanging_thread_keeps_the_process_from_ending(self, serve: Serve):
        served = await serve(APP, "--drain-seconds", "1")
        request = asyncio.create_task(served.http.get("/api/hangs"))
        await eventually(lambda: "hanging" in served.log)
        async with served.http.stream("GET", "/api/streams") as answer:
            await anext(answer.aiter_raw())
            assert await stopped(served) == 0
        with pytest.raises(httpx.HTTPError):
            (await request).raise_for_status()

    async def test_a_second_signal_ends_it_immediately(self, serve: Serve):
        served = await serve(APP, "--drain-seconds", "60")
        request = asyncio.create_task(served.http.get("/api/slow?seconds=50"))
        await eventually(lambda: "working" in served.log)
        assert served.child and served.child.process
        served.child.process.send_signal(signal.SIGTERM)

        async def refused() -> bool:
            try:
                return not await serving(served.port)
            except ConnectionError:
                return True

        await eventually(refused)
        assert await stopped(served) == 1
        with pytest.raises(httpx.TransportError):
            await request


async def test_it_starts_again_on_the_same_port_after_kill_9(serve: Serve):
    served = await serve(APP)
    request = asyncio.create_task(served.http.get("/api/slow?seconds=30"))
    await eventually(lambda: "working" in served.log)
    await served.restart()
    with pytest.raises(httpx.TransportError):
        await request
    assert (await served.http.get("/api/things/1")).json() == {"id": "1"}
