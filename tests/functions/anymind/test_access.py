"""Who may call which route: every documented route with every kind of credential."""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import jwt
import pytest

from functions.anymind import tokens
from functions.anymind.records import AgentVersion, ApiKey, Execution, ExecutionStatus, User, VersionStatus
from functions.anymind.store import api_keys, executions, users, versions
from infra.local.environment import Environment
from shared import blobs
from shared.api_keys import new_key
from shared.jobs import ARTIFACTS
from shared.settings import LOCAL_SECRET_KEYS
from tests.functions.anymind.description import DESCRIPTION
from tests.support.anymind import Anymind, new_name, refused, registered
from tests.support.contract import DocumentedRoute
from tests.support.environments import connected

Headers = dict[str, str]

BY_TOKEN = ("/api/v1/auth/me", "/api/v1/api-keys")
"""The beginnings of the paths that an API key does not open."""

GUARDED = [route for route in DESCRIPTION.routes if route.auth == "required"]
OWNED = [route for route in GUARDED if "{" in route.path]
PUBLIC = {"/api/v1/auth/register", "/api/v1/auth/login", "/health", "/"}


@dataclass
class Outsider:
    """The credentials of a user whom the app has not seen yet."""

    token: Headers
    key: Headers


@dataclass
class World:
    """An owner with one record of each kind, and others without any."""

    http: httpx.AsyncClient
    owner: Anymind
    stranger: Anymind
    inactive: Outsider
    deleted: Outsider
    ids: dict[str, str]

    async def send(self, route: DocumentedRoute, headers: Headers, *, malformed: bool = True) -> httpx.Response:
        """The response to a request for the owner's records.

        Its body is malformed, because a credential is judged before a body is read.
        """
        path = re.sub(r"{([a-z_]+)}", lambda match: self.ids[match[1]], route.path)
        sent: dict[str, Any] = DESCRIPTION.body_for(route)
        if malformed and route.method in ("POST", "PATCH"):
            sent, headers = {"content": b"{"}, {**headers, "Content-Type": "application/json"}
        return await self.http.request(route.method, f"/anymind{path}", headers=headers, **sent)


@pytest.fixture(scope="module")
async def world(stack: Environment, anymind: Anymind, http: httpx.AsyncClient) -> AsyncIterator[World]:
    agent_id = str((await anymind.agent())["id"])
    key = await anymind.ok("POST", "/api-keys", 201, json={"name": "x"}, headers=anymind.bearer)
    path = f"agents/{agent_id}/artifacts/agent_{agent_id}_x.tar.gz"
    owned: dict[str, Any] = {"agent_id": agent_id, "user_id": str(anymind.id)}
    async with connected(**stack.app_settings):
        await blobs.put(ARTIFACTS, path, b"x")
        built: dict[str, Any] = {"status": VersionStatus.FAILED, "settled": True, "blob": path, "size": 1}
        version = await versions.insert(AgentVersion(**owned, **built, number=1, tarball_path=path))
        ended: dict[str, Any] = {"input_data": {}, "status": ExecutionStatus.COMPLETED}
        execution = await executions.insert(Execution(**owned, agent_version_id=version.id, **ended))
        inactive, deleted = await outsider(is_active=False), await outsider(is_deleted=True)
    ids = {"agent_id": agent_id, "execution_id": execution.id, "api_key_id": str(key["id"]), "filepath": path}
    async with registered(stack) as stranger:
        yield World(http, anymind, stranger, inactive, deleted, ids)


async def outsider(*, is_active: bool = True, is_deleted: bool = False) -> Outsider:
    """A new user with a token and a key."""
    name = new_name()["username"]
    names: dict[str, Any] = {"email": name, "username": name, "email_key": name, "username_key": name}
    user = await users.insert(User(**names, password_hash="", is_active=is_active))
    key, hashed = new_key("anymind_")
    await api_keys.insert(ApiKey(user_id=user.id, name="x", key_prefix=key[:12], key_hash=hashed))
    if is_deleted:
        await users.delete(user.id)
    return Outsider(bearer(tokens.issue(user.id)), {"X-API-Key": key})


def bearer(token: str) -> Headers:
    return {"Authorization": f"Bearer {token}"}


def forged(user: Anymind) -> dict[str, Headers]:
    """Tokens for this user that the app has not issued, or not for now."""
    now, good = datetime.now(UTC), {"sub": str(user.id), "exp": datetime.now(UTC) + timedelta(minutes=5)}
    head, body, signature = user.token.split(".")
    return {
        "expired": bearer(jwt.encode({**good, "exp": now - timedelta(seconds=1)}, LOCAL_SECRET_KEYS, "HS256")),
        "without an end": bearer(jwt.encode({"sub": str(user.id)}, LOCAL_SECRET_KEYS, "HS256")),
        "of nobody": bearer(jwt.encode({"exp": good["exp"]}, LOCAL_SECRET_KEYS, "HS256")),
        "of a text": bearer(jwt.encode({**good, "sub": "admin"}, LOCAL_SECRET_KEYS, "HS256")),
        "of another key": bearer(jwt.encode(good, "f" * 32, "HS256")),
        "of another algorithm": bearer(jwt.encode(good, LOCAL_SECRET_KEYS, "HS384")),
        "alg: none": bearer(jwt.encode(good, "", "none")),
        "without a signature": bearer(f"{head}.{body}."),
        "altered": bearer(f"{head}.{body[:-2]}AA.{signature}"),
        "in another scheme": {"Authorization": f"Token {user.token}"},
        "twice": bearer(f"{user.token} {user.token}"),
    }


def test_the_open_routes_are_few():
    assert {route.path for route in DESCRIPTION.routes if route.auth != "required"} == PUBLIC


@pytest.mark.parametrize("route", GUARDED, ids=str)
class TestEveryRoute:
    async def test_nobody_and_a_forged_token_are_401(self, world: World, route: DocumentedRoute):
        assert refused(await world.send(route, {}), 401) == "Not authenticated"
        for kind, headers in forged(world.owner).items():
            answer = await world.send(route, headers)
            assert answer.status_code == 401, kind
            refused(answer, 401)

    async def test_a_wrong_key_is_401_beside_a_good_token_too(self, world: World, route: DocumentedRoute):
        for key in ("", "anymind_x", world.owner.key[:-1], world.owner.key.upper()):
            headers = {"X-API-Key": key}
            by_token = route.path.startswith(BY_TOKEN)
            wanted = "Not authenticated" if by_token else "Invalid API key"
            assert refused(await world.send(route, headers), 401) == wanted
            both = await world.send(route, headers | world.owner.bearer)
            assert (both.status_code == 401) is not by_token

    async def test_a_deleted_user_is_401_and_an_inactive_one_403(self, world: World, route: DocumentedRoute):
        refused(await world.send(route, world.deleted.token), 401)
        assert refused(await world.send(route, world.inactive.token), 403) == "Inactive user"
        by_key = 401 if route.path.startswith(BY_TOKEN) else 403
        refused(await world.send(route, world.deleted.key), 401)
        refused(await world.send(route, world.inactive.key), by_key)

    async def test_the_owner_passes_with_a_token_and_where_it_is_enough_with_a_key(
        self, world: World, route: DocumentedRoute
    ):
        if route.method == "DELETE":
            pytest.skip("the record would be gone; tested with the route itself")
        assert (await world.send(route, world.owner.bearer)).status_code not in (401, 403, 404)
        by_key = await world.send(route, world.owner.by_key)
        assert (by_key.status_code == 401) is route.path.startswith(BY_TOKEN)


@pytest.mark.parametrize("route", OWNED, ids=str)
async def test_a_stranger_gets_404_as_for_a_record_that_does_not_exist(world: World, route: DocumentedRoute):
    stranger = {**world.stranger.bearer, **world.stranger.by_key}
    answer = await world.send(route, stranger, malformed=False)
    text = refused(answer, 404)
    if "{filepath}" not in route.path:
        unknown = re.sub(r"{[a-z_]+}", DESCRIPTION.unknown_id, route.path)
        missing = await world.http.request(
            route.method, f"/anymind{unknown}", headers=stranger, **DESCRIPTION.body_for(route)
        )
        assert refused(missing, 404) == text
    owned = await world.owner.http.get(f"/anymind/api/v1/agents/{world.ids['agent_id']}")
    assert owned.status_code == 200
