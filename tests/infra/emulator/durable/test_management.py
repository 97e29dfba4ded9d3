"""The management API, called through the SDK's client where it supports the operation."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Generator
from datetime import UTC, datetime, timedelta
from typing import Any

import azure.durable_functions as df
import httpx
import pytest
from azure.durable_functions.models.OrchestrationRuntimeStatus import OrchestrationRuntimeStatus as RuntimeStatus
from starlette.requests import Request
from starlette.responses import JSONResponse

from tests.infra.emulator.durable.harness import EngineServer, Functions, TaskHub, eventually

Steps = Generator[Any, Any, Any]
app = df.DFApp()
calls: list[str] = []
healthy: set[str] = set()
gate = asyncio.Event()


@app.activity_trigger(input_name="value")
def echo(value: Any) -> Any:
    calls.append(json.dumps(value)[:80])
    return value


def fragile_function(name: str) -> str:
    calls.append(name)
    if name not in healthy:
        raise ValueError(f"{name} is ill")
    return f"{name} is well"


@app.activity_trigger(input_name="name")
def fragile(name: str) -> str:
    """Fails until this name is added to the healthy ones."""
    return fragile_function(name)


@app.activity_trigger(input_name="value")
async def held(value: str) -> str:
    """Ends when the gate is opened."""
    calls.append(value)
    await gate.wait()
    return value


@app.orchestration_trigger(context_name="ctx")
def echoes(ctx: Any) -> Steps:
    return (yield ctx.call_activity("echo", ctx.get_input()))


@app.orchestration_trigger(context_name="ctx")
def waits(ctx: Any) -> Steps:
    ctx.set_custom_status("waiting")
    first = yield ctx.wait_for_external_event("first")
    ctx.set_custom_status("half way")
    second = yield ctx.wait_for_external_event("second")
    return [first, second]


@app.orchestration_trigger(context_name="ctx")
def raises(ctx: Any) -> Steps:
    yield ctx.call_activity("echo", 1)
    raise RuntimeError("as always")


@app.orchestration_trigger(context_name="ctx")
def ward(ctx: Any) -> Steps:
    """Work before, beside and after a failure; a rewind must keep the first two and repeat the last."""
    key = ctx.get_input()
    before = yield ctx.call_activity("echo", f"{key} before")
    event = ctx.wait_for_external_event("visit")
    timer = ctx.create_timer(ctx.current_utc_datetime + timedelta(milliseconds=200))
    tasks = [ctx.call_activity("fragile", f"{key} one"), ctx.call_activity("echo", f"{key} beside")]
    try:
        both = yield ctx.task_all([*tasks, event, timer])
    except Exception:
        yield ctx.call_activity("echo", f"{key} compensated")
        raise
    after = yield ctx.call_activity("echo", f"{key} after")
    return [before, both[:3], after]


@app.orchestration_trigger(context_name="ctx")
def hurried(ctx: Any) -> Steps:
    """Cancels a timer before it fails, and runs longer after a rewind than that timer would have."""
    due = ctx.current_utc_datetime + timedelta(milliseconds=300)
    timer = ctx.create_timer(due)
    yield ctx.task_any([ctx.call_activity("echo", 1), timer])
    timer.cancel()
    yield ctx.call_activity("fragile", ctx.get_input())
    yield ctx.create_timer(due + timedelta(milliseconds=50))


@app.orchestration_trigger(context_name="ctx")
def banker(ctx: Any) -> Steps:
    """Calls an entity before and after an activity that may fail; on failure, leaves a sub-orchestration running."""
    id = df.EntityId("money", ctx.instance_id)
    yield ctx.call_entity(id, "add", 1)
    try:
        yield ctx.call_activity("fragile", ctx.get_input())
    except Exception:
        tidying = ctx.call_sub_orchestrator("waits", None, f"{ctx.instance_id}-tidying")
        yield ctx.task_any([tidying, ctx.create_timer(ctx.current_utc_datetime)])
        raise
    return (yield ctx.call_entity(id, "add", 1))


@app.orchestration_trigger(context_name="ctx")
def untidy(ctx: Any) -> Steps:
    """Leaves an activity running when it fails, and starts one with the same id when it does not."""
    try:
        yield ctx.call_activity("fragile", ctx.get_input())
    except Exception:
        yield ctx.task_any([ctx.call_activity("held", "in vain"), ctx.create_timer(ctx.current_utc_datetime)])
        raise
    return (yield ctx.call_activity("held", "wanted"))


@app.activity_trigger(input_name="name")
async def fragile_and_slow(name: str) -> str:
    """Like `fragile`, but waits until the gate is opened."""
    await gate.wait()
    return fragile_function(name)


@app.orchestration_trigger(context_name="ctx")
def two_patients(ctx: Any) -> Steps:
    soon = ctx.create_timer(ctx.current_utc_datetime)
    one = ctx.call_activity("fragile", f"{ctx.get_input()} one")
    two = ctx.call_activity("fragile_and_slow", f"{ctx.get_input()} two")
    return (yield ctx.task_all([one, two, soon]))[:2]


@app.orchestration_trigger(context_name="ctx")
def guardian(ctx: Any) -> Steps:
    return (yield ctx.call_sub_orchestrator("waits", None, "ward-of-it"))


@app.entity_trigger(context_name="ctx")
def money(ctx: Any) -> None:
    ctx.set_state(ctx.get_state(lambda: 0) + ctx.get_input())
    ctx.set_result(ctx.get_state())


@app.orchestration_trigger(context_name="ctx")
def stubborn(ctx: Any) -> Steps:
    return (yield ctx.call_activity_with_retry("fragile", df.RetryOptions(5, 2), ctx.get_input()))


@app.orchestration_trigger(context_name="ctx")
def head_ward(ctx: Any) -> Steps:
    return (yield ctx.call_sub_orchestrator("stubborn", ctx.get_input()))


@app.orchestration_trigger(context_name="ctx")
def caller(ctx: Any) -> Steps:
    """Makes the given HTTP request; returns the error when there is no answer."""
    request = ctx.get_input()
    try:
        return (yield ctx.call_http(**request))
    except Exception as error:
        return str(error)


functions = Functions(app)


class Kitchen(EngineServer):
    """A service that answers an order with 202 and a poll address."""

    def __init__(self) -> None:
        super().__init__()
        self.request = {"method": "POST", "uri": f"{self.base_url}/orders", "content": {"dish": "soup"}}
        self.ordered: list[str] = []
        self.asked, self.done = 0, False
        self.engine = self._answer

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        request = Request(scope, receive)
        if request.method == "POST":
            self.ordered.append((await request.body()).decode())
        else:
            self.asked += 1
        later = JSONResponse(None, 202, {"Location": "/orders/1", "Retry-After": "0"})
        await (JSONResponse("soup") if self.done else later)(scope, receive, send)


@pytest.fixture
async def hub(new_hub: Callable[..., Awaitable[TaskHub]]) -> TaskHub:
    gate.clear()
    return await new_hub(functions)


class TestStart:
    async def test_with_an_id(self, hub: TaskHub):
        assert await hub.client.start_new("echoes", "mine", 1) == "mine"
        assert (await hub.finished("mine")).output == 1

    async def test_the_status_shows_the_input_as_the_sdk_sent_it(self, hub: TaskHub):
        status = await hub.run("echoes", {"x": 1})
        assert (status.input, status.output) == ('{"x": 1}', {"x": 1})

    async def test_an_unknown_function_is_an_error(self, hub: TaskHub):
        with pytest.raises(Exception, match="'nothing' does not exist"):
            await hub.client.start_new("nothing")
        with pytest.raises(Exception, match="'echo' does not exist"):
            await hub.client.start_new("echo")

    async def test_an_unknown_function_fails_the_instance_when_the_engine_has_no_list(
        self, new_hub: Callable[..., Awaitable[TaskHub]]
    ):
        hub = await new_hub(functions, known=lambda name: True)
        status = await hub.run("nothing")
        assert (status.status, "does not exist" in status.output) == ("Failed", True)

    async def test_an_id_is_refused_until_its_instance_has_ended(self, hub: TaskHub):
        await hub.client.start_new("waits", "mine")
        with pytest.raises(Exception, match="already running"):
            await hub.client.start_new("echoes", "mine")
        await hub.client.terminate("mine", "")
        await hub.client.start_new("echoes", "mine", 2)
        assert (await hub.finished("mine")).output == 2

    @pytest.mark.parametrize("id", ["@x", "a%23b", "a%3Fb", "a%5Cb", "a%0Ab", "x" * 101])
    async def test_an_id_that_azure_refuses_is_refused(self, hub: TaskHub, id: str):
        async with httpx.AsyncClient() as http:
            assert (await http.post(f"{hub.api}/orchestrators/echoes/{id}")).status_code == 400

    async def test_plain_json_over_http(self, hub: TaskHub):
        async with httpx.AsyncClient() as http:
            started = await http.post(f"{hub.api}/orchestrators/echoes", json=[1, "two"])
            assert (started.status_code, started.headers["Retry-After"]) == (202, "10")
            await hub.finished(started.json()["id"])
            status = (await http.get(started.json()["statusQueryGetUri"])).json()
            assert (status["input"], status["output"]) == ([1, "two"], [1, "two"])
            assert (await http.post(f"{hub.api}/orchestrators/echoes", content="{")).status_code == 400

    async def test_an_id_may_be_in_any_language(self, hub: TaskHub):
        await hub.client.start_new("echoes", "größe 42", 1)
        assert (await hub.finished("größe 42")).output == 1
        links = hub.client.create_http_management_payload("mine")
        assert links["statusQueryGetUri"].startswith(f"{hub.api}/instances/mine?")

    async def test_start_and_wait(self, hub: TaskHub):
        async with httpx.AsyncClient() as http:
            answer = await http.post(f"{hub.api}/orchestrators/echoes?timeout=20&pollingInterval=0.01", json="x")
            assert (answer.status_code, answer.json()) == (200, "x")
            answer = await http.post(f"{hub.api}/orchestrators/waits?timeout=0&pollingInterval=0.01")
            assert (answer.status_code, "statusQueryGetUri" in answer.json()) == (202, True)
            answer = await http.post(f"{hub.api}/orchestrators/raises?timeout=20&pollingInterval=0.01")
            assert (answer.status_code, answer.json()["runtimeStatus"]) == (500, "Failed")
            assert (await http.post(f"{hub.api}/orchestrators/echoes?timeout=soon")).status_code == 400


class TestStatus:
    async def test_of_an_unknown_instance(self, hub: TaskHub):
        assert await hub.status("nothing") is None

    async def test_of_each_state_over_http(self, hub: TaskHub):
        async with httpx.AsyncClient() as http:

            async def status(id: str, query: str = "") -> tuple[int, str]:
                answer = await http.get(f"{hub.api}/instances/{id}{query}")
                return answer.status_code, answer.json()["runtimeStatus"]

            await hub.client.start_new("waits", "waiting")
            await hub.reached("waiting", "Running")
            failed = (await hub.run("raises")).id
            assert await status("waiting") == (202, "Running")
            assert await status(failed) == (200, "Failed")
            assert await status(failed, "?returnInternalServerErrorOnFailure=true") == (500, "Failed")

    async def test_the_custom_status_follows_the_orchestrator(self, hub: TaskHub):
        await hub.client.start_new("waits", "mine")
        assert (await hub.reached("mine", "Running")).custom_status == "waiting"
        await hub.client.raise_event("mine", "first")

        async def half_way() -> bool:
            return (await hub.reached("mine", "Running")).custom_status == "half way"

        await eventually(half_way)

    async def test_the_history_on_request(self, hub: TaskHub):
        id = (await hub.run("ward", "history")).id
        status = await hub.status(id, show_history=True, show_history_output=True)
        assert status
        kinds = [entry["EventType"] for entry in status.history]
        assert kinds[0] == "ExecutionStarted"
        assert kinds[-1] == "ExecutionCompleted"
        assert {"FunctionName": "fragile"}.items() <= status.history[kinds.index("TaskFailed")].items()
        done = status.history[kinds.index("TaskCompleted")]
        assert (done["FunctionName"], done["Result"]) == ("echo", "history before")
        without = await hub.status(id, show_history=True)
        assert without
        assert not any("Result" in entry for entry in without.history)


class TestQuery:
    async def test_by_status_prefix_and_time(self, hub: TaskHub):
        for id in ("a-1", "a-2", "b-1"):
            await hub.client.start_new("echoes", id, 1)
            await hub.finished(id)
        middle = datetime.now(UTC)
        await hub.client.start_new("waits", "a-3")

        async def ids(**conditions: Any) -> list[str | None]:
            return [status.instance_id for status in await hub.client.get_status_by(**conditions)]

        assert await ids(instance_id_prefix="a-") == ["a-1", "a-2", "a-3"]
        assert await ids(runtime_status=[RuntimeStatus.Completed]) == ["a-1", "a-2", "b-1"]
        assert await ids(created_time_from=middle) == ["a-3"]
        assert await ids(created_time_to=middle) == ["a-1", "a-2", "b-1"]
        assert len(await hub.client.get_status_all()) == 4

    async def test_page_by_page(self, hub: TaskHub):
        for number in range(5):
            await hub.client.start_new("echoes", f"n-{number}", number)
        found, headers = [], {}
        async with httpx.AsyncClient() as http:
            while True:
                page = await http.get(f"{hub.api}/instances/?top=2", headers=headers)
                assert len(page.json()) <= 2
                found += [status["instanceId"] for status in page.json()]
                if "x-ms-continuation-token" not in page.headers:
                    break
                headers = {"x-ms-continuation-token": page.headers["x-ms-continuation-token"]}
        assert found == [f"n-{number}" for number in range(5)]

    @pytest.mark.parametrize("query", ["top=x", "createdTimeFrom=yesterday"])
    async def test_an_invalid_query_is_an_error(self, hub: TaskHub, query: str):
        async with httpx.AsyncClient() as http:
            assert (await http.get(f"{hub.api}/instances?{query}")).status_code == 400


class TestPurge:
    async def test_by_filter_leaves_running_instances(self, hub: TaskHub):
        await hub.client.start_new("waits", "running")
        for id in ("x", "y"):
            await hub.client.start_new("echoes", id, 1)
            await hub.finished(id)
        long_ago = datetime.now(UTC) - timedelta(days=1)
        purge = hub.client.purge_instance_history_by
        assert (await purge(long_ago, runtime_status=[RuntimeStatus.Failed])).instances_deleted == 0
        assert (await purge(long_ago)).instances_deleted == 2
        assert [status.instance_id for status in await hub.client.get_status_all()] == ["running"]
        assert (await hub.client.purge_instance_history("running")).instances_deleted == 0


class TestEvents:
    async def test_to_unknown_and_to_finished_instances(self, hub: TaskHub):
        with pytest.raises(Exception, match="No instance"):
            await hub.client.raise_event("nobody", "first")
        id = (await hub.run("echoes")).id
        with pytest.raises(Exception, match="gone"):
            await hub.client.raise_event(id, "first")

    async def test_as_plain_json_arrive_as_values(self, hub: TaskHub):
        await hub.client.start_new("waits", "mine")
        async with httpx.AsyncClient() as http:
            for name in ("second", "first"):  # the second event waits until the orchestrator waits for it
                sent = await http.post(f"{hub.api}/instances/mine/raiseEvent/{name}", json={"is": name})
                assert sent.status_code == 202
            assert (await http.post(f"{hub.api}/instances/mine/raiseEvent/x", content="{")).status_code == 400
        assert (await hub.finished("mine")).output == [{"is": "first"}, {"is": "second"}]


class TestSuspend:
    async def test_a_suspended_instance_waits_and_is_resumed(self, hub: TaskHub):
        await hub.client.start_new("waits", "mine")
        await hub.reached("mine", "Running")
        await hub.client.suspend("mine", "a pause")
        await hub.client.raise_event("mine", "first", 1)
        await hub.restart_engine()
        await hub.run("echoes", 1)  # time in which the engine could run it by mistake
        status = await hub.reached("mine", "Suspended")
        assert status.custom_status == "waiting"
        await hub.client.resume("mine", "on")
        await hub.client.raise_event("mine", "second", 2)
        assert (await hub.finished("mine")).output == ["1", "2"]

    @pytest.mark.parametrize("operation", ["suspend", "resume", "terminate"])
    async def test_of_unknown_and_of_finished_instances(self, hub: TaskHub, operation: str):
        with pytest.raises(Exception, match="No instance"):
            await getattr(hub.client, operation)("nobody", "why")
        ended = await hub.run("echoes", 1)
        await getattr(hub.client, operation)(ended.id, "why")
        assert await hub.status(ended.id) == ended


class TestRestart:
    async def test_under_a_new_id_and_under_the_same(self, hub: TaskHub):
        id = (await hub.run("echoes", "again")).id
        links: Any = await hub.client.restart(id)
        assert links["id"] != id
        assert (await hub.finished(links["id"])).output == "again"
        await hub.client.restart(id, restart_with_new_instance_id=False)
        assert (await hub.finished(id)).output == "again"

    async def test_of_a_running_instance_under_the_same_id_is_refused(self, hub: TaskHub):
        await hub.client.start_new("waits", "mine")
        with pytest.raises(Exception, match="409"):
            await hub.client.restart("mine", restart_with_new_instance_id=False)


class TestRewind:
    async def test_runs_only_the_failed_part_again(self, hub: TaskHub):
        calls.clear()
        await hub.client.start_new("ward", "mine", "rewound")
        assert (await hub.finished("mine")).status == "Failed"
        healthy.add("rewound one")
        await hub.client.rewind("mine", "it is well now")
        await hub.client.raise_event("mine", "visit", "hello")
        before, both, after = (await hub.finished("mine")).output
        assert (before, after) == ("rewound before", "rewound after")
        assert both == ["rewound one is well", "rewound beside", '"hello"']
        counts = {name: calls.count(name) for name in calls}
        assert counts["rewound one"] == 2
        assert counts['"rewound before"'] == counts['"rewound beside"'] == counts['"rewound after"'] == 1

    async def test_gives_a_retried_activity_one_more_chance_in_a_sub_orchestration(self, hub: TaskHub):
        calls.clear()
        id = await hub.client.start_new("head_ward", client_input="retried")
        assert (await hub.finished(id)).status == "Failed"
        assert calls == ["retried", "retried"]
        await hub.client.rewind(id, "still ill")
        assert (await hub.finished(id)).status == "Failed"
        healthy.add("retried")
        await hub.client.rewind(id, "well")
        assert (await hub.finished(id)).output == "retried is well"
        assert len(calls) == 4

    async def test_does_not_bring_back_a_cancelled_timer(self, hub: TaskHub):
        id = (await hub.run("hurried", "hurried")).id
        healthy.add("hurried")
        await hub.client.rewind(id, "well")
        assert (await hub.finished(id)).status == "Completed"
        status = await hub.status(id, show_history=True)
        assert status
        assert [entry["EventType"] for entry in status.history].count("TimerFired") == 1

    async def test_keeps_what_entities_did_before_and_ends_what_was_started_after_the_failure(self, hub: TaskHub):
        id = (await hub.run("banker", "bank")).id
        await hub.reached(f"{id}-tidying", "Running")
        await hub.client.rewind(id, "still ill")
        assert (await hub.finished(id)).status == "Failed"
        await hub.reached(f"{id}-tidying", "Running")  # another instance with this id
        status = await hub.status(id, show_history=True)
        assert status
        assert "SubOrchestrationInstanceFailed" not in [entry["EventType"] for entry in status.history]
        healthy.add("bank")
        await hub.client.rewind(id, "well")
        assert (await hub.finished(id)).output == 2
        assert (await hub.finished(f"{id}-tidying")).status == "Terminated"

    async def test_runs_again_an_activity_that_failed_after_the_orchestration(self, hub: TaskHub):
        id = (await hub.run("two_patients", "late")).id
        gate.set()
        await eventually(lambda: "late two" in calls)
        await hub.run("echoes", 1)  # the second failure was stored before this
        healthy.update({"late one", "late two"})
        await hub.client.rewind(id, "well")
        status = await hub.finished(id)
        assert status.output == ["late one is well", "late two is well"]
        assert (calls.count("late one"), calls.count("late two")) == (2, 2)

    async def test_discards_what_was_scheduled_after_the_failure(self, hub: TaskHub):
        id = (await hub.run("untidy", "untidy")).id
        await eventually(lambda: "in vain" in calls)
        healthy.add("untidy")
        await hub.client.rewind(id, "well")
        await eventually(lambda: "wanted" in calls)
        gate.set()
        assert (await hub.finished(id)).output == "wanted"

    async def test_starts_a_terminated_sub_orchestration_again(self, hub: TaskHub):
        id = await hub.client.start_new("guardian", "guardian")
        await hub.reached("ward-of-it", "Running")
        await hub.client.terminate("ward-of-it", "by mistake")
        assert (await hub.finished(id)).status == "Failed"
        await hub.client.rewind(id, "it was a mistake")
        for event in ("first", "second"):
            await hub.reached("ward-of-it", "Running")
            await hub.client.raise_event("ward-of-it", event, event)
        assert (await hub.finished(id)).output == ['"first"', '"second"']

    async def test_of_an_error_of_the_orchestrator_runs_its_last_step_again(self, hub: TaskHub):
        calls.clear()
        id = (await hub.run("raises")).id
        await hub.client.rewind(id, "")
        status = await hub.finished(id)
        assert (status.status, "as always" in status.output, calls) == ("Failed", True, ["1"])

    async def test_of_unknown_and_of_successful_instances(self, hub: TaskHub):
        with pytest.raises(Exception, match="No instance"):
            await hub.client.rewind("nobody", "")
        id = (await hub.run("echoes")).id
        with pytest.raises(Exception, match="only supported on failed"):
            await hub.client.rewind(id, "")


class TestCallHttp:
    async def test_an_asynchronous_answer_is_polled_even_after_a_restart(self, hub: TaskHub):
        kitchen = Kitchen()
        await kitchen.start()
        id = await hub.client.start_new("caller", client_input=kitchen.request)
        await eventually(lambda: kitchen.asked > 1)
        await hub.restart_engine()
        kitchen.done = True
        answer = (await hub.finished(id)).output
        await kitchen.stop()
        assert (answer["statusCode"], json.loads(answer["content"])) == (200, "soup")
        assert answer["headers"]["Content-Type"] == "application/json"
        assert kitchen.ordered == ['{"dish": "soup"}']

    async def test_an_answer_that_is_an_error(self, hub: TaskHub):
        answer = (await hub.run("caller", {"method": "GET", "uri": f"{hub.api}/instances/nobody"})).output
        assert answer["statusCode"] == 404

    async def test_no_answer(self, hub: TaskHub):
        answer = (await hub.run("caller", {"method": "GET", "uri": "http://127.0.0.1:1/"})).output
        assert "GET http://127.0.0.1:1/ failed" in answer


async def test_an_unsupported_operation_is_a_501_and_is_logged(hub: TaskHub, caplog: pytest.LogCaptureFixture):
    async with httpx.AsyncClient() as http:
        assert (await http.post(f"{hub.api}/instances/x/makeCoffee")).status_code == 501
    assert "POST /runtime/webhooks/durabletask/instances/x/makeCoffee" in caplog.text


async def test_payloads_of_ten_megabytes(hub: TaskHub):
    big = "x" * 10_000_000
    async with httpx.AsyncClient() as http:
        started = await http.post(f"{hub.api}/orchestrators/echoes", json=big)
    assert (await hub.finished(started.json()["id"])).output == big
