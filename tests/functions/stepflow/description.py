"""StepFlow, as the contract suite sees it."""

from typing import Any

import httpx

from functions.stepflow import api
from infra.local.environment import Environment
from tests.support.contract import Description, DocumentedRoute
from tests.support.stepflow import StepFlow, client_of, refused

COMMAND = "echo x > f; echo ARTIFACT: f"
"""A command that leaves an artifact."""


class StepFlowDescription(Description):
    """Open to all by default; data and errors are in one envelope."""

    api = api
    undocumented = frozenset({("GET", "/ws"), ("GET", "/realtime")})
    client: StepFlow
    ended: dict[str, Any]

    async def open(self, environment: Environment) -> httpx.AsyncClient:
        http = httpx.AsyncClient(base_url=environment.url, timeout=60, trust_env=False)
        async with client_of(environment) as client:
            self.ended = await client.run(COMMAND)
        self.client = StepFlow(http, "")
        return http

    async def id_for(self, route: DocumentedRoute) -> str:
        if str(route) == "POST /api/executions/{execution_id}/cancel":
            return await self.created("sleep 30")
        if str(route) == "DELETE /api/executions/{execution_id}":
            return await self.created("true")
        if "{execution_id}" in route.path:
            return self.ended["execution"]["id"]
        if route.method == "DELETE":
            answer = await self.client.http.post("/stepflow/api/artifacts", **self.upload())
            return answer.json()["data"]["artifact_id"]
        return self.ended["artifacts"][0]["id"]

    async def created(self, command: str) -> str:
        """The id of a new execution."""
        answer = await self.client.http.post("/stepflow/api/executions", json={"command": command})
        return answer.json()["data"]["execution_id"]

    def upload(self) -> dict[str, Any]:
        """The form of an artifact."""
        return {
            "data": {"execution_id": self.ended["execution"]["id"], "name": "x"},
            "files": {"file": ("a", b"b")},
        }

    def body_for(self, route: DocumentedRoute) -> dict[str, Any]:
        match str(route):
            case "POST /api/executions":
                return {"json": {"command": "true"}}
            case "POST /api/artifacts":
                return self.upload()
            case _:
                return {}

    def data_of(self, answer: httpx.Response) -> dict[str, Any]:
        envelope = answer.json()
        assert set(envelope) == {"success", "data", "error", "timestamp"}
        assert (envelope["success"], envelope["error"]) == (True, None)
        assert envelope["timestamp"].endswith("Z")
        return envelope["data"]

    def refused(self, answer: httpx.Response, status: int) -> str:
        return refused(answer, status)


DESCRIPTION = StepFlowDescription("stepflow")
