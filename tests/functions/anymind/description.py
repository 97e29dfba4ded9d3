"""Anymind, as the contract suite sees it."""

from typing import Any

import httpx

from functions.anymind import api
from infra.local.environment import Environment
from tests.support.agents import ECHO, agent_of, built, execute, upload
from tests.support.anymind import BASE, PASSWORD, Anymind, new_name, refused, sign_up
from tests.support.contract import Description, DocumentedRoute


class AnymindDescription(Description):
    """Users with a token and an API key; errors are `{"detail": text}`, lists are arrays without an envelope."""

    api = api
    undocumented = frozenset()
    wrong_credentials = ("Bearer x.y.z", "Basic YTpi", "Bearer", "x.y.z", "Bearer \xff")
    unknown_method = 405
    unknown_id = "999999999"
    odd_id = 400
    taken = ('{"detail":"Email already registered"}', '{"detail":"Agent version not found"}')
    file_name = "agent.tar.gz"
    user: Anymind
    agent_id: str = ""
    execution_id: str = ""
    version: dict[str, Any] | None = None

    async def open(self, environment: Environment) -> httpx.AsyncClient:
        http = httpx.AsyncClient(base_url=environment.url, timeout=300, trust_env=False)
        self.user = await sign_up(http)
        http.headers.update(self.user.bearer)
        self.version = await upload(self.user, agent_of(ECHO))
        self.agent_id = str((await built(self.user, self.version["agent_id"]))["id"])
        self.execution_id = str((await execute(self.user, int(self.agent_id)))["id"])
        example = api.openapi()["components"]["schemas"]["Registration"]["examples"][0]
        await http.post(f"{BASE}/auth/register", json=example)  # so that the example of a login is right
        return http

    async def id_for(self, route: DocumentedRoute) -> str:
        if "{api_key_id}" in route.path:
            made = await self.user.ok("POST", "/api-keys", 201, json={"name": "another"})
            return str(made["id"])
        if "{execution_id}" in route.path:
            return self.execution_id
        if "{filepath}" in route.path:
            return self.version["tarball_path"] if self.version else "none"
        if route.method == "DELETE":
            return str((await self.user.agent())["id"])
        return self.agent_id

    def body_for(self, route: DocumentedRoute) -> dict[str, Any]:
        match str(route):
            case "POST /api/v1/auth/register":
                return {"json": {**new_name(), "password": PASSWORD}}
            case "POST /api/v1/auth/login":
                return {"json": {"username": self.user.name, "password": PASSWORD}}
            case "POST /api/v1/api-keys" | "POST /api/v1/agents":
                return {"json": {"name": "another"}}
            case "PATCH /api/v1/agents/{agent_id}":
                return {"json": {"description": "new"}}
            case "POST /api/v1/uploads/agent/{agent_id}":
                return {"files": {"file": (self.file_name, agent_of(ECHO))}}
            case "POST /api/v1/runtime/{agent_id}/execute":
                return {"json": {"payload": {}}}
            case "POST /api/v1/runtime/execute":
                return {"json": {"agent_version_id": self.version["id"] if self.version else 1, "input_data": {}}}
            case _:
                return {}

    def data_of(self, answer: httpx.Response) -> dict[str, Any]:
        data = answer.json()
        return data[0] if isinstance(data, list) else data

    def refused(self, answer: httpx.Response, status: int) -> str:
        return refused(answer, status)


DESCRIPTION = AnymindDescription("anymind")
