"""OwnPilot, as the contract suite sees it: the groups that are built, of the documented and the web page's routes."""

import csv
import re
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from functions.ownpilot import api
from functions.ownpilot.core.entry import iso
from infra.local.environment import Environment
from tests.support.contract import Description, DocumentedRoute
from tests.support.ownpilot import OwnPilot, data_of, refused

BUILT = {
    "health", "settings", "config-services", "audit", "debug", "tasks", "bookmarks", "notes", "calendar", "contacts",
    "summary", "ws", "local-providers", "costs", "media-settings", "models", "model-configs", "providers",
}  # fmt: skip
SCHEMA = [{"name": "api_key", "label": "Key", "type": "secret", "required": True}]
NEW: dict[str, dict[str, Any]] = {
    "tasks": {"title": "t"},
    "notes": {"title": "t", "content": "c"},
    "bookmarks": {"title": "t", "url": "https://example.com"},
    "calendar": {"title": "t", "startTime": "2030-01-01"},
    "contacts": {"name": "n"},
}
BODIES: dict[str, dict[str, Any]] = {
    "/settings/api-key/{}": {"apiKey": "sk-some-key"},
    "/settings/api-keys": {"provider": "some", "apiKey": "sk-some-key"},
    "/settings/default-provider": {"provider": "some"},
    "/settings/default-model": {"model": "some"},
    "/settings/{}": {"value": 1},
    "/config-services/{}/entries": {"data": {"api_key": "a"}},
    "/costs/estimate": {"provider": "openai", "model": "gpt-4o"},
    "/media-settings/{}": {"provider": "openai"},
    "/providers/{}/toggle": {"enabled": True},
    "/model-configs/{}/{}/toggle": {"enabled": True},
    "/model-configs/providers/{}/toggle": {"enabled": True},
    "/model-configs/providers": {"providerId": "contract", "displayName": "x"},
    "/model-configs": {"providerId": "openai", "modelId": "contract"},
}
COMPLEX = re.compile(r"\(.*\)|\{.*?\}")


def shape(path: str) -> str:
    """A path whatever its parameters are called."""
    return re.sub(r"\{\w+\}", "{}", path)


def segment(path: str) -> str:
    """The first word of a path."""
    return path.removeprefix("/api/v1").strip("/").partition("/")[0]


REGISTERED = {(method, shape(route.path)): route.path for route in api.own_routes for method in route.methods or ()}


def keys_of(text: str) -> frozenset[str]:
    """The members of `[]id,title?` or `task: id,title`, without those that may be absent; none of a text."""
    listed = COMPLEX.sub("", text).removeprefix("[]").rpartition(": ")[2]
    names = [name.strip() for name in listed.split(",")]
    return frozenset(name for name in names if re.fullmatch(r"[a-zA-Z]+", name))


def read(file: str) -> list[DocumentedRoute]:
    """The routes of a file that belong to a group that is built, with the names that their parameters have here."""
    lines = Path(__file__).with_name(file).read_text().removeprefix("#").splitlines()
    found: list[DocumentedRoute] = []
    for row in csv.DictReader(lines, delimiter="\t"):
        if row["path"] == "/ws (WebSocket)":
            found.append(DocumentedRoute("WS", "/ws", "optional", 101, frozenset()))
        if segment(row["path"]) not in BUILT or row.get("used_by") == "-":
            continue
        path = REGISTERED.get((row["method"], shape(row["path"])), row["path"])
        keys = row["data_keys"]
        if keys in ("as PATCH", "task", "[]task") or " (toggles" in keys:
            keys = "id"
        found.append(
            DocumentedRoute(
                row["method"], path, row.get("auth", "optional"), int(row.get("status", 200)), keys_of(keys)
            )
        )
    return found


class OwnPilotDescription(Description):
    """Open to all by default."""

    api = api
    undocumented = frozenset({("GET", "/ws"), ("GET", "/realtime")})
    any_id = frozenset(
        {
            "GET /api/v1/settings/api-key/{provider}",
            "POST /api/v1/settings/api-key/{provider}",
            "DELETE /api/v1/settings/api-key/{provider}",
            "DELETE /api/v1/settings/api-keys/{provider}",
            "POST /api/v1/settings/{key}",
            "GET /api/v1/media-settings/{capability}",
            "POST /api/v1/media-settings/{capability}",
            "DELETE /api/v1/media-settings/{capability}",
        }
    )
    client: OwnPilot
    ids: dict[str, str]
    models_at: str
    """The address of a server that offers models."""

    def __init__(self, name: str):
        self.name = name
        self.routes = [*read("routes.tsv"), *read("routes-undocumented.tsv")]

    async def open(self, environment: Environment) -> httpx.AsyncClient:
        http = httpx.AsyncClient(base_url=environment.url, timeout=60, trust_env=False)
        async with httpx.AsyncClient(base_url=environment.url, timeout=60, trust_env=False) as own:
            self.client = OwnPilot(own, "default")
            self.ids = {noun: (await self.client.post(f"/{noun}", **body))["id"] for noun, body in NEW.items()}
            for due in ("2020-01-01", iso(datetime.now(UTC))):
                await self.client.post("/tasks", title="t", dueDate=due)
            await self._make_service("contract")
            self.ids["entries"] = await self._make_entry()
            self.models_at = f"http://127.0.0.1:{environment.ports['providers']}"
            self.ids["local-providers"] = await self._make_provider()
            await self.client.post("/settings/openai_api_key", value="sk-some-key")
        self.client = OwnPilot(http, "default")
        return http

    async def _make_service(self, name: str) -> str:
        body = {"name": name, "displayName": name, "category": "other", "configSchema": SCHEMA, "multiEntry": True}
        answer = await self.client.send("POST", "/config-services", json=body)
        assert answer.status_code in (201, 409), answer.text
        return name

    async def _make_entry(self) -> str:
        return (await self.client.post("/config-services/contract/entries", data={"api_key": "a"}))["id"]

    def _new_provider(self) -> dict[str, Any]:
        return {"name": f"provider {uuid.uuid4()}", "providerType": "ollama", "baseUrl": self.models_at}

    async def _make_provider(self) -> str:
        return (await self.client.post("/local-providers", **self._new_provider()))["id"]

    async def _make_model(self) -> str:
        path = f"/local-providers/{self.ids['local-providers']}/models"
        return (await self.client.post(path, modelId=str(uuid.uuid4())))["id"]

    async def _make_override(self) -> str:
        await self.client.data("PUT", "/model-configs/openai/gpt-4o", json={"displayName": "x"})
        return "gpt-4o"

    async def _make_own_provider(self, route: DocumentedRoute) -> str:
        """A provider of one's own; one of the catalogue, which is shown again, where only that will do."""
        id_ = "zeldoc" if "/sync/" in route.path else "contract"
        await self.client.post("/model-configs/providers", providerId=id_, displayName="x", apiBaseUrl=self.models_at)
        return id_

    async def url_for(self, route: DocumentedRoute) -> str:
        path = route.path
        if "config-services/{name}/" in path:
            path = path.replace("{name}", "contract")
        if "{model_id}" in path:
            path = path.replace("{local_provider_id}", self.ids["local-providers"])
        if "{model}" in path:
            path = path.replace("{model}", await self._make_override())
        return f"/ownpilot{re.sub(r'{[a-z_]+}', await self.id_for(route), path)}"

    async def id_for(self, route: DocumentedRoute) -> str:
        noun, gone = segment(route.path), route.method == "DELETE"
        if noun in NEW:
            return (await self.client.post(f"/{noun}", **NEW[noun]))["id"] if gone else self.ids[noun]
        if "{entry_id}" in route.path:
            return await self._make_entry() if gone else self.ids["entries"]
        if noun == "local-providers":
            if "{model_id}" in route.path:
                return await self._make_model()
            return await self._make_provider() if gone else self.ids[noun]
        if noun == "model-configs" and "{provider_id}" in route.path:
            return await self._make_own_provider(route)
        if noun == "media-settings":
            return "image_generation"
        if noun == "config-services":
            return await self._make_service("unwanted" if gone else "contract")
        if route.path.endswith("/settings/{key}"):
            await self.client.post("/settings/theme", value="dark")
            return "theme"
        return "openai"

    def body_for(self, route: DocumentedRoute) -> dict[str, Any]:
        path, noun = shape(route.path.removeprefix("/api/v1")), segment(route.path)
        if path == "/config-services" and route.method == "POST":
            return {"json": {"name": "contract_new", "displayName": "x", "category": "x"}}
        if path == "/local-providers":
            return {"json": self._new_provider()} if route.method == "POST" else {}
        if path == "/local-providers/{}/models" and route.method == "POST":
            return {"json": {"modelId": str(uuid.uuid4())}}
        if noun in NEW and route.method == "POST" and "{" not in path:
            return {"json": NEW[noun]}
        return {"json": BODIES.get(path, {})} if route.method in ("POST", "PUT", "PATCH") else {}

    def data_of(self, answer: httpx.Response) -> dict[str, Any]:
        if "success" not in answer.json():  # the probes have no envelope
            return answer.json()
        data = data_of(answer)
        return data[0] if isinstance(data, list) else data

    def refused(self, answer: httpx.Response, status: int) -> str:
        return refused(answer, status)


DESCRIPTION = OwnPilotDescription("ownpilot")
