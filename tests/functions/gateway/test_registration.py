"""Closed registration and the scopes of keys: an administrator creates clients and manages those of others."""

import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from infra.local.environment import Environment
from tests.support.anymind import new_name
from tests.support.environments import another_host
from tests.support.stepflow import refused

ROOT = "sk-" + "root" * 10


@pytest.fixture(scope="module")
async def closed(stack: Environment, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[httpx.AsyncClient]:
    """An instance of the app as it is deployed: registration is closed, and StepFlow asks for keys."""
    state: Path = tmp_path_factory.mktemp("closed")
    async with another_host(
        stack,
        state,
        RUNYARD_REGISTRATION="closed",
        RUNYARD_ADMIN_KEY=ROOT,
        RUNYARD_METRICS_OPEN="false",
        STEPFLOW_AUTH_ENABLED="true",
    ) as http:
        yield http


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


async def register(closed: httpx.AsyncClient, by: str = ROOT, **members: object) -> tuple[str, str]:
    """A new client's id and key."""
    body = {"name": f"client {uuid.uuid4()}", **members}
    answer = await closed.post("/gateway/api/auth/register", json=body, headers=bearer(by))
    assert answer.status_code == 201, answer.text
    assert set(answer.json()) == {"id", "name", "api_key"}
    return answer.json()["id"], answer.json()["api_key"]


class TestClosedRegistration:
    @pytest.mark.parametrize("route", ["login", "register"])
    async def test_only_an_administrator_registers_clients(self, closed: httpx.AsyncClient, route: str):
        url, body = f"/gateway/api/auth/{route}", {"name": f"client {uuid.uuid4()}"}
        _, key = await register(closed)
        stranger = await closed.post(url, json=body)
        wrong = await closed.post(url, json=body, headers=bearer("sk-wrong"))
        client = await closed.post(url, json=body, headers=bearer(key))
        assert [answer.status_code for answer in (stranger, wrong, client)] == [401, 401, 403]
        assert client.json() == {"error": "Only an administrator registers clients"}
        assert (await closed.post(url, json=body, headers=bearer(ROOT))).is_success

    async def test_nor_does_anyone_else_register_users_of_anymind(self, closed: httpx.AsyncClient):
        url, body = "/anymind/api/v1/auth/register", {**new_name(), "password": "a long text"}
        _, key = await register(closed)
        for by, status in (({}, 401), (bearer("sk-wrong"), 401), (bearer(key), 403), (bearer(ROOT), 201)):
            answer = await closed.post(url, json=body, headers=by)
            assert answer.status_code == status, answer.text

    async def test_a_client_manages_itself_alone_and_an_administrator_everyone(self, closed: httpx.AsyncClient):
        (own, key), (other, _) = await register(closed), await register(closed)
        me, root = bearer(key), bearer(ROOT)
        for who, status in ((other, 403), (own, 200)):
            url = f"/gateway/api/clients/{who}"
            for headers, expected in ((me, status), (root, 200)):
                renamed = {"name": f"client {uuid.uuid4()}"}
                assert (await closed.get(url, headers=headers)).status_code == expected
                assert (await closed.patch(url, json=renamed, headers=headers)).status_code == expected
        for path, verb in (("/api/clients", "GET"), ("/api/system/cleanup", "POST"), ("/metrics", "GET")):
            given = {"json": {"dry_run": True}} if verb == "POST" else {}
            assert (await closed.request(verb, f"/gateway{path}", headers=me, **given)).status_code == 403  # type: ignore[arg-type]
            assert (await closed.request(verb, f"/gateway{path}", headers=root, **given)).status_code == 200  # type: ignore[arg-type]
        assert (await closed.get("/gateway/metrics")).status_code == 401
        assert (await closed.post(f"/gateway/api/clients/{other}/rotate-key", headers=me)).status_code == 403
        assert (await closed.delete(f"/gateway/api/clients/{other}", headers=me)).status_code == 403
        assert (await closed.delete(f"/gateway/api/clients/{other}", headers=root)).status_code == 200
        rotated = await closed.post(f"/gateway/api/clients/{own}/rotate-key", headers=me)
        assert rotated.status_code == 200
        answer = await closed.delete(f"/gateway/api/clients/{own}", headers=bearer(rotated.json()["api_key"]))
        assert answer.status_code == 200

    async def test_an_administrator_makes_another_one(self, closed: httpx.AsyncClient):
        _, key = await register(closed, scope="administrator")
        await register(closed, by=key)


class TestScopes:
    async def test_a_key_opens_the_apis_that_it_is_for(self, closed: httpx.AsyncClient):
        _, everything = await register(closed)
        _, gateway = await register(closed, apis=["gateway"])
        _, stepflow = await register(closed, apis=["stepflow"])
        for key, opened in ((everything, (200, 200)), (gateway, (200, 403)), (stepflow, (403, 200))):
            first = await closed.get("/gateway/api/models", headers=bearer(key))
            second = await closed.get("/stepflow/api/executions", headers=bearer(key))
            assert (first.status_code, second.status_code) == opened
        answer = await closed.get("/gateway/api/models", headers=bearer(stepflow))
        assert answer.json() == {"error": "This API key does not open this API"}
        answer = await closed.get("/stepflow/api/executions", headers=bearer(gateway))
        assert refused(answer, 403) == "This API key does not open this API"

    @pytest.mark.parametrize("members", [{"scope": "administrator"}, {"apis": ["gateway"]}])
    async def test_a_stranger_gives_itself_no_scope(self, http: httpx.AsyncClient, members: dict[str, object]):
        body = {"name": f"client {uuid.uuid4()}", **members}
        answer = await http.post("/gateway/api/auth/login", json=body)
        assert (answer.status_code, answer.json()) == (403, {"error": "Only an administrator gives a scope or APIs"})

    @pytest.mark.parametrize("members", [{"scope": "king"}, {"apis": ["nothing"]}, {"apis": "gateway"}])
    async def test_an_unknown_scope_or_api_is_refused(self, closed: httpx.AsyncClient, members: dict[str, object]):
        body = {"name": f"client {uuid.uuid4()}", **members}
        answer = await closed.post("/gateway/api/auth/login", json=body, headers=bearer(ROOT))
        assert (answer.status_code, list(answer.json())) == (400, ["error"])
