"""Durable Functions on a running host: the engine, the client binding and restarts together."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.infra.emulator.host.harness import Serve, ServedApp, eventually, shared

APP = """
@app.route(route="start/{name}/{id}", methods=["POST"])
@app.durable_client_input(client_name="client")
async def start(req: Request, client: df.DurableOrchestrationClient, context: func.Context) -> Response:
    logging.info("starting %s", req.path_params["id"])
    await asyncio.sleep(float(req.query_params.get("wait", 0)))
    given = await req.json()
    return Response(await client.start_new(req.path_params["name"], req.path_params["id"], given), status_code=202)


@app.function_name("status")
@app.route(route="status/{id}", methods=["GET"])
@app.generic_input_binding(arg_name="client", type="durableClient")
async def status(req: Request, client: str, context: func.Context) -> dict:
    found = await df.DurableOrchestrationClient(client, context.invocation_id).get_status(req.path_params["id"])
    return found.to_json() | {"output": found.output}


@app.route(route="links/{id}", methods=["GET"])
@app.durable_client_input(client_name="client")
async def links(req: Request, client: df.DurableOrchestrationClient) -> dict:
    return client.create_http_management_payload(req.path_params["id"])


@app.route(route="counter/{key}", methods=["GET", "POST"])
@app.durable_client_input(client_name="client")
async def counters(req: Request, client: df.DurableOrchestrationClient) -> dict:
    entity = df.EntityId("Counter", req.path_params["key"])
    if req.method == "POST":
        await client.signal_entity(entity, "add", 5)
    state = await client.read_entity_state(entity)
    return {"exists": state.entity_exists, "state": state.entity_state}


@app.orchestration_trigger(context_name="context")
def chain(ctx: df.DurableOrchestrationContext):
    results = []
    for value in ctx.get_input():
        results.append((yield ctx.call_activity("Same", value)))
    return results


@app.orchestration_trigger(context_name="context", orchestration="Renamed")
def by_another_name(ctx: df.DurableOrchestrationContext):
    return "renamed"


@app.orchestration_trigger(context_name="context")
def steps(ctx: df.DurableOrchestrationContext):
    for number in range(ctx.get_input()):
        yield ctx.call_activity("step", number)
    return "all steps"


@app.orchestration_trigger(context_name="context")
def catches(ctx: df.DurableOrchestrationContext):
    try:
        yield ctx.call_activity("fails", "x")
    except Exception as error:
        return str(error)


@app.orchestration_trigger(context_name="context")
def raises(ctx: df.DurableOrchestrationContext):
    raise ValueError("an orchestrator's reason")
    yield


@app.activity_trigger(input_name="value", activity="Same")
def same(value):
    return value


@app.activity_trigger(input_name="number")
async def step(number: int, context: func.Context) -> None:
    logging.info("STEP %d of %s", number, context.function_name)
    await asyncio.sleep(0.1)


@app.activity_trigger(input_name="value")
def fails(value: str):
    raise KeyError("an activity's reason")


@app.entity_trigger(context_name="context", entity_name="Counter")
def counter(ctx: df.DurableEntityContext):
    ctx.set_state(ctx.get_state(lambda: 0) + int(ctx.get_input()))


@app.timer_trigger(arg_name="timer", schedule="0 0 0 1 1 *")
@app.durable_client_input(client_name="client")
async def nightly(timer: func.TimerRequest, client: df.DurableOrchestrationClient):
    await client.start_new("chain", "from-the-timer", ["tick"])
"""


async def ended(served: ServedApp, id: str) -> dict[str, Any]:
    """Wait until an instance has ended; returns its status."""

    async def status() -> dict[str, Any] | None:
        found = (await served.http.get(f"/api/status/{id}")).json()
        return found if found["runtimeStatus"] in ("Completed", "Failed", "Terminated") else None

    return await eventually(status, 30)


@pytest.fixture(scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServedApp]:
    """One host for all tests that do not stop it."""
    async with shared(tmp_path_factory.mktemp("durable"), APP) as served:
        yield served


async def test_durable_functions_run_with_the_official_library(served: ServedApp):
    async def started(name: str, value: object) -> dict[str, Any]:
        answer = await served.http.post(f"/api/start/{name}/{name}-1", json=value)
        assert (answer.status_code, answer.text) == (202, f"{name}-1")
        return await ended(served, f"{name}-1")

    values = [1, "text", '{"not": "parsed twice"}', None, {"a": [1.5, True]}, ""]
    chain = await started("chain", values)
    assert (chain["runtimeStatus"], chain["output"]) == ("Completed", values)
    assert (await started("Renamed", 0))["output"] == "renamed"
    assert 'KeyError: "an activity\'s reason"' in (await started("catches", 0))["output"]
    raised = await started("raises", 0)
    assert raised["runtimeStatus"] == "Failed"
    assert "an orchestrator's reason" in raised["output"]
    assert "OutOfProcData" not in raised["output"]


async def test_entities_keep_their_state(served: ServedApp):
    assert (await served.http.get("/api/counter/a")).json()["exists"] is False
    for _ in range(3):
        await served.http.post("/api/counter/a", json=0)

    async def counted() -> bool:
        return (await served.http.get("/api/counter/a")).json()["state"] == 15

    await eventually(counted)


async def test_a_timer_starts_an_orchestration(served: ServedApp):
    await served.http.post("/admin/functions/nightly", json={})
    await eventually(lambda: "chain" in served.log and "same" in served.log)
    assert (await ended(served, "from-the-timer"))["output"] == ["tick"]


async def test_the_management_api_answers_on_the_public_port(served: ServedApp):
    await served.http.post("/api/start/chain/one", json=["x"])
    await ended(served, "one")
    link = (await served.http.get("/api/links/one")).json()["statusQueryGetUri"]
    assert link.startswith(f"{served.url}/runtime/webhooks/durabletask/instances/one")
    assert (await served.http.get(link)).json()["runtimeStatus"] == "Completed"


async def test_an_orchestration_continues_after_kill_9(serve: Serve):
    served = await serve(APP)
    await served.http.post("/api/start/steps/long", json=12)
    for done in (2, 6):
        await eventually(lambda done=done: f"STEP {done} of step" in served.log)
        await served.restart()
    assert (await ended(served, "long"))["output"] == "all steps"
    # A step that was interrupted is repeated, a step that had ended is not.
    assert [served.log.count(f"STEP {number} of step") for number in (0, 1, 11)] == [1, 1, 1]


async def test_a_request_that_finishes_while_the_host_stops_still_reaches_the_engine(serve: Serve):
    served = await serve(APP)
    request = asyncio.create_task(served.http.post("/api/start/chain/late?wait=1", json=["x"]))
    await eventually(lambda: "starting late" in served.log)
    assert served.child
    await served.child.stop()
    assert (await request).status_code == 202
    await served.start()
    assert (await ended(served, "late"))["output"] == ["x"]


async def test_the_limits_of_host_json_hold(serve: Serve):
    served = await serve(
        APP
        + """
@app.orchestration_trigger(context_name="context")
def wide(ctx: df.DurableOrchestrationContext):
    peaks = yield ctx.task_all([ctx.call_activity("busy", number) for number in range(8)])
    return max(peaks)

running = 0

@app.activity_trigger(input_name="number")
async def busy(number: int) -> int:
    global running
    running += 1
    await asyncio.sleep(0.1)
    peak = running
    running -= 1
    return peak
""",
        host_json={"extensions": {"durableTask": {"maxConcurrentActivityFunctions": 3, "hubName": "MyHub"}}},
    )
    await served.http.post("/api/start/wide/w", json=0)
    assert json.loads(str((await ended(served, "w"))["output"])) == 3
    assert "taskHub=MyHub" in (await served.http.get("/api/links/w")).json()["statusQueryGetUri"]
