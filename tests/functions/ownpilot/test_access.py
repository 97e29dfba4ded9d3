"""Who may call: nobody is asked, or an API key, or a JSON web token is needed, as a setting says."""

import asyncio
import json
import re
import time
import uuid
from collections.abc import AsyncIterator, Iterable
from typing import Any, cast

import httpx
import jwt
import pytest

from functions.ownpilot.core.owner import user_of_token
from functions.ownpilot.ws import handle_event
from infra.local.environment import Environment
from shared.http.errors import Forbidden, Unauthorized, Unavailable
from shared.sockets import Event
from shared.workflows import WorkflowClient
from tests.functions.ownpilot.description import CLOSED, OPEN
from tests.support.environments import ROOT_KEY, StrictHost, another_host, connected
from tests.support.gateway import Gateway
from tests.support.ownpilot import BASE, data_of, refused
from tests.support.values import UNKNOWN
from tests.support.waiting import eventually

JWT_SECRET = "a secret that is long enough for each of the algorithms, HS512 too, of 64 bytes"
LIMIT, BURST = 20, 30


def token(secret: str = JWT_SECRET, algorithm: str = "HS256", **claims: Any) -> str:
    return jwt.encode({"sub": f"user {uuid.uuid4()}", **claims}, secret, algorithm=algorithm)


@pytest.fixture(scope="module")
async def by_token(stack: Environment, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[httpx.AsyncClient]:
    """A host that asks for tokens, and limits its callers."""
    settings = {
        "RUNYARD_APIS": "ownpilot", "OWNPILOT_AUTH": "jwt", "OWNPILOT_JWT_SECRET": JWT_SECRET,
        "OWNPILOT_RATE_MINUTE": str(LIMIT), "OWNPILOT_RATE_BURST": str(BURST),
    }  # fmt: skip
    async with another_host(stack, tmp_path_factory.mktemp("tokens"), **settings) as http:
        yield http


def another_address() -> dict[str, str]:
    return {"X-Forwarded-For": f"10.{uuid.uuid4().int % 250}.{uuid.uuid4().int % 250}.{uuid.uuid4().int % 250}"}


async def matrix(http: httpx.AsyncClient, routes: Iterable[tuple[str, str]]) -> None:
    """Send to routes without a credential: only the open ones answer otherwise than 401."""

    turns = asyncio.Semaphore(8)  # as many connections as the client keeps

    async def check(method: str, path: str) -> None:
        target = f"/ownpilot{re.sub(r'{[a-z_]+}', UNKNOWN, path)}".removesuffix("/")
        headers = {"Content-Type": "application/json", **another_address()}
        async with turns:
            answer = await http.request(method, target, content=b"{", headers=headers)
        assert (answer.status_code == 401) is ((method, path) not in OPEN), (method, path, answer.text)

    await asyncio.gather(*(check(*route) for route in routes))


class TestKeys:
    async def test_only_the_open_routes_answer_without_a_key(self, strict_host: StrictHost):
        await matrix(strict_host.http, [*CLOSED, *sorted(OPEN)])
        message = refused(await strict_host.http.get(f"{BASE}/notes"), 401, "UNAUTHORIZED")
        assert "API key" in message

    @pytest.mark.parametrize("header", ["Authorization", "X-API-Key"])
    async def test_a_key_opens_and_a_wrong_one_is_403(self, strict_host: StrictHost, gateway: Gateway, header: str):
        http, prefix = strict_host.http, "Bearer " if header == "Authorization" else ""
        headers = {header: f"{prefix}{gateway.key}"}
        note = data_of(await http.post(f"{BASE}/notes", json={"title": "t", "content": "c"}, headers=headers))
        assert note["userId"] == gateway.id
        for wrong in ("sk-wrong", "x"):
            refused(await http.get(f"{BASE}/notes", headers={header: f"{prefix}{wrong}"}), 403, "FORBIDDEN")

    async def test_a_client_reaches_its_own_things_only(
        self, strict_host: StrictHost, gateway: Gateway, newcomer: Gateway
    ):
        http, mine = strict_host.http, {"X-API-Key": gateway.key}
        note = data_of(await http.post(f"{BASE}/notes", json={"title": "t", "content": "c"}, headers=mine))
        theirs = {"X-API-Key": newcomer.key}
        refused(await http.get(f"{BASE}/notes/{note['id']}", headers=theirs), 404, "NOT_FOUND")
        assert data_of(await http.get(f"{BASE}/notes", params={"userId": newcomer.id}, headers=theirs)) == []
        for method in ("GET", "POST"):
            answer = await http.request(method, f"{BASE}/notes?userId={gateway.id}", content=b"{", headers=theirs)
            refused(answer, 403, "FORBIDDEN")

    async def test_an_administrator_names_another_user(self, strict_host: StrictHost, gateway: Gateway):
        headers = {"X-API-Key": ROOT_KEY}
        answer = await strict_host.http.get(f"{BASE}/notes", params={"userId": gateway.id}, headers=headers)
        assert {note["userId"] for note in data_of(answer)} <= {gateway.id}

    async def test_the_description_asks_for_a_key(self, strict_host: StrictHost, http: httpx.AsyncClient):
        closed, open_ = [(await each.get("/ownpilot/openapi.json")).json() for each in (strict_host.http, http)]
        assert len(closed["paths"]["/api/v1/notes"]["get"]["security"]) == 2
        assert "security" not in closed["paths"]["/health"]["get"]
        assert "securitySchemes" not in open_["components"]


class TestTokens:
    async def test_only_the_open_routes_answer_without_a_token(self, by_token: httpx.AsyncClient):
        """A sample: the guard is that of keys, which is tried with every route."""
        await matrix(by_token, [*CLOSED[::10], *sorted(OPEN)[::3]])

    @pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
    async def test_the_subject_is_the_user(self, by_token: httpx.AsyncClient, algorithm: str):
        given = token(algorithm=algorithm, sub="ann", exp=time.time() + 60, aud="anyone")
        headers = {"Authorization": f"Bearer {given}"}
        body = {"title": "t", "content": "c"}
        assert data_of(await by_token.post(f"{BASE}/notes", json=body, headers=headers))["userId"] == "ann"
        refused(await by_token.get(f"{BASE}/notes", params={"userId": "ben"}, headers=headers), 403, "FORBIDDEN")

    @pytest.mark.parametrize(
        "wrong",
        [token("another secret of more than thirty-two characters"), token(exp=1), token(sub=""), "x", "a.b.c",
         jwt.encode({"name": "nobody"}, JWT_SECRET), jwt.encode({"sub": "ann"}, "", algorithm="none"),
         token(sub=7), token(nbf=time.time() + 3600), token(fill="x" * 9000)],
        ids=range(10),
    )  # fmt: skip
    async def test_a_wrong_token_is_403(self, by_token: httpx.AsyncClient, wrong: str):
        headers = {"Authorization": f"Bearer {wrong}", **another_address()}
        refused(await by_token.get(f"{BASE}/notes", headers=headers), 403, "FORBIDDEN")

    async def test_a_secret_that_is_too_short_opens_nothing(self):
        async with connected(OWNPILOT_JWT_SECRET="x" * 31):
            with pytest.raises(Unavailable):
                user_of_token(token())

    async def test_more_than_the_burst_is_429_and_health_is_free(self, by_token: httpx.AsyncClient):
        async def is_checked() -> bool:
            """Whether requests are counted: for 5 s after storage was too slow, they are not."""
            headers = {"Authorization": f"Bearer {token()}"}
            return "x-ratelimit-limit" in (await by_token.get(f"{BASE}/settings/none", headers=headers)).headers

        await eventually(is_checked)
        headers = {"Authorization": f"Bearer {token()}"}
        answers = [await by_token.get(f"{BASE}/settings/none", headers=headers) for _ in range(BURST + 1)]
        assert [answer.status_code for answer in answers] == [404] * BURST + [429]
        left = [int(answer.headers["x-ratelimit-remaining"]) for answer in answers]
        assert left[0] == LIMIT - 1 and left[LIMIT:] == [0] * (BURST + 1 - LIMIT)
        assert answers[0].headers["x-ratelimit-limit"] == str(LIMIT)
        assert int(answers[-1].headers["retry-after"]) >= 1
        refused(answers[-1], 429, "RATE_LIMITED")
        found = [await by_token.get("/ownpilot/health/live") for _ in range(BURST + 1)]
        assert {answer.status_code for answer in found} == {200} and "x-ratelimit-limit" not in found[0].headers


class TestSockets:
    """The dialogue, as Web PubSub's events reach one instance only: that of the suite, which asks nobody."""

    async def reply(self, **query: str) -> Any:
        opened = json.dumps({"query": {name: [value] for name, value in query.items()}}).encode()
        event = Event("ownpilot", "connect", "c1", None, {}, opened, "application/json")
        return await handle_event(event, cast("WorkflowClient", None))

    async def test_a_token_names_the_person(self):
        async with connected(OWNPILOT_AUTH="jwt", OWNPILOT_JWT_SECRET=JWT_SECRET):
            assert (await self.reply(token=token(sub="ann"))).state == {"owner": "ann"}
            assert (await self.reply(api_key=token(sub="ann"))).state == {"owner": "ann"}
            for query, error in (({}, Unauthorized), ({"token": "x"}, Forbidden)):
                with pytest.raises(error):
                    await self.reply(**query)
            with pytest.raises(Forbidden):
                await self.reply(token=token(sub="ann"), userId="ben")

    async def test_a_key_names_its_client(self, stack: Environment, gateway: Gateway):
        async with connected(**stack.app_settings, OWNPILOT_AUTH="api-key", RUNYARD_ADMIN_KEY="sk-root"):
            assert (await self.reply(api_key=gateway.key)).state == {"owner": gateway.id}
            assert (await self.reply(api_key="sk-root", userId="ben")).state == {"owner": "ben"}
            for query, error in (({}, Unauthorized), ({"api_key": "sk-wrong"}, Forbidden)):
                with pytest.raises(error):
                    await self.reply(**query)
