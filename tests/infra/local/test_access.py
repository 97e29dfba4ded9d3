"""Who may call the services of an environment: nobody without its secrets, and no web page of another site."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from azure.core.exceptions import HttpResponseError
from azure.storage.blob.aio import BlobServiceClient
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from infra.emulator import azurite
from infra.emulator.origins import LOOPBACK, Origins
from infra.local.environment import Environment
from infra.local.keys import Keys, private_folder
from tests.support.environments import another_host
from tests.support.groups import authorization

ARM = "/subscriptions/s/providers/Microsoft.ContainerInstance/containerGroups?api-version=2023-05-01"
DOORS = [
    ("host", "/gateway/openapi.json"),
    ("host", "/gateway/unknown"),
    ("host", "/"),
    ("host", "/admin/host/status"),
    ("host", "/runtime/webhooks/durabletask/instances"),
    ("containers", ARM),
    ("containers", "/local/limits"),
    ("webpubsub", "/api/health"),
    ("webpubsub", "/client/hubs/gateway"),
    ("providers", "/api.json"),
    ("providers", "/local/answers"),
]
FOREIGN_HOSTS = [
    "page.example",
    "page.example:{port}",
    "127.0.0.1.page.example",
    "127.0.0.1@page.example",
    "0.0.0.0",
    "",
]
FOREIGN_ORIGINS = [
    "https://page.example",
    "null",
    "http://127.0.0.1.page.example",
    "http://127.0.0.1@page.example",
    "x",
    "",
]


@pytest.fixture
async def caller(stack: Environment) -> AsyncIterator[httpx.AsyncClient]:
    """A client that knows the token of Container Instances."""
    async with httpx.AsyncClient(headers=authorization(stack), trust_env=False) as client:
        yield client


@pytest.mark.parametrize(("service", "path"), DOORS)
async def test_foreign_hosts_and_origins_are_refused(
    stack: Environment, caller: httpx.AsyncClient, service: str, path: str
):
    port = stack.ports[service]
    address = f"http://127.0.0.1:{port}{path}"
    for host in FOREIGN_HOSTS:
        answer = await caller.get(address, headers={"Host": host.format(port=port)})
        assert answer.status_code in (421, 400), host
        assert "access-control-allow-origin" not in answer.headers
    for origin in FOREIGN_ORIGINS:
        answer = await caller.post(address, headers={"Origin": origin}, json={})
        assert answer.status_code == 403, origin
        assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(("service", "path"), DOORS)
async def test_this_machine_by_each_of_its_names_is_answered(
    stack: Environment, caller: httpx.AsyncClient, service: str, path: str
):
    port = stack.ports[service]
    for name in LOOPBACK:
        headers = {"Host": f"{name.upper()}:{port}", "Origin": f"http://{name}:3000"}
        answer = await caller.get(f"http://127.0.0.1:{port}{path}", headers=headers)
        assert answer.status_code not in (401, 403, 421), answer.text


@pytest.mark.parametrize(("service", "path"), [("host", "/gateway/ws"), ("webpubsub", "/client/hubs/gateway")])
@pytest.mark.parametrize("headers", [{"Origin": "https://page.example"}, {"Origin": "null"}])
async def test_a_page_of_another_site_opens_no_socket(
    stack: Environment, service: str, path: str, headers: dict[str, str]
):
    with pytest.raises(InvalidStatus) as refused:
        async with connect(f"ws://127.0.0.1:{stack.ports[service]}{path}", additional_headers=headers, proxy=None):
            pass
    assert refused.value.response.status_code == 403


async def test_settings_allow_more_hosts_and_pages(stack: Environment, tmp_path: Path):
    more = {"RUNYARD_CORS_ORIGINS": "https://app.example, https://b.example", "RUNYARD_LOCAL_HOSTS": "box.example"}
    more["ANYMIND_CORS_ORIGINS"] = "https://agents.example"
    async with another_host(stack, tmp_path, **more) as http:
        answer = await http.get("/anymind/health", headers={"Origin": "https://agents.example"})
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, "https://agents.example")
        for origin in ("https://app.example", "https://b.example", "http://localhost:3000"):
            answer = await http.get("/gateway/openapi.json", headers={"Host": "box.example:80", "Origin": origin})
            assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, origin)
            admin = await http.get("/admin/host/status", headers={"Origin": origin})
            assert admin.status_code == (200 if "localhost" in origin else 403)
        assert (await http.get("/gateway/openapi.json", headers={"Origin": "https://c.example"})).status_code == 403


def test_a_wildcard_allows_all_pages_what_is_for_pages():
    origins = Origins(pages=frozenset({"*"}))
    assert origins.refusal("localhost", "https://page.example", for_pages=True) is None
    assert origins.refusal("localhost", "https://page.example", for_pages=False) is not None
    assert origins.refusal("page.example", "https://page.example", for_pages=True) is not None


async def test_storage_refuses_the_published_key(stack: Environment):
    ports = stack.ports
    published = azurite.connection_string(ports["blob"], ports["queue"], ports["table"])
    async with BlobServiceClient.from_connection_string(published, retry_total=0) as blobs:
        with pytest.raises(HttpResponseError) as refused:
            await blobs.create_container("any")
    assert refused.value.status_code == 403


def test_keys_are_kept_and_only_the_user_can_read_them(tmp_path: Path):
    state = tmp_path / "state"
    state.mkdir(mode=0o755)
    first, second = Keys.kept_in(state), Keys.kept_in(state)
    assert (first.storage, first.webpubsub) == (second.storage, second.webpubsub)
    assert first.containers != second.containers
    assert {file.stat().st_mode & 0o777 for file in state.iterdir()} == {0o600}
    assert state.stat().st_mode & 0o777 == 0o700
    assert first.storage not in repr(first) and first.containers not in repr(Environment(state, keys=first))


def test_a_folder_of_data_is_made_private(tmp_path: Path):
    private_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700
