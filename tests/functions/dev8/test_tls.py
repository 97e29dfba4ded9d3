"""The configuration of the proxy in front of an editor, in the program for which it is written: Caddy."""

import asyncio
import contextlib
import os
import shutil
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiohttp import web
from websockets.asyncio.client import connect

from functions.dev8 import layout
from functions.dev8.records import CloudProvider, DevEnvironment
from infra.emulator.processes import free_ports
from infra.local.workspaces import new_certificate
from tests.support.environments import connected
from tests.support.waiting import eventually

CADDY = shutil.which("caddy")
REGION = "eastus"

pytestmark = pytest.mark.skipif(CADDY is None, reason="Caddy is not installed")


@dataclass
class Proxy:
    """Caddy in front of an editor; `authority` is the certificate that clients trust, `editor` its server."""

    environment: DevEnvironment
    port: int
    process: asyncio.subprocess.Process
    authority: Path
    editor: web.Server

    @property
    def fqdn(self) -> str:
        return f"{self.environment.id}.{REGION}.azurecontainer.io"

    def trusting(self, *, by_name: bool) -> ssl.SSLContext:
        """What trusts the certificate, and asks for the name in it unless the address is a number."""
        context = ssl.create_default_context(cafile=str(self.authority))
        context.check_hostname = by_name
        return context

    async def get(self, name: str, path: str = "/") -> tuple[str, set[str]]:
        """The answer to a request for a name, or "" for the bare address, and the names in the certificate."""
        context = self.trusting(by_name=bool(name))
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, ssl=context, server_hostname=name)
        host = name or f"127.0.0.1:{self.port}"
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        answer = await reader.read()
        names = {value for _, value in writer.get_extra_info("peercert").get("subjectAltName", ())}
        writer.close()
        assert answer.startswith(b"HTTP/1.1 200 "), answer[:200]
        return answer.partition(b"\r\n\r\n")[2].decode(), names


async def _editor(request: web.BaseRequest) -> web.StreamResponse:
    if request.path == "/socket":
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            await socket.send_str(f"{message.data}!")
        return socket
    return web.Response(text=f"{request.headers['X-Forwarded-Proto']} {request.host}")


@contextlib.asynccontextmanager
async def proxied(folder: Path, monkeypatch: pytest.MonkeyPatch, certificate: str = "") -> AsyncIterator[Proxy]:
    port, behind = free_ports(2)
    monkeypatch.setattr(layout, "TLS_PORT", port)
    monkeypatch.setattr(layout, "EDITOR_PORT", behind)
    environment = DevEnvironment(
        id="0190f7a2-0000-7000-8000-000000000000", user_id="u", name="n", cloud_provider=CloudProvider.AZURE,
        cloud_region=REGION, cpu_cores=1, memory_gb=2, storage_gb=10, base_image="node",
    )  # fmt: skip
    async with connected(DEV8_TLS_CERTIFICATE=certificate):
        *_, proxy = layout.group_of(environment, {}, "token", "key").containers
    [files] = [mount.files for mount in proxy.secret_files]
    for name, text in files.items():
        (folder / name).write_text(text.replace("/etc/caddy/", f"{folder}/"))
    editor = web.Server(_editor, keepalive_timeout=600)
    listening = await asyncio.get_running_loop().create_server(editor, "127.0.0.1", behind)
    with (folder / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            CADDY or "", "run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile",
            env={**os.environ, "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "HOME": str(folder)},
            stderr=log,
        )  # fmt: skip
    authority = folder / ("tls.pem" if certificate else "caddy/pki/authorities/local/root.crt")
    found = Proxy(environment, port, process, authority, editor)
    names = ("",) if certificate else ("", environment.id, found.fqdn)  # each has its own certificate

    async def answers() -> bool:
        assert process.returncode is None, (folder / "log").read_text()
        try:
            return all([await found.get(name) for name in names])
        except (OSError, ssl.SSLError):
            return False

    try:
        await eventually(answers)
        yield found
    finally:
        process.terminate()
        await process.wait()
        listening.close()


@pytest.fixture
async def proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Proxy]:
    async with proxied(tmp_path, monkeypatch) as found:
        yield found


async def test_it_issues_certificates_for_its_names_and_serves_the_bare_address_too(proxy: Proxy):
    for name in (proxy.environment.id, proxy.fqdn):
        assert await proxy.get(name) == (f"https {name}", {name})
    assert await proxy.get("") == (f"https 127.0.0.1:{proxy.port}", {proxy.environment.id})


async def test_no_idle_connection_to_the_editor_is_kept(proxy: Proxy):
    await asyncio.gather(*(proxy.get(proxy.fqdn) for _ in range(10)))

    async def connections() -> int:
        return len(proxy.editor.connections)

    await eventually(connections, until=lambda count: count == 0, seconds=10)


async def test_a_websocket_passes_and_counts_as_one_connection_until_it_is_closed(proxy: Proxy):
    url, trusting = f"wss://{proxy.fqdn}:{proxy.port}/socket", proxy.trusting(by_name=True)
    async with connect(url, host="127.0.0.1", port=proxy.port, ssl=trusting, proxy=None) as socket:
        await socket.send("hello")
        assert await socket.recv() == "hello!"
        assert len(proxy.editor.connections) == 1

    async def connections() -> int:
        return len(proxy.editor.connections)

    await eventually(connections, until=lambda count: count == 0, seconds=10)


async def test_it_listens_on_its_one_port_only(proxy: Proxy):
    """Its administration and its redirect from HTTP are off: neither asks who calls."""
    files = [each.readlink().name for each in Path(f"/proc/{proxy.process.pid}/fd").iterdir()]
    sockets = {name for name in files if name.startswith("socket:")}
    listening: set[int] = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{proxy.process.pid}/net/{table}").read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A" and f"socket:[{words[9]}]" in sockets:
                listening.add(int(words[1].rpartition(":")[2], 16))
    assert listening == {proxy.port}


async def test_a_certificate_of_the_deployment_takes_the_place_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    certificate = new_certificate()
    async with proxied(tmp_path, monkeypatch, certificate) as proxy:
        context = ssl.create_default_context(cafile=str(proxy.authority))
        context.check_hostname = False
        given = ssl.PEM_cert_to_DER_cert(certificate[certificate.index("-----BEGIN CERTIFICATE") :])
        for name in ("", proxy.fqdn):
            _, writer = await asyncio.open_connection("127.0.0.1", proxy.port, ssl=context, server_hostname=name)
            assert writer.get_extra_info("ssl_object").getpeercert(binary_form=True) == given
            writer.close()
