"""Keys: no route needs one unless a setting asks for them; then the basic health check alone is open."""

import re
from collections.abc import AsyncIterator

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from functions.stepflow import api
from infra.local.environment import Environment
from tests.support.stepflow import StepFlow, client_of, refused
from tests.support.values import UNKNOWN, UNLIMITED

pytestmark = pytest.mark.long

OPEN = {
    ("GET", "/api/health"), ("GET", "/ws"), ("GET", "/realtime"),
    ("GET", "/"), ("GET", "/docs"), ("GET", f"/docs/{UNKNOWN}"), ("GET", "/openapi.json"),
}  # fmt: skip

ROUTES = sorted(
    (method, re.sub(r"\{\w+\}", UNKNOWN, path))
    for path, methods in ((route.path, route.methods) for route in api.routes)  # pyright: ignore[reportAttributeAccessIssue]
    for method in methods
)


@pytest.fixture(scope="module")
async def guarded(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Environment, str]]:
    """An environment that asks for keys, and a key."""
    environment = Environment.temporary(
        tmp_path_factory.mktemp("guarded"), STEPFLOW_AUTH_ENABLED="true", RUNYARD_ADMIN_KEY="sk-root", **UNLIMITED
    )
    await environment.start()
    try:
        async with httpx.AsyncClient(base_url=environment.url, trust_env=False) as http:
            answer = await http.post("/gateway/api/auth/login", json={"name": "watcher"})
            yield environment, answer.json()["api_key"]
    finally:
        await environment.stop()


async def test_only_the_open_routes_work_without_a_key(guarded: tuple[Environment, str]):
    async with client_of(guarded[0]) as stranger:
        for method, path in ROUTES:
            answer = await stranger.http.request(method, path)
            assert (answer.status_code == 401) is ((method, path) not in OPEN), (method, path, answer.status_code)
        assert refused(await stranger.http.get("/api/executions"), 401) == "Invalid or missing API key"
        refused(await stranger.http.get("/api/executions", headers={"Authorization": "Bearer sk-wrong"}), 401)
        refused(await stranger.http.post("/api/executions", content=b"{"), 401)


async def test_the_description_asks_for_keys_only_where_they_are_asked_for(
    guarded: tuple[Environment, str], stepflow: StepFlow
):
    async with client_of(guarded[0]) as stranger:
        closed, open_ = [(await http.get("/openapi.json")).json() for http in (stranger.http, stepflow.http)]
    assert set(closed["components"]["securitySchemes"]) == {"bearerKey", "headerKey", "queryKey"}
    assert len(closed["paths"]["/api/executions"]["get"]["security"]) == 3
    assert "securitySchemes" not in open_["components"]
    assert "security" not in open_["paths"]["/api/executions"]["get"]


async def test_the_key_may_stand_in_its_own_header(guarded: tuple[Environment, str]):
    environment, key = guarded
    async with client_of(environment) as stepflow:
        for given, status in ((key, 200), ("sk-wrong", 401)):
            answer = await stepflow.http.get("/api/executions", headers={"X-API-Key": given})
            assert answer.status_code == status


async def test_with_a_key_routes_and_socket_work_and_the_client_is_the_user(guarded: tuple[Environment, str]):
    environment, key = guarded
    async with client_of(environment, Authorization=f"Bearer {key}") as stepflow:
        mine = StepFlow(stepflow.http, stepflow.sockets)
        async with mine.watch(f"/ws?api_key={key}") as watcher:
            execution_id = await mine.create("echo hello")
            await watcher.completed(execution_id)
        found = await mine.data(f"/api/executions/{execution_id}")
        assert found["execution"]["user"] == "watcher"


@pytest.mark.parametrize("query", ["", "?api_key=", "?api_key=sk-wrong"])
async def test_a_socket_without_a_valid_key_does_not_open(guarded: tuple[Environment, str], query: str):
    async with client_of(guarded[0]) as stepflow:
        with pytest.raises(InvalidStatus) as refusal:
            await connect(f"{stepflow.sockets}/ws{query}", proxy=None)
        assert refusal.value.response.status_code == 401


async def test_a_socket_does_not_open_with_a_key_for_another_api(guarded: tuple[Environment, str]):
    async with client_of(guarded[0]) as stepflow:
        body = {"name": "another", "apis": ["gateway"]}
        url, root = f"{guarded[0].url}/gateway/api/auth/login", {"Authorization": "Bearer sk-root"}
        key = (await stepflow.http.post(url, json=body, headers=root)).json()["api_key"]
        with pytest.raises(InvalidStatus) as refusal:
            await connect(f"{stepflow.sockets}/ws?api_key={key}", proxy=None)
        assert refusal.value.response.status_code == 403


async def test_by_default_no_route_needs_a_key(stepflow: StepFlow):
    assert (await stepflow.http.get("/api/executions", headers={"Authorization": "Bearer x"})).status_code == 200
