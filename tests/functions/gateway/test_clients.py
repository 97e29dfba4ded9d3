"""Clients and their keys: registration, renaming, rotation, deletion."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from datetime import datetime

import httpx
import pytest

from infra.local.environment import Environment
from tests.support.environments import StrictHost
from tests.support.gateway import Gateway, register
from tests.support.values import UNKNOWN
from tests.support.waiting import eventually


def new_name() -> str:
    return f"client {uuid.uuid4()}"


@pytest.fixture
async def other(stack: Environment) -> AsyncIterator[Gateway]:
    """A client that a test may change or delete."""
    other = await register(stack)
    yield other
    await other.http.aclose()


@pytest.mark.parametrize(("route", "status"), [("login", 200), ("register", 201)])
class TestRegistration:
    async def test_it_shows_the_key_that_opens_the_rest(self, http: httpx.AsyncClient, route: str, status: int):
        name = new_name()
        answer = await http.post(f"/gateway/api/auth/{route}", json={"name": f" {name} ", "colour": "ignored"})
        assert answer.status_code == status
        body = answer.json()
        assert set(body) == {"id", "name", "api_key"}
        assert body["name"] == name
        assert body["api_key"].startswith("sk-")
        assert len(body["api_key"]) >= 35
        opened = await http.get("/gateway/api/models", headers={"Authorization": f"Bearer {body['api_key']}"})
        assert opened.status_code == 200

    async def test_a_name_that_exists_is_refused(self, http: httpx.AsyncClient, route: str, status: int):
        name = new_name()
        await http.post("/gateway/api/auth/login", json={"name": name})
        answer = await http.post(f"/gateway/api/auth/{route}", json={"name": name})
        assert (answer.status_code, answer.json()) == (409, {"error": "Client already exists"})

    async def test_two_at_once_of_one_name_make_one_client(self, http: httpx.AsyncClient, route: str, status: int):
        name = new_name()
        answers = await asyncio.gather(
            *(http.post(f"/gateway/api/auth/{route}", json={"name": name}) for _ in range(5))
        )
        assert sorted(answer.status_code for answer in answers) == [status, 409, 409, 409, 409]

    async def test_a_body_without_a_name_is_refused(self, http: httpx.AsyncClient, route: str, status: int):
        answer = await http.post(f"/gateway/api/auth/{route}", json={})
        assert (answer.status_code, list(answer.json())) == (400, ["error"])

    async def test_its_answer_is_not_repeated_for_an_idempotency_key(
        self, http: httpx.AsyncClient, route: str, status: int
    ):
        body, headers = {"name": new_name()}, {"Idempotency-Key": str(uuid.uuid4())}
        first = await http.post(f"/gateway/api/auth/{route}", json=body, headers=headers)
        second = await http.post(f"/gateway/api/auth/{route}", json=body, headers=headers)
        assert (first.status_code, second.status_code) == (status, 409)


class TestName:
    @pytest.mark.parametrize(
        "content", [b"{}", b'{"name": 5}', b'{"name": ""}', b'{"name": "  "}', b'{"name": null}', b"[]", b"{", b"",
                    b'{"name": "' + b"x" * 101 + b'"}', b'{"name": "\\ud800"}'],
    )  # fmt: skip
    async def test_one_that_breaks_a_rule_is_refused(self, http: httpx.AsyncClient, content: bytes):
        headers = {"Content-Type": "application/json"}
        answer = await http.post("/gateway/api/auth/login", content=content, headers=headers)
        assert (answer.status_code, list(answer.json())) == (400, ["error"])


class TestVerify:
    async def test_a_valid_key_names_its_client(self, http: httpx.AsyncClient, gateway: Gateway):
        for answer in (
            await http.post("/gateway/api/auth/verify", json={"api_key": gateway.key}),
            await gateway.http.post("/gateway/api/auth/verify"),
        ):
            assert answer.status_code == 200
            body = answer.json()
            assert (body["valid"], body["client_id"]) == (True, gateway.id)
            assert body["client_name"].startswith("client ")

    @pytest.mark.parametrize("body", [{"api_key": "sk-nobody"}, {"api_key": ""}, {}])
    async def test_any_other_key_does_not(self, http: httpx.AsyncClient, body: dict[str, str]):
        answer = await http.post("/gateway/api/auth/verify", json=body)
        assert (answer.status_code, answer.json()) == (401, {"valid": False, "error": "Invalid or missing API key"})


class TestListClients:
    async def test_newest_first_with_an_exact_total(self, gateway: Gateway, other: Gateway):
        page = (await gateway.http.get("/gateway/api/clients", params={"limit": 1})).json()
        assert set(page["clients"][0]) == {"id", "name", "created_at", "last_active"}
        assert page["clients"][0]["id"] == other.id
        everyone = (await gateway.http.get("/gateway/api/clients", params={"limit": 1000})).json()
        assert everyone["total"] == page["total"] == len(everyone["clients"])

    async def test_the_link_header_leads_through_all_of_them(self, gateway: Gateway, other: Gateway):
        everyone = (await gateway.http.get("/gateway/api/clients", params={"limit": 1000})).json()["clients"]
        seen: list[str] = []
        url: str | None = "/gateway/api/clients?limit=2"
        while url:
            answer = await gateway.http.get(url)
            seen += [client["id"] for client in answer.json()["clients"]]
            url = answer.links.get("next", {}).get("url")
        assert seen == [client["id"] for client in everyone]


class TestGetClient:
    async def test_it_has_the_documented_members(self, gateway: Gateway):
        client = (await gateway.http.get(f"/gateway/api/clients/{gateway.id}")).json()
        assert set(client) == {"id", "name", "created_at", "last_active"}
        assert client["created_at"].endswith("Z")
        assert datetime.fromisoformat(client["last_active"]) >= datetime.fromisoformat(client["created_at"])


class TestUpdateClient:
    async def test_it_gets_the_name(self, gateway: Gateway, other: Gateway):
        name = new_name()
        answer = await gateway.http.patch(f"/gateway/api/clients/{other.id}", json={"name": name})
        assert (answer.status_code, answer.json()["name"]) == (200, name)
        assert (await other.http.get(f"/gateway/api/clients/{other.id}")).json()["name"] == name

    async def test_the_old_name_is_free_again(self, http: httpx.AsyncClient, gateway: Gateway):
        old = new_name()
        made = (await http.post("/gateway/api/auth/login", json={"name": old})).json()
        await gateway.http.patch(f"/gateway/api/clients/{made['id']}", json={"name": new_name()})
        assert (await http.post("/gateway/api/auth/login", json={"name": old})).status_code == 200

    async def test_a_taken_name_is_refused(self, gateway: Gateway, other: Gateway):
        taken = (await gateway.http.get(f"/gateway/api/clients/{gateway.id}")).json()["name"]
        answer = await gateway.http.patch(f"/gateway/api/clients/{other.id}", json={"name": taken})
        assert (answer.status_code, answer.json()) == (409, {"error": "Client already exists"})

    @pytest.mark.parametrize("body", [{}, {"name": ""}, {"name": 1}, []])
    async def test_a_body_without_a_name_is_refused(self, gateway: Gateway, other: Gateway, body: object):
        assert (await gateway.http.patch(f"/gateway/api/clients/{other.id}", json=body)).status_code == 400

    async def test_an_unknown_client(self, gateway: Gateway):
        answer = await gateway.http.patch(f"/gateway/api/clients/{UNKNOWN}", json={"name": new_name()})
        assert (answer.status_code, answer.json()) == (404, {"error": "Client not found"})

    async def test_of_two_changes_to_one_version_the_second_is_refused(self, gateway: Gateway, other: Gateway):
        url = f"/gateway/api/clients/{other.id}"
        headers = {"If-Match": (await gateway.http.get(url)).headers["etag"]}
        first = await gateway.http.patch(url, json={"name": new_name()}, headers=headers)
        second = await gateway.http.patch(url, json={"name": new_name()}, headers=headers)
        assert (first.status_code, second.status_code) == (200, 412)
        again = await gateway.http.patch(url, json={"name": new_name()}, headers={"If-Match": first.headers["etag"]})
        assert again.status_code == 200


class TestRotateKey:
    async def test_the_new_key_opens_and_the_old_one_does_not(self, gateway: Gateway, other: Gateway):
        assert (await other.http.get("/gateway/api/models")).status_code == 200
        answer = await gateway.http.post(f"/gateway/api/clients/{other.id}/rotate-key")
        assert (answer.status_code, list(answer.json())) == (200, ["api_key"])
        assert (await other.http.get("/gateway/api/models")).status_code == 401
        headers = {"Authorization": f"Bearer {answer.json()['api_key']}"}
        assert (await other.http.get("/gateway/api/models", headers=headers)).status_code == 200

    async def test_an_unknown_client(self, gateway: Gateway):
        assert (await gateway.http.post(f"/gateway/api/clients/{UNKNOWN}/rotate-key")).status_code == 404


class TestDeleteClient:
    async def test_its_key_opens_nothing_from_the_next_request_on(self, other: Gateway):
        answer = await other.http.delete(f"/gateway/api/clients/{other.id}")  # oneself is allowed
        assert (answer.status_code, answer.json()) == (200, {"message": "Client deleted successfully"})
        assert (await other.http.get("/gateway/api/models")).status_code == 401

    async def test_twice(self, gateway: Gateway, other: Gateway):
        url = f"/gateway/api/clients/{other.id}"
        assert (await gateway.http.delete(url)).status_code == 200
        assert (await gateway.http.delete(url)).status_code == 404

    async def test_its_runs_stay_with_its_id(self, gateway: Gateway, other: Gateway):
        run = await other.run("true")
        await gateway.http.delete(f"/gateway/api/clients/{other.id}")
        assert (await gateway.reach(run["id"]))["status"] == "completed"
        assert (await gateway.get(run["id"]))["client_id"] == other.id


async def test_another_instance_refuses_a_revoked_key_when_its_cache_expires(strict_host: StrictHost, other: Gateway):
    async def status() -> int:
        return (await strict_host.http.get("/gateway/api/models", headers=other.http.headers)).status_code

    assert await status() == 200
    await other.http.delete(f"/gateway/api/clients/{other.id}")
    await eventually(status, until=lambda code: code == 401)
