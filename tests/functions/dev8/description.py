"""Dev8, as the contract suite sees it."""

from typing import Any

import httpx

from functions.dev8 import api
from infra.local.environment import Environment
from tests.support.contract import Description, DocumentedRoute
from tests.support.dev8 import NEW, Dev8, refused
from tests.support.values import UNKNOWN

PATH = "/api/v1/environments"


class Dev8Description(Description):
    """Open to all by default; errors have a title, a message and a code."""

    api = api
    undocumented = frozenset({("POST", f"{PATH}/start"), ("POST", f"{PATH}/stop"), ("DELETE", PATH)})
    unknown_method = 405
    unknown_id = f"env-{UNKNOWN.replace('-', '')}"
    base: str
    running: str

    async def open(self, environment: Environment) -> httpx.AsyncClient:
        http = httpx.AsyncClient(base_url=environment.url, timeout=60, trust_env=False)
        base = f"{environment.url}/dev8"
        async with httpx.AsyncClient(base_url=base, timeout=60, trust_env=False) as own:
            self.running = (await Dev8(own).running())["id"]
        self.base = base
        return http

    async def id_for(self, route: DocumentedRoute) -> str:
        async with httpx.AsyncClient(base_url=self.base, timeout=60, trust_env=False) as own:
            client = Dev8(own)
            match str(route):
                case "POST /api/v1/environments/{environment_id}/start":
                    return (await client.stopped())["id"]
                case "POST /api/v1/environments/{environment_id}/stop":
                    return (await client.running())["id"]
                case "DELETE /api/v1/environments/{environment_id}":
                    return (await client.create())["id"]
                case _:
                    return self.running

    def body_for(self, route: DocumentedRoute) -> dict[str, Any]:
        match str(route):
            case "POST /api/v1/environments":
                return {"json": NEW}
            case "POST /api/v1/environments/{environment_id}/activity":
                return {"json": {"snapshot": {}, "timestamp": "2025-10-24T11:00:00Z"}}
            case _:
                return {}

    def data_of(self, answer: httpx.Response) -> dict[str, Any]:
        return answer.json()

    def refused(self, answer: httpx.Response, status: int) -> str:
        return refused(answer, status)


DESCRIPTION = Dev8Description("dev8")
