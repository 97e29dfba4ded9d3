"""The storage service stops, or freezes, and goes on: every response says so in time, and nothing is lost."""

import asyncio
import re
import signal
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import httpx
import pytest

from infra.local.environment import Environment
from shared import blobs
from shared.jobs import ARTIFACTS
from tests.support.contract import Description, descriptions
from tests.support.environments import connected
from tests.support.gateway import Gateway, register
from tests.support.values import SHORT_CLOCKS, UNKNOWN, UNLIMITED
from tests.support.waiting import eventually

pytestmark = pytest.mark.long


@dataclass
class Own:
    """An environment whose storage keeps its data when it stops, and a client of its gateway."""

    environment: Environment
    gateway: Gateway

    async def stop_storage(self) -> None:
        assert self.environment.storage
        await self.environment.storage.stop()

    @asynccontextmanager
    async def frozen_storage(self) -> AsyncIterator[None]:
        """Storage accepts connections and answers nothing in this block."""
        assert self.environment.storage and self.environment.storage.process
        self.environment.storage.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.environment.storage.process.send_signal(signal.SIGCONT)


@pytest.fixture(scope="module")
async def own(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Own]:
    temporary = Environment.temporary(tmp_path_factory.mktemp("outage"), **UNLIMITED, **SHORT_CLOCKS)
    environment = replace(temporary, keep=True)
    await environment.start()
    try:
        gateway = await register(environment)
        yield Own(environment, gateway)
        await gateway.http.aclose()
    finally:
        await environment.stop()


async def test_while_storage_is_down_responses_are_503_and_a_run_that_prints_loses_no_line(own: Own):
    gateway = own.gateway
    done = await gateway.reach((await gateway.run("echo before"))["id"])
    printing = await gateway.run("import time\nfor i in range(30):\n    print(i)\n    time.sleep(0.1)\n", "python")
    await gateway.reach(printing["id"], "running")
    await own.stop_storage()
    refused = await asyncio.gather(
        gateway.http.get(f"/gateway/api/runs/{done['id']}"),
        gateway.http.post("/gateway/api/runs", json={"prompt": "true", "model": "bash"}),
        gateway.http.get("/gateway/api/dashboard/stats"),
    )
    for answer in refused:
        assert answer.status_code == 503, (answer.url, answer.text)
        assert answer.json() == {"error": "The storage service does not answer"}
    health = await gateway.http.get("/gateway/health")
    assert (health.status_code, health.json()["database"]) == (503, "disconnected")
    assert (await gateway.http.get("/gateway/health/live")).status_code == 200
    await own.environment.start_storage()
    assert (await gateway.get(done["id"]))["result"] == "before\n"
    printed = await gateway.reach(printing["id"])
    assert (printed["status"], printed["result"]) == ("completed", "".join(f"{i}\n" for i in range(30)))
    again = await gateway.reach((await gateway.run("echo after"))["id"])
    assert (again["status"], again["result"]) == ("completed", "after\n")


class TestLostContainer:
    """The container of the artifacts is deleted while the app runs, as when storage is emptied."""

    async def test_before_an_upload_it_is_created_again(self, own: Own):
        run_id, data = await self.ended_run(own), b"x" * (2 * blobs.CHUNK)
        async with connected(**own.environment.app_settings):
            await blobs.put(ARTIFACTS, "so that it exists", b"")
            await artifacts_container().delete_container()
        answer = await own.gateway.http.post(f"/gateway/api/runs/{run_id}/artifacts", files={"file": ("a", data)})
        assert answer.status_code == 201, answer.text

    async def test_in_the_middle_of_an_upload_it_is_503_and_nothing_is_stored(self, own: Own):
        run_id = await self.ended_run(own)

        async def begun() -> bool:
            found = artifacts_container().list_blobs(f"gateway.upload/{run_id}/", include=["uncommittedblobs"])
            return bool([blob async for blob in found])

        async def form() -> AsyncIterator[bytes]:
            yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
            yield b"x" * (blobs.CHUNK + 1)
            await eventually(begun)
            await artifacts_container().delete_container()
            yield b"x" * blobs.CHUNK + b"\r\n--x--\r\n"

        async with connected(**own.environment.app_settings):
            answer = await own.gateway.http.post(
                f"/gateway/api/runs/{run_id}/artifacts",
                content=form(),
                headers={"Content-Type": "multipart/form-data; boundary=x"},
            )
            assert (answer.status_code, answer.json()) == (503, {"error": "The storage service does not answer"})
            assert not await begun()
        assert "a" not in await own.gateway.artifacts(run_id)

    async def ended_run(self, own: Own) -> str:
        """The id of a run that writes nothing more."""
        run = await own.gateway.run("true")
        return (await own.gateway.reach(run["id"]))["id"]


def artifacts_container() -> Any:
    return blobs._service().get_container_client(ARTIFACTS)


BOUND = 10.0
"""Seconds within which every request is answered, by a machine that answers those without storage at once."""

ALIVE = "/gateway/health/live"

WITHOUT_STORAGE = re.compile(
    r"/(gateway/(health/live|api/models.*|api/system/info)|anymind/(health|api/v1/auth/me)|dev8/(health|live)"
    r"|ownpilot/(mcp|(api/v1/)?health(/live|/sandbox)?|api/v1/(settings/data-info|auth/google/callback)"
    r"|api/v1/(local-providers/templates|model-configs/capabilities/list|models/sync/providers|tools(/.*)?)"
    rf"|api/v1/(expenses|habits|captures|goals|profile|media-settings|agents|custom-tools|plans|plugins|triggers)"
    rf"/{UNKNOWN}(/\w+)?"
    rf"|api/v1/custom-data/(tables/{UNKNOWN}/)?(records/{UNKNOWN}|search))"
    r"|\w+(/(docs.*|openapi.json|ws|realtime)?)?)"
)
"""Routes that read nothing from storage but the caller's key, which may be known.

An id of another form than a record's, a category or a capability that does not exist, and a search without a text are
refused without a look.
"""


async def timed(http: httpx.AsyncClient, method: str, path: str, **given: Any) -> tuple[httpx.Response, float]:
    began = time.monotonic()
    answer = await http.request(method, path, **given)
    return answer, time.monotonic() - began


def is_refused(api: Description, answer: httpx.Response) -> bool:
    """Whether a response is a 503 of its API: health routes show what is unhealthy, all others an error."""
    if re.search("health|ready", answer.url.path) and answer.status_code == 503:
        return True
    return api.refused(answer, 503) == "The storage service does not answer"


@pytest.fixture
async def callers(own: Own) -> AsyncIterator[dict[str, httpx.AsyncClient]]:
    """A client of each API."""
    opened = {api.name: await api.open(own.environment) for api in descriptions()}
    yield opened
    for caller in opened.values():
        await caller.aclose()


async def test_every_route_answers_in_time_while_storage_is_frozen_and_nothing_is_lost(
    own: Own, callers: dict[str, httpx.AsyncClient]
):
    gateway, http = own.gateway, own.gateway.http
    printing = await gateway.run(
        "import time\nfor i in range(60):\n    print(i, flush=True)\n    time.sleep(0.2)\n", "python"
    )
    await gateway.reach(printing["id"], "running")
    target = (await gateway.run("true"))["id"]
    await gateway.reach(target)
    apis = {api.name: api for api in descriptions()}
    paths = [
        (api, f"/{api.name}{re.sub(r'{[a-z_]+}', target if 'run_id' in route.path else api.unknown_id, route.path)}")
        for api in apis.values()
        for route in api.api.own_routes
        if "GET" in (route.methods or ())
    ]
    key = {"Idempotency-Key": uuid.uuid4().hex}
    body = {"prompt": f"echo {uuid.uuid4()}", "model": "bash"}
    writes: list[tuple[str, str, dict[str, Any]]] = [
        ("POST", "/gateway/api/runs", {"json": body, "headers": key}),
        ("POST", "/gateway/api/auth/login", {"json": {"name": uuid.uuid4().hex}}),
        ("POST", "/stepflow/api/executions", {"json": {"command": "true"}}),
        ("POST", f"/gateway/api/runs/{target}/artifacts", {"files": {"file": ("a", b"x" * 100_000)}}),
        ("POST", "/gateway/api/system/cleanup", {"json": {"older_than_days": 30000}}),
        ("DELETE", f"/gateway/api/runs/{target}", {}),
        *[("PATCH", f"/gateway/api/runs/{target}", {"json": {"result": str(n)}}) for n in range(20)],
    ]
    async with own.frozen_storage():
        for _ in range(2):  # at first, and when the app knows
            answers = await asyncio.gather(*(timed(callers[api.name], "GET", path) for api, path in paths))
            lag = next(seconds for (_, path), (_, seconds) in zip(paths, answers, strict=True) if path == ALIVE)
            for (api, path), (answer, seconds) in zip(paths, answers, strict=True):
                assert seconds - lag < BOUND, (path, seconds, lag)
                assert WITHOUT_STORAGE.fullmatch(path) or is_refused(api, answer), (path, answer.text)
            *answers, (_, lag) = await asyncio.gather(
                *(timed(http, verb, path, **given) for verb, path, given in writes), timed(http, "GET", ALIVE)
            )
            for (_, path, _), (answer, seconds) in zip(writes, answers, strict=True):
                assert seconds - lag < BOUND, (path, seconds, lag)
                assert is_refused(apis[path.split("/")[1]], answer)

    async def failing() -> list[str]:
        return [path for api, path in paths if (await callers[api.name].get(path)).status_code >= 500]

    await eventually(failing, until=lambda found: found == [])  # the results of health checks are kept for seconds
    again = [await http.post("/gateway/api/runs", json=body, headers=key) for _ in range(2)]
    assert [answer.status_code for answer in again] == [201, 201]
    runs = (await http.get("/gateway/api/runs", params={"limit": 1000})).json()["runs"]
    assert [run["id"] for run in runs if run["prompt"] == body["prompt"]] == [again[0].json()["id"]]
    done = await gateway.reach(printing["id"])
    assert (done["status"], done["result"]) == ("completed", "".join(f"{i}\n" for i in range(60)))
