"""With keys: who may do what, and the token with which an environment reports."""

import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from functions.dev8 import api
from functions.dev8.store import environments
from infra.local.environment import Environment
from shared.jobs import new_token
from tests.support.dev8 import NEW, PATH, Dev8, new_user, refused
from tests.support.environments import ROOT_KEY, StrictHost
from tests.support.gateway import Gateway
from tests.support.values import UNKNOWN

OPEN = {"/", "/health", "/ready", "/live", "/docs", f"/docs/{UNKNOWN}", "/openapi.json"}
ROUTES = sorted(
    (method, re.sub(r"\{\w+\}", UNKNOWN, route.path)) for route in api.own_routes for method in route.methods or ()
)
REPORT = {"snapshot": {}, "timestamp": "2025-01-01T00:00:00Z"}


def dev8_of(strict_host: StrictHost, key: str) -> Dev8:
    base = f"{str(strict_host.http.base_url).rstrip('/')}/dev8"
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return Dev8(httpx.AsyncClient(base_url=base, timeout=60, trust_env=False, headers=headers))


@pytest.fixture(scope="module")
async def root(strict_host: StrictHost) -> AsyncIterator[Dev8]:
    """An administrator."""
    root = dev8_of(strict_host, ROOT_KEY)
    yield root
    await root.http.aclose()


@pytest.fixture(scope="module")
async def client(strict_host: StrictHost, gateway: Gateway) -> AsyncIterator[Dev8]:
    """A client, whose id is that of `gateway`."""
    client = dev8_of(strict_host, gateway.key)
    yield client
    await client.http.aclose()


@pytest.fixture(scope="module")
async def other(root: Dev8) -> AsyncIterator[dict[str, Any]]:
    """An environment of another user."""
    made = await root.create(userId=new_user())
    yield made
    await root.drop(made["id"])


async def test_only_the_open_routes_work_without_a_key(strict_host: StrictHost, stack: Environment):
    for key in ("", "sk-wrong"):
        stranger = dev8_of(strict_host, key)
        for method, path in ROUTES:
            answer = await stranger.http.request(method, path)
            assert (answer.status_code == 401) is (path not in OPEN), (method, path, answer.status_code)
        refused(await stranger.http.post(PATH, content=b"{"), 401, "UNAUTHORIZED")
        await stranger.http.aclose()


async def test_a_client_is_the_user_of_its_own_environments(client: Dev8, gateway: Gateway, other: dict[str, Any]):
    answer = await client.http.post(PATH, json=NEW)
    made = answer.json()["environment"]
    assert (answer.status_code, made["userId"]) == (201, gateway.id)
    assert made["hourlyCost"] == 0.0445
    listed = (await client.http.get(PATH)).json()["environments"]
    assert [each["id"] for each in listed] == [made["id"]]
    await client.drop(made["id"])


async def test_a_client_reaches_no_environment_of_another_user(client: Dev8, other: dict[str, Any]):
    url, named = f"{PATH}/{other['id']}", {"workspaceId": other["id"]}
    for method, path, body in (
        ("GET", url, None), ("DELETE", url, None), ("POST", f"{url}/start", None), ("POST", f"{url}/stop", None),
        ("POST", f"{url}/activity", REPORT), ("POST", f"{PATH}/start", named),
        ("POST", f"{PATH}/stop", named), ("DELETE", PATH, named),
    ):  # fmt: skip
        refused(await client.http.request(method, path, json=body), 401, "UNAUTHORIZED")


@pytest.mark.parametrize("named", [{"headers": {"X-User-ID": "u"}}, {"params": {"userId": "u"}}])
async def test_only_an_administrator_names_another_user(client: Dev8, root: Dev8, named: dict[str, Any]):
    message = refused(await client.http.get(PATH, **named), 401, "UNAUTHORIZED")
    assert message == "only an administrator's key names another user"
    assert (await root.http.get(PATH, **named)).json()["total"] == 0
    refused(await client.http.post(PATH, json={**NEW, "userId": "u"}), 401, "UNAUTHORIZED")


async def test_an_administrator_sees_all_and_creates_for_others(root: Dev8, other: dict[str, Any]):
    assert (await root.get(other["id"]))["userId"] == other["userId"]
    listed = (await root.http.get(PATH, params={"pageSize": 100})).json()["environments"]
    assert other["id"] in [each["id"] for each in listed]


async def test_a_user_may_have_a_number_of_environments(root: Dev8):
    user = new_user()
    made = [await root.create(userId=user) for _ in range(2)]
    message = refused(await root.http.post(PATH, json={**NEW, "userId": user}), 400, "INVALID_REQUEST")
    assert message == f"user {user} has 2 environments, and may have no more: delete one"
    await root.delete(made[0]["id"])
    made[0] = await root.create(userId=user)
    for each in made:
        await root.drop(each["id"])


@pytest.mark.usefixtures("app")
async def test_the_token_of_an_environment_opens_its_activity_alone(
    strict_host: StrictHost, other: dict[str, Any], root: Dev8
):
    token, hashed = new_token()
    await environments.update(other["id"], lambda record: setattr(record, "token_hash", hashed))
    supervisor = dev8_of(strict_host, token)
    answer = await supervisor.http.post(f"{PATH}/{other['id']}/activity", json=REPORT)
    assert answer.status_code == 200, answer.text
    another = await root.create(userId=new_user())
    refused(await supervisor.http.post(f"{PATH}/{another['id']}/activity", json=REPORT), 401)
    refused(await supervisor.http.post(f"{PATH}/{UNKNOWN}/activity", json=REPORT), 401)
    for method, path in (("GET", PATH), ("GET", f"{PATH}/{other['id']}"), ("POST", f"{PATH}/{other['id']}/stop"),
                         ("DELETE", f"{PATH}/{other['id']}"), ("POST", PATH)):  # fmt: skip
        refused(await supervisor.http.request(method, path), 401)
    refused(await root.http.post(f"{PATH}/env-{UNKNOWN}/activity", json=REPORT), 404)
    await supervisor.http.aclose()
    await root.drop(another["id"])


async def test_the_description_asks_for_keys_only_where_they_are_asked_for(root: Dev8, dev8: Dev8):
    closed, open_ = [(await each.http.get("/openapi.json")).json() for each in (root, dev8)]
    assert len(closed["paths"][PATH]["post"]["security"]) == 3
    assert closed["paths"][f"{PATH}/{{environment_id}}/activity"]["post"]["security"] == [{"bearerKey": []}]
    assert "security" not in closed["paths"]["/health"]["get"]
    assert "securitySchemes" not in open_["components"]
