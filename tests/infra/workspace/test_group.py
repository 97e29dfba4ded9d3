"""A workspace and its proxy as a container group: editor over TLS, files, and reports of its use."""

import asyncio
import base64
import json
import re
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from azure.mgmt.containerinstance.models import ContainerGroup, ContainerPort, IpAddress, Port, Volume, VolumeMount

from infra.local.workspaces import IDE, IMAGES, workspace_images
from tests.infra.emulator.containers.harness import EmulatorProcess, Groups, container, group, sandboxed
from tests.infra.workspace.harness import Reports, needs_loopback_addresses
from tests.support.waiting import eventually

WORKSPACE, TLS = IMAGES.values()
PASSWORD = 'it\'s "quoted" & long'
KEY = "key-of-the-workspace"


class Machine:
    """An emulator whose workspaces report to `reports`; `groups` calls it."""

    def __init__(self, groups: Groups, reports: Reports):
        self.groups, self.reports = groups, reports

    async def create(self, name: str) -> str:
        """Create the group of a workspace as the app does; returns the URL of its editor."""
        await self.groups.create(await self.body(name), name)
        return await self.url(name)

    async def body(self, name: str) -> ContainerGroup:
        share = Volume(name="files", azure_file=await self.groups.share(f"workspace-{name}"))
        caddy = Volume(name="caddy", secret={"Caddyfile": base64.b64encode(b"# read by Caddy").decode()})
        variables = {
            "WORKSPACE_DIR": "/workspace", "ENVIRONMENT_ID": name, "SUPERVISOR_MONITOR_INTERVAL": "1s",
            "SUPERVISOR_AGENT_BASE_URL": f"{self.reports.url}/dev8",
        }  # fmt: skip
        editor = container(
            image=WORKSPACE, name="vscode-server", environment=variables,
            secure={"CODE_SERVER_PASSWORD": PASSWORD, "SUPERVISOR_AGENT_API_KEY": KEY},
            volume_mounts=[VolumeMount(name="files", mount_path="/workspace")],
        )  # fmt: skip
        proxy = container(
            image=TLS, name="tls", memory=0.3, ports=[ContainerPort(port=8443)],
            volume_mounts=[VolumeMount(name="caddy", mount_path="/etc/caddy", read_only=True)],
        )  # fmt: skip
        address = IpAddress(ports=[Port(port=8443)], type="Public")
        return group(editor, proxy, policy="OnFailure", volumes=[share, caddy], ip_address=address)

    async def url(self, name: str) -> str:
        """The URL of the editor, as soon as it answers."""
        seen = (await self.groups.get(name)).ip_address
        assert seen and seen.ip
        url = f"https://{seen.ip}:8443"

        async def answers() -> bool:
            async with browser() as one:
                try:
                    async with one.get(url) as answer:
                        return answer.status == 200
                except aiohttp.ClientError:
                    return False

        await eventually(answers)
        return url

    async def restarted(self, name: str) -> str:
        """Stop and start the group; returns the URL of the editor."""
        await self.groups.sdk.stop("tests", name)
        await (await self.groups.sdk.begin_start("tests", name)).wait()
        return await self.url(name)


def browser() -> aiohttp.ClientSession:
    """A browser that trusts the certificate."""
    jar = aiohttp.CookieJar(unsafe=True)  # it takes the cookies of addresses without a name
    connector = aiohttp.TCPConnector(ssl=False)
    return aiohttp.ClientSession(cookie_jar=jar, connector=connector, timeout=aiohttp.ClientTimeout(total=30))


async def machine_in(folder: Path, environment: dict[str, str], *, editor: bool) -> AsyncIterator[Machine]:
    async with Reports() as reports:
        images = folder / "images.json"
        with pytest.MonkeyPatch.context() as patch:
            if not editor:
                patch.setattr("infra.local.workspaces.IDE", folder / "nothing")
            images.write_text(json.dumps(workspace_images(folder, reports.url, {})))
        emulator = EmulatorProcess(folder / "state", images, environment=environment)
        await emulator.start()
        async with Groups(emulator.port) as groups:
            yield Machine(groups, reports)
        await emulator.stop()


@pytest.fixture(scope="module", params=[pytest.param("contained", marks=sandboxed), "plain"])
async def machine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Machine]:
    """A machine with the page, with and without bubblewrap."""
    folder = tmp_path_factory.mktemp(request.param)
    environment: dict[str, str] = {}
    if request.param == "plain":
        bwrap = folder / "bin/bwrap"
        bwrap.parent.mkdir()
        bwrap.write_text("#!/bin/sh\nexit 1\n")
        bwrap.chmod(0o755)
        environment["PATH"] = str(bwrap.parent)
    async for machine in machine_in(folder, environment, editor=False):
        yield machine


@pytest.fixture(scope="module")
async def url(machine: Machine) -> AsyncIterator[str]:
    """The URL of the running workspace `mine`."""
    yield await machine.create("mine")
    await machine.groups.delete("mine")


@pytest.fixture(scope="module")
async def with_code_server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Machine]:
    """A machine with code-server."""
    async for machine in machine_in(tmp_path_factory.mktemp("code-server"), {}, editor=True):
        yield machine


async def log_in(one: aiohttp.ClientSession, url: str) -> None:
    async with one.post(f"{url}/login", data={"password": PASSWORD}, allow_redirects=False) as answer:
        assert answer.status in (302, 303), await answer.text()


@needs_loopback_addresses
class TestPage:
    async def test_a_connection_is_reported_and_so_is_its_end(self, machine: Machine, url: str):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        host = url.removeprefix("https://").removesuffix(":8443")
        _, to_page = await asyncio.open_connection(host, 8443, ssl=context)
        # A request whose body does not come keeps its connection to the page open.
        to_page.write(b"POST /login HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n")
        await machine.reports.until((1, 0), last=True)
        path, key, body = machine.reports.requests[-1]
        assert (path, key) == ("/dev8/api/v1/environments/mine/activity", f"Bearer {KEY}")
        assert body["environmentId"] == "mine"
        to_page.close()
        await machine.reports.until((0, 0), last=True)

    async def test_files_survive_a_stop_and_a_start(self, machine: Machine, url: str):
        async with browser() as one:
            await log_in(one, url)
            async with one.post(f"{url}/new", data={"path": ".", "name": "notes.txt"}) as created:
                assert created.status == 200
            async with one.post(f"{url}/save", data={"path": "notes.txt", "text": "kept\r\n"}) as saved:
                assert saved.status == 200
        again = await machine.restarted("mine")
        async with browser() as one:
            async with one.get(f"{again}/?path=notes.txt") as answer:
                assert "kept" not in await answer.text()
            await log_in(one, again)
            async with one.get(f"{again}/?path=notes.txt") as answer:
                assert "kept\n</textarea>" in await answer.text()


@pytest.mark.skipif(not (IDE / ".ready").exists(), reason="code-server is not installed: make ide")
@needs_loopback_addresses
class TestCodeServer:
    async def test_login_workbench_and_socket(self, with_code_server: Machine):
        url = await with_code_server.create("editor")
        async with browser() as one:
            async with one.post(f"{url}/login", data={"password": "guess"}) as answer:
                assert "Incorrect password" in await answer.text()
            await log_in(one, url)
            async with one.get(url) as answer:
                page = await answer.text()
                assert answer.status == 200 and "vscode-workbench-web-configuration" in page
            script = re.search(r'src="([^"]+/workbench\.js)"', page)
            assert script, page
            async with one.get(f"{url}/{script[1]}") as answer:
                assert answer.status == 200 and len(await answer.read()) > 1_000_000
            query = (
                "reconnectionToken=00000000-0000-4000-8000-000000000000&reconnection=false&skipWebSocketFrames=false"
            )
            base = script[1].split("/")[0]
            await one.ws_connect(f"{url}/{base}?{query}", headers={"Origin": url})
            await with_code_server.reports.until((1, 0), last=True)
        await with_code_server.reports.until((0, 0), last=True)  # the browser has closed its connections
        await with_code_server.groups.delete("editor")
