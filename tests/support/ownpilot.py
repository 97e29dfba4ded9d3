"""A client of OwnPilot."""

import json
import uuid
from dataclasses import dataclass, field
from typing import Any

import httpx

BASE = "/ownpilot/api/v1"
BESIDE = {"count", "counts", "stats", "message", "enabled"}
"""What the answers of `/model-configs` have beside `data` too."""


@dataclass
class OwnPilot:
    """A client with a user of its own, so that no other test sees what it keeps."""

    http: httpx.AsyncClient
    user: str = field(default_factory=lambda: f"user {uuid.uuid4()}")

    async def send(self, method: str, path: str, **options: Any) -> httpx.Response:
        """The response to a request about this user's things."""
        target = httpx.URL(f"{BASE}{path}").copy_merge_params({"userId": self.user, **options.pop("params", {})})
        return await self.http.request(method, target, **options)

    async def data(self, method: str, path: str, **options: Any) -> Any:
        """The data of a successful response."""
        answer = await self.send(method, path, **options)
        assert answer.status_code in (200, 201), answer.text
        return data_of(answer)

    async def get(self, path: str, **query: Any) -> Any:
        """The data of a GET."""
        return await self.data("GET", path, params=query)

    async def post(self, path: str, **members: Any) -> Any:
        """The data of a POST with this body."""
        return await self.data("POST", path, json=members)


def data_of(answer: httpx.Response) -> Any:
    """The data of an enveloped response."""
    envelope = answer.json()
    beside = BESIDE if "/model-configs" in answer.request.url.path else set[str]()
    assert set(envelope) - beside == {"success", "data", "meta"} and envelope["success"] is True
    check_meta(answer)
    return envelope["data"]


def check_meta(answer: httpx.Response) -> None:
    """Check what every response tells of itself."""
    meta = answer.json()["meta"]
    assert set(meta) == {"requestId", "timestamp", "processingTime"}
    assert meta["requestId"] == answer.headers["x-request-id"]
    assert len(meta["timestamp"]) == 24 and meta["timestamp"].endswith("Z")


def refused(answer: httpx.Response, status: int, code: str | None = None) -> str:
    """The message of a refusal."""
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert set(body) == {"success", "error", "meta"} and body["success"] is False
    assert {"code", "message"} <= set(body["error"]) <= {"code", "message", "details"}
    assert code is None or body["error"]["code"] == code, body
    check_meta(answer)
    return body["error"]["message"]


MODEL = "stand-in-large"
"""The model with which people talk in tests."""


def script(*turns: Any) -> str:
    """A message that tells the providers' stand-in what to answer, a list of parts for each turn."""
    return f"script: {json.dumps(turns)}"


@dataclass
class Chatting(OwnPilot):
    """A person with a provider that can be asked."""

    provider: str = ""

    async def say(self, message: str, **members: Any) -> Any:
        """The data of the answer to a message."""
        return await self.data("POST", "/chat", json=self.body(message, **members))

    def body(self, message: str, **members: Any) -> dict[str, Any]:
        """The body of a message."""
        return {"message": message, "provider": self.provider, "model": MODEL, **members}

    async def events(self, message: str, **members: Any) -> list[tuple[str, dict[str, Any]]]:
        """The events of a streamed answer, without those of silence."""
        answer = await self.send("POST", "/chat", json=self.body(message, stream=True, **members))
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"].startswith("text/event-stream")
        return events_of(answer.text)


def events_of(body: str) -> list[tuple[str, dict[str, Any]]]:
    """The events of a body: name and data."""
    found: list[tuple[str, dict[str, Any]]] = []
    for block in body.split("\n\n"):
        if block and not block.startswith(":"):
            name, data = block.split("\n")
            found.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return found


async def chatting(http: httpx.AsyncClient, providers: int) -> Chatting:
    """A new person with a provider, which the stand-in at this port is."""
    person = Chatting(http)
    body = {"name": "Stand-in", "providerType": "vllm", "baseUrl": f"http://127.0.0.1:{providers}"}
    person.provider = (await person.post("/local-providers", **body))["id"]
    await person.data("POST", f"/local-providers/{person.provider}/models", json={
        "modelId": MODEL, "contextWindow": 200_000, "maxOutput": 8_000,
    })  # fmt: skip
    return person
