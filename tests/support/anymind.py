"""Users of Anymind, over HTTP."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from infra.local.environment import Environment

PASSWORD = "a long text"
BASE = "/anymind/api/v1"


def new_name() -> dict[str, str]:
    """The e-mail address and the user name of a user that does not exist."""
    name = f"user{uuid.uuid4().hex[:12]}"
    return {"email": f"{name}@example.com", "username": name}


@dataclass
class Anymind:
    """A user: `http` sends the API key, `token` and `key` are the credentials."""

    http: httpx.AsyncClient
    id: int
    name: str
    token: str
    key: str

    @property
    def bearer(self) -> dict[str, str]:
        """The header with the token."""
        return {"Authorization": f"Bearer {self.token}"}

    @property
    def by_key(self) -> dict[str, str]:
        """The header with the API key."""
        return {"X-API-Key": self.key}

    async def agent(self, name: str = "my-agent", **members: Any) -> dict[str, Any]:
        """A new agent."""
        return await self.ok("POST", "/agents", 201, json={"name": name, **members})

    async def ok(self, method: str, path: str, status: int = 200, **given: Any) -> Any:
        """The JSON of a response with this status, None without a body; `path` is what follows `/api/v1`."""
        answer = await self.http.request(method, f"{BASE}{path}", **given)
        assert answer.status_code == status, answer.text
        return answer.json() if answer.content else None


@asynccontextmanager
async def registered(environment: Environment) -> AsyncIterator[Anymind]:
    """A new user with an API key."""
    limits = httpx.Limits(max_connections=200)
    async with httpx.AsyncClient(base_url=environment.url, timeout=300, limits=limits, trust_env=False) as http:
        yield await sign_up(http)


async def sign_up(http: httpx.AsyncClient) -> Anymind:
    """Register, log in and make an API key, which `http` sends from then on."""
    names = new_name()
    made = await http.post(f"{BASE}/auth/register", json={**names, "password": PASSWORD})
    assert made.status_code == 201, made.text
    # An address of its own: other tests let logins fail, which locks an address out.
    own = {"X-Forwarded-For": f"user-{names['username']}"}
    login = await http.post(
        f"{BASE}/auth/login", json={"username": names["username"], "password": PASSWORD}, headers=own
    )
    assert login.status_code == 200, login.text
    token = login.json()["access_token"]
    bearer = {"Authorization": f"Bearer {token}"}
    key = await http.post(f"{BASE}/api-keys", json={"name": "My CLI Key"}, headers=bearer)
    assert key.status_code == 201, key.text
    http.headers["X-API-Key"] = key.json()["key"]
    return Anymind(http, made.json()["id"], names["username"], token, key.json()["key"])


def refused(answer: httpx.Response, status: int) -> str:
    """Check that a response has this status and the shape of an error; return its text."""
    assert answer.status_code == status, (answer.status_code, answer.text)
    assert list(answer.json()) == ["detail"]
    assert isinstance(answer.json()["detail"], str)
    return answer.json()["detail"]
