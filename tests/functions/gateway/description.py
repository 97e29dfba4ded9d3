"""The gateway, as the contract suite sees it."""

import uuid
from typing import Any

import httpx

from functions.gateway import api
from infra.local.environment import Environment
from tests.support.contract import Description, DocumentedRoute
from tests.support.gateway import Gateway, register


class GatewayDescription(Description):
    """Clients with API keys; errors are `{"error": message}`, data has no envelope."""

    api = api
    undocumented = frozenset({("GET", "/api/runs/{run_id}/log"), ("GET", "/ws"), ("GET", "/realtime")})
    wrong_credentials = ("Bearer sk-unknown", "Basic YTpi", "Bearer", "sk-unknown", "Bearer \xff")
    taken = ('{"error":"Client already exists"}',)
    client: Gateway
    run: str

    async def open(self, environment: Environment) -> httpx.AsyncClient:
        self.client = await register(environment)
        self.run = await self.failed_run()
        return self.client.http

    async def failed_run(self) -> str:
        """The id of a run that its client has declared failed, so that it has an alert."""
        run = await self.client.run("sleep 30")
        answer = await self.client.http.patch(f"/gateway/api/runs/{run['id']}", json={"status": "failed"})
        assert answer.status_code == 200, answer.text
        return run["id"]

    async def id_for(self, route: DocumentedRoute) -> str:
        noun = route.path.split("/")[2]
        match noun:
            case "runs" if route.method == "DELETE":
                return (await self.client.run("sleep 30"))["id"]
            case "runs":
                return self.run
            case "artifacts":
                url = f"/gateway/api/runs/{self.run}/artifacts"
                return (await self.client.http.post(url, files={"file": ("a", b"x")})).json()["id"]
            case "alerts":
                answer = await self.client.http.get("/gateway/api/alerts", params={"run_id": await self.failed_run()})
                return answer.json()["alerts"][0]["id"]
            case "clients" if route.method == "GET":
                return self.client.id
            case "clients":
                answer = await self.client.http.post("/gateway/api/auth/login", json={"name": f"client {uuid.uuid4()}"})
                return answer.json()["id"]
            case _:
                return "bash"  # a model

    def body_for(self, route: DocumentedRoute) -> dict[str, Any]:
        match str(route):
            case "POST /api/auth/login" | "POST /api/auth/register" | "PATCH /api/clients/{client_id}":
                return {"json": {"name": f"client {uuid.uuid4()}"}}
            case "POST /api/auth/verify":
                return {"json": {"api_key": self.client.key}}
            case "POST /api/runs":
                return {"json": {"prompt": "true", "model": "bash"}}
            case "PATCH /api/runs/{run_id}":
                return {"json": {"result": "by hand"}}
            case "POST /api/runs/{run_id}/artifacts":
                return {"files": {"file": ("a", b"x")}}
            case "DELETE /api/alerts/clear":
                return {"params": {"run_id": self.run, "type": "info"}}
            case _:
                return {}

    def data_of(self, answer: httpx.Response) -> dict[str, Any]:
        return answer.json()

    def refused(self, answer: httpx.Response, status: int) -> str:
        assert answer.status_code == status, answer.text
        assert list(answer.json()) == ["error"]
        return answer.json()["error"]


DESCRIPTION = GatewayDescription("gateway")
