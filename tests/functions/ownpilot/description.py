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
from infra.emulator.providers import google
from infra.local.environment import Environment
from tests.support.contract import Description, DocumentedRoute
from tests.support.ownpilot import OwnPilot, data_of, refused
from tests.support.waiting import eventually

BUILT = {
    "health", "settings", "config-services", "audit", "debug", "tasks", "bookmarks", "notes", "calendar", "contacts",
    "summary", "ws", "custom-data", "memories", "goals", "expenses", "pomodoro", "habits", "captures", "profile",
    "local-providers", "costs", "media-settings", "models", "model-configs", "providers", "tools",
    "chat", "agents", "autonomy", "dashboard", "database", "triggers", "plans", "channels", "auth", "integrations",
    "custom-tools", "plugins", "file-workspaces", "workspaces",
}  # fmt: skip
SCHEMA = [{"name": "api_key", "label": "Key", "type": "secret", "required": True}]
WEBHOOK_SECRET = "a-secret-for-tests-only"
NEW: dict[str, dict[str, Any]] = {
    "tasks": {"title": "t"},
    "notes": {"title": "t", "content": "c"},
    "bookmarks": {"title": "t", "url": "https://example.com"},
    "calendar": {"title": "t", "startTime": "2030-01-01"},
    "contacts": {"name": "n"},
    "expenses": {"amount": 1, "category": "food", "description": "d"},
    "habits": {"name": "n"},
    "captures": {"content": "c"},
    "memories": {"type": "fact", "content": "c"},
    "goals": {"title": "t"},
    "agents": {"name": "n", "systemPrompt": "p"},
    "channels": {"type": "webchat", "name": "n", "config": {"webhookSecret": WEBHOOK_SECRET}},
    "triggers": {"name": "n", "type": "webhook", "config": {}, "action": {"type": "notification"}},
    "plans": {"name": "n", "goal": "g"},
    "file-workspaces": {"name": "n"},
    "workspaces": {"name": "n"},
    "custom-tools": {"description": "d", "parameters": {}, "code": "return 1;"},
}
SINGULAR = {
    "memories": "memory", "goals": "goal", "habits": "habit", "captures": "capture", "triggers": "trigger",
    "plans": "plan",
}  # fmt: skip
"""The member that holds a new record, where it is not the whole answer."""

CHAT_MODEL = "stand-in-small"
TABLE = {"displayName": "t", "columns": [{"name": "title", "type": "text"}]}
BODIES: dict[str, dict[str, Any]] = {
    "/settings/api-key/{}": {"apiKey": "sk-some-key"},
    "/settings/api-keys": {"provider": "some", "apiKey": "sk-some-key"},
    "/settings/default-provider": {"provider": "some"},
    "/settings/default-model": {"model": "some"},
    "/settings/{}": {"value": 1},
    "/config-services/{}/entries": {"data": {"api_key": "a"}},
    "/expenses/categories": {"category": "food", "budget": 1},
    "/pomodoro/session/start": {"type": "work", "durationMinutes": 25},
    "/captures/{}/process": {"processedAsType": "discarded"},
    "/profile/data": {"category": "identity", "key": "name", "value": "n"},
    "/profile/import": {"entries": []},
    "/custom-data/tables": {"name": "contract_new", **TABLE},
    "/custom-data/tables/{}/records": {"data": {"title": "t"}},
    "/custom-data/tables/{}/records/{}": {"data": {"title": "t"}},
    "/custom-data/tables/{}/search": {"query": "t"},
    "/custom-data/records/{}": {"data": {"title": "t"}},
    "/memories/search": {"query": "t"},
    "/goals/{}/steps": {"title": "t"},
    "/plans/{}/steps": {"type": "user_input", "name": "n", "orderNum": 1, "config": {"question": "q"}},
    "/plans/{}/resume": {"input": "a"},
    "/costs/estimate": {"provider": "openai", "model": "gpt-4o"},
    "/chat/history/{}/archive": {"archived": True},
    "/media-settings/{}": {"provider": "openai"},
    "/autonomy/assess": {"category": "tool_execution", "actionType": "delete_file"},
    "/autonomy/level": {"level": 2},
    "/autonomy/tools/allow": {"tool": "contract"},
    "/autonomy/tools/block": {"tool": "contract"},
    "/custom-tools/test": {"code": "return 1;"},
    "/plugins/{}/permissions": {"permissions": ["network"]},
    "/plugins/{}/settings": {"settings": {"units": "imperial"}},
    "/tools/batch": {"executions": [{"tool": "list_tasks"}]},
    "/providers/{}/toggle": {"enabled": True},
    "/model-configs/{}/{}/toggle": {"enabled": True},
    "/model-configs/providers/{}/toggle": {"enabled": True},
    "/model-configs/providers": {"providerId": "contract", "displayName": "x"},
    "/model-configs": {"providerId": "openai", "modelId": "contract"},
    "/channels/messages/{}/reply": {"content": "c"},
    "/channels/{}/send": {"content": "c", "chatId": "1"},
    "/auth/config/google": {"clientId": "contract", "clientSecret": google.SECRET},
    "/file-workspaces/{}/files/{}": {"content": "c"},
    "/workspaces/{}/files/{}": {"content": "c"},
    "/workspaces/{}/execute": {"language": "shell", "code": "true"},
}
DATABASE_USER = "contract-database"
"""Whose data the routes of `/database` replace: nobody else's is there to be lost."""

COMPLEX = re.compile(r"\(.*\)|\{.*?\}")


def shape(path: str) -> str:
    """A path whatever its parameters are called."""
    return re.sub(r"\{\*?\w+\}", "{}", path)


def segment(path: str) -> str:
    """The first word of a path."""
    return path.removeprefix("/api/v1").strip("/").partition("/")[0]


REGISTERED = {
    (method, shape(route.path_format)): route.path_format for route in api.own_routes for method in route.methods or ()
}


OPEN = {
    *((method, f"{base}{path}") for base in ("/health", "/api/v1/health")
      for method, path in [("GET", ""), ("GET", "/live"), ("GET", "/ready"), ("GET", "/sandbox"),
                           ("POST", "/sandbox/reset"), ("POST", "/sandbox/pull-images")]),
    ("POST", "/api/v1/channels/{channel_id}/webhook"), ("GET", "/api/v1/auth/google/start"),
    ("GET", "/api/v1/auth/google/callback"),
    ("GET", "/ws"), ("GET", "/realtime"), ("GET", "/"), ("GET", "/docs"), ("GET", "/docs/{name}"),
    ("GET", "/openapi.json"),
}  # fmt: skip
"""The routes that ask nobody who they are."""

CLOSED = sorted(
    {(method, route.path) for route in api.own_routes for method in route.methods or ()} - OPEN
)  # fmt: skip


def keys_of(text: str) -> frozenset[str]:
    """The members of `[]id,title?` or `task: id,title`, without those that may be absent.

    None of a text, of events, and of an object whose members have no fixed names.
    """
    if text.startswith(("{", "text/event-stream")):
        return frozenset()
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
        whole = ("as PATCH", "task", "[]task", "expense", "[]integration")
        if keys in whole or keys.startswith(("record ", "[]record ")) or " (toggles" in keys:
            keys = "id"
        status = int(row.get("status") or (201 if " 201 " in keys else 200))
        found.append(DocumentedRoute(row["method"], path, row.get("auth", "optional"), status, keys_of(keys)))
    return found


class OwnPilotDescription(Description):
    """Open to all by default."""

    api = api
    undocumented = frozenset(
        {("GET", "/ws"), ("GET", "/realtime"), *((method, "/mcp") for method in ("GET", "POST", "DELETE"))}
    )
    any_id = frozenset(
        {
            "GET /api/v1/settings/api-key/{provider}",
            "POST /api/v1/settings/api-key/{provider}",
            "DELETE /api/v1/settings/api-key/{provider}",
            "DELETE /api/v1/settings/api-keys/{provider}",
            "POST /api/v1/settings/{key}",
            "GET /api/v1/profile/{category}",
            "PUT /api/v1/profile/{category}",
            "GET /api/v1/media-settings/{capability}",
            "POST /api/v1/media-settings/{capability}",
            "DELETE /api/v1/media-settings/{capability}",
            "DELETE /api/v1/autonomy/tools/{tool}",
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
            self.ids = {noun: await self._make(noun) for noun in NEW}
            await self.client.post(f"/captures/{self.ids['captures']}/process", processedAsType="discarded")
            self.ids["steps"] = await self._make_step()
            await self._make_table("contract")
            self.ids["records"] = await self._make_record()
            for due in ("2020-01-01", iso(datetime.now(UTC))):
                await self.client.post("/tasks", title="t", dueDate=due)
            await self._make_service("contract")
            self.ids["entries"] = await self._make_entry()
            self.models_at = f"http://127.0.0.1:{environment.ports['providers']}"
            self.ids["local-providers"] = await self._make_provider()
            await self.client.data("PATCH", f"/local-providers/{self.ids['local-providers']}/set-default")
            self.ids["chat"] = await self._make_conversation()
            self.ids["logs"] = (await self.client.get("/chat/logs"))["logs"][0]["id"]
            await self.client.post("/settings/openai_api_key", value="sk-some-key")
            self.ids["inbox"] = await self._make_message()
        self.client = OwnPilot(http, "default")
        return http

    async def _make(self, noun: str) -> str:
        made = await self.client.post(f"/{noun}", **self._new(noun))
        return (made if "id" in made else made[SINGULAR[noun]])["id"]

    async def _make_session(self, *, running: bool) -> None:
        await self.client.send("POST", "/pomodoro/session/stop")
        if running:
            await self.client.post("/pomodoro/session/start", **BODIES["/pomodoro/session/start"])

    def _new(self, noun: str) -> dict[str, Any]:
        if noun == "custom-tools":
            return {**NEW[noun], "name": f"tool_{uuid.uuid4().hex}"}
        return {**NEW[noun], "content": str(uuid.uuid4())} if noun == "memories" else NEW[noun]

    async def _make_step(self) -> str:
        return (await self.client.post(f"/goals/{self.ids['goals']}/steps", title="t"))["steps"][0]["id"]

    async def _make_plan_step(self, plan: str) -> str:
        return (await self.client.post(f"/plans/{plan}/steps", **BODIES["/plans/{}/steps"]))["step"]["id"]

    async def _make_plan(self, route: DocumentedRoute) -> str:
        """A plan with a checkpoint; one that waits for its user, where a route goes on with it."""
        plan = await self._make("plans")
        await self.client.post(f"/plans/{plan}/checkpoint")
        if route.path.endswith("/resume"):
            await self._make_plan_step(plan)
            await self.client.post(f"/plans/{plan}/execute")
        return plan

    async def _make_table(self, name: str) -> str:
        answer = await self.client.send("POST", "/custom-data/tables", json={"name": name, **TABLE})
        assert answer.status_code == 201 or "exists already" in answer.text, answer.text
        return name

    async def _make_record(self) -> str:
        return (await self.client.post("/custom-data/tables/contract/records", data={"title": "t"}))["id"]

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
        made = (await self.client.post("/local-providers", **self._new_provider()))["id"]
        await self.client.post(f"/local-providers/{made}/models", modelId=CHAT_MODEL, contextWindow=16_000)
        return made

    async def _make_model(self) -> str:
        path = f"/local-providers/{self.ids['local-providers']}/models"
        return (await self.client.post(path, modelId=str(uuid.uuid4())))["id"]

    async def _make_message(self) -> str:
        path = f"/channels/{self.ids['channels']}/webhook"
        return (await self.client.data("POST", path, **self._incoming()))["messageId"]

    def _incoming(self) -> dict[str, Any]:
        """What brings a message through a web chat."""
        return {
            "json": {"id": str(uuid.uuid4()), "content": "c"},
            "headers": {"X-Webhook-Secret": WEBHOOK_SECRET},
        }

    async def _make_integration(self) -> str:
        start = await self.client.send("GET", "/auth/google/start")
        back = (await self.client.http.get(start.headers["location"])).headers["location"]
        await self.client.http.get(back)
        return (await self.client.get("/integrations"))[0]["id"]

    def _message(self) -> dict[str, Any]:
        return {"message": "m", "provider": self.ids["local-providers"], "model": CHAT_MODEL}

    async def _make_conversation(self) -> str:
        await self.client.post("/chat/reset-context", clearAll=True)
        return (await self.client.post("/chat", **self._message()))["conversationId"]

    async def _make_override(self) -> str:
        await self.client.data("PUT", "/model-configs/openai/gpt-4o", json={"displayName": "x"})
        return "gpt-4o"

    async def _make_tool(self, action: str) -> str:
        """A custom tool to which this can be done; none has the name of the example."""
        for each in (await self.client.get("/custom-tools", limit=1000))["tools"]:
            if each["name"] == "format_phone":
                await self.client.data("DELETE", f"/custom-tools/{each['id']}")
        waits = {"createdBy": "llm"} if action in ("approve", "reject") else {}
        return (await self.client.post("/custom-tools", **self._new("custom-tools"), **waits))["id"]

    async def _make_action(self) -> str:
        """A call of a tool that waits for a decision."""
        await self.client.post("/autonomy/tools/block", tool="hash_text")
        await self.client.post("/tools/hash_text/execute", arguments={"text": str(uuid.uuid4())})
        await self.client.data("DELETE", "/autonomy/tools/hash_text")
        return (await self.client.get("/autonomy/pending"))["pending"][0]["id"]

    async def _make_own_provider(self, route: DocumentedRoute) -> str:
        """A provider of one's own; one of the catalogue, which is shown again, where only that will do."""
        id_ = "zeldoc" if "/sync/" in route.path else "contract"
        await self.client.post("/model-configs/providers", providerId=id_, displayName="x", apiBaseUrl=self.models_at)
        return id_

    async def url_for(self, route: DocumentedRoute) -> str:
        path = route.path
        if "config-services/{name}/" in path:
            path = path.replace("{name}", "contract")
        if route.method == "POST" and path.endswith("/chat"):
            await self._make_provider()  # those before may be switched off by now
        if segment(path) in ("auth", "integrations"):
            await self.client.post("/auth/config/google", **BODIES["/auth/config/google"])
            self.ids["integrations"] = await self._make_integration()
        if "/pomodoro/session/" in path:
            await self._make_session(running=not path.endswith("start"))
        if path.endswith("/profile/data"):
            await self.client.post("/profile/data", **BODIES["/profile/data"])
        if path.endswith(("_id}", "/records", "/search")):
            path = path.replace("{table}", "contract")
        if "{step_id}" in path:
            path = path.replace("{goal_id}", self.ids["goals"]).replace("{plan_id}", self.ids["plans"])
        if route.method == "POST" and path.endswith(("/memories", "v1/workspaces")):
            path += f"?userId={uuid.uuid4()}"  # so that the memory is a new one, and the workspace one of few
        if "{model_id}" in path:
            path = path.replace("{local_provider_id}", self.ids["local-providers"])
        if "/{workspace_id}/" in path and "{path}" in path:
            at = f"/{segment(path)}/{self.ids[segment(path)]}/files/a.txt"
            path = path.replace("{workspace_id}", self.ids[segment(path)]).replace("{path}", "a.txt")
            await self.client.data("PUT", at, json={"content": "c"})
        if "{model}" in path:
            path = path.replace("{model}", await self._make_override())
        if segment(path) == "database":
            path += f"?userId={DATABASE_USER}"
            await self._at_rest()
            if route.method == "DELETE" or "/restore" in path:
                self.ids["backup"] = await self._make_backup()
        return f"/ownpilot{re.sub(r'{[a-z_]+}', await self.id_for(route), path)}"

    async def _at_rest(self) -> None:
        """Wait for the end of what an earlier request has begun with the data: there is one operation at a time."""

        async def state() -> Any:
            return await OwnPilot(self.client.http, DATABASE_USER).get("/database/operations")

        await eventually(state, until=lambda it: not it["isRunning"])

    async def _make_backup(self) -> str:
        made = await OwnPilot(self.client.http, DATABASE_USER).send("POST", "/database/backup", json={})
        await self._at_rest()
        return data_of(made)["filename"]

    async def id_for(self, route: DocumentedRoute) -> str:
        if segment(route.path) == "database":
            return self.ids.get("backup", "")
        noun, gone = segment(route.path), route.method == "DELETE" or route.path.endswith("/process")
        if "{log_id}" in route.path:
            return self.ids["logs"]
        if "{message_id}" in route.path:
            return self.ids["inbox"]
        if noun == "integrations":
            return self.ids[noun]
        if noun == "chat":
            return await self._make_conversation() if gone else self.ids["chat"]
        if noun == "plans" and "{step_id}" in route.path:
            return await self._make_plan_step(self.ids["plans"])
        if noun == "plans" and "{plan_id}/" in route.path:
            return await self._make_plan(route)
        if "{step_id}" in route.path:
            return await self._make_step() if gone else self.ids["steps"]
        if noun == "custom-data":
            if "{record_id}" in route.path:
                return await self._make_record() if gone else self.ids["records"]
            return await self._make_table("unwanted" if gone else "contract")
        if noun == "custom-tools":
            return await self._make_tool(route.path.rpartition("/")[2])
        if noun in NEW:
            return await self._make(noun) if gone else self.ids[noun]
        if noun == "profile":
            return "identity"
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
        if noun == "autonomy":
            return "contract" if route.path.endswith("{tool}") else await self._make_action()
        if noun == "tools":
            return "list_tasks"
        if noun == "plugins":
            return "weather"
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
        if route.path.endswith("/tables/{table}/search") and route.method == "GET":
            return {"params": {"q": "t"}}
        if route.method == "POST" and path == f"/{noun}" and noun in NEW:
            return {"json": self._new(noun)}
        if path == "/chat" and route.method == "POST":
            return {"json": self._message()}
        if path == "/database/restore":
            return {"json": {"filename": self.ids.get("backup", "")}}
        if path == "/channels/{}/webhook":
            return self._incoming()
        if path in ("/auth/google/refresh", "/auth/google/revoke"):
            return {"json": {"integrationId": self.ids["integrations"]}}
        if path == "/local-providers":
            return {"json": self._new_provider()} if route.method == "POST" else {}
        if path == "/local-providers/{}/models" and route.method == "POST":
            return {"json": {"modelId": str(uuid.uuid4())}}
        has_body = route.method in ("POST", "PUT", "PATCH") or path == "/profile/data"
        return {"json": BODIES.get(path, {})} if has_body else {}

    def data_of(self, answer: httpx.Response) -> dict[str, Any]:
        if "success" not in answer.json():  # the probes have no envelope
            return answer.json()
        data = data_of(answer)
        return data[0] if isinstance(data, list) else data

    def refused(self, answer: httpx.Response, status: int) -> str:
        return refused(answer, status)


DESCRIPTION = OwnPilotDescription("ownpilot")
