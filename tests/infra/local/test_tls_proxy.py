"""The proxy that ends TLS in front of a workspace's editor."""

import asyncio
import contextlib
import os
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from infra.local.workspaces import workspace_images
from tests.infra.workspace.harness import an_address, ended, needs_loopback_addresses
from tests.support.waiting import eventually

pytestmark = needs_loopback_addresses


class Editor:
    """What is behind the proxy: it answers with what it got; `open` is how many connections it has."""

    def __init__(self, address: str):
        self.address = address
        self.url = f"https://{address}:8443"
        self.server = web.Server(self.answer)
        self.seen: list[dict[str, str]] = []

    async def start(self) -> None:
        self.listener = await asyncio.get_running_loop().create_server(self.server, self.address, 8080)

    @property
    def open(self) -> int:
        return len(self.server.connections)

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        self.seen.append(dict(request.headers))
        if request.headers.get("Upgrade"):
            socket = web.WebSocketResponse(protocols=["mine"])
            await socket.prepare(request)
            async for message in socket:
                await socket.send_str(f"heard {message.data}")
            return socket
        if request.headers.get("Expect") and request.transport:
            request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = await request.read()
        response = web.StreamResponse(status=207, headers={"X-Path": request.raw_path, "Set-Cookie": "a=b; Secure"})
        await response.prepare(request)
        await response.write(body)
        await response.write_eof()
        return response


@contextlib.asynccontextmanager
async def proxy(folder: Path, address: str) -> AsyncIterator[None]:
    """A running proxy with this working directory."""
    (folder / "images").mkdir()
    entry: Any = workspace_images(folder / "images", "http://127.0.0.1:7071", {})["caddy:2"]
    process = await asyncio.create_subprocess_exec(
        *entry["entrypoint"], cwd=folder, env={"PATH": os.environ["PATH"], "LOCAL_ADDRESS": address},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        await eventually(lambda: certificate(address))
        yield
    finally:
        said = await ended(process)
    assert said == ""


async def certificate(address: str) -> bytes:
    """The certificate of the server at this address; b"" while nothing listens there."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        _, writer = await asyncio.open_connection(address, 8443, ssl=context)
    except ConnectionRefusedError:
        return b""
    shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    return shown


@pytest.fixture(scope="module")
async def editor(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Editor]:
    editor = Editor(an_address())
    await editor.start()
    async with proxy(tmp_path_factory.mktemp("proxy"), editor.address):
        yield editor
    editor.listener.close()


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=False), auto_decompress=False) as http:
        yield http


class TestRequests:
    @pytest.mark.parametrize("expected", [False, True])
    async def test_head_and_bodies_pass_whole(self, http: aiohttp.ClientSession, editor: Editor, expected: bool):
        body = os.urandom(1_000_000)
        async with http.put(f"{editor.url}/a%2Fb?c=d", data=body, expect100=expected) as answer:
            assert (answer.status, answer.headers["X-Path"]) == (207, "/a%2Fb?c=d")
            assert answer.headers["Set-Cookie"] == "a=b; Secure"
            assert await answer.read() == body

    async def test_the_editor_learns_who_asks_and_how(self, http: aiohttp.ClientSession, editor: Editor):
        async with http.get(editor.url, headers={"X-Forwarded-For": "1.2.3.4", "X-Forwarded-Proto": "ftp"}) as answer:
            assert answer.status == 207
        host = f"{editor.address}:8443"
        wanted = {"Host": host, "X-Forwarded-Host": host, "X-Forwarded-Proto": "https", "Connection": "close"}
        assert editor.seen[-1].items() >= wanted.items()
        assert editor.seen[-1]["X-Forwarded-For"].startswith("127.")

    async def test_no_connection_to_the_editor_is_kept(self, http: aiohttp.ClientSession, editor: Editor):
        for _ in range(3):
            async with http.get(editor.url) as answer:
                await answer.read()
        await eventually(lambda: nobody(editor))  # although the client keeps its own

    async def test_a_websocket_passes_and_counts_until_it_ends(self, http: aiohttp.ClientSession, editor: Editor):
        async with http.ws_connect(editor.url.replace("https", "wss"), protocols=["mine"]) as socket:
            await socket.send_str("hello")
            assert (await socket.receive_str(), socket.protocol) == ("heard hello", "mine")
            assert editor.open == 1
        await eventually(lambda: nobody(editor))

    async def test_a_client_that_goes_ends_the_connection_to_the_editor(self, editor: Editor):
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=False)) as gone:
            socket = await gone.ws_connect(editor.url.replace("https", "wss"))
            assert editor.open == 1 and not socket.closed
        await eventually(lambda: nobody(editor))

    @pytest.mark.parametrize("sent", ["hello\r\n\r\n", "GET / HTTP/1.1\r\nno header\r\n\r\n"])
    async def test_what_is_not_http_is_refused(self, editor: Editor, sent: str):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        reader, writer = await asyncio.open_connection(editor.address, 8443, ssl=context)
        writer.write(sent.encode())
        assert (await reader.read()).startswith(b"HTTP/1.1 400 Bad Request\r\n")
        writer.close()


async def nobody(editor: Editor) -> bool:
    return editor.open == 0


async def test_without_an_editor_it_answers_502_and_a_given_certificate_is_its_own(
    tmp_path: Path, http: aiohttp.ClientSession
):
    (tmp_path / "given").mkdir()
    workspace_images(tmp_path / "given", "http://127.0.0.1:7071", {})
    given = (tmp_path / "given/tls/certificate.pem").read_text()
    (tmp_path / "etc/caddy").mkdir(parents=True)
    (tmp_path / "etc/caddy/tls.pem").write_text(given)
    address = an_address()
    async with proxy(tmp_path, address):
        assert ssl.DER_cert_to_PEM_cert(await certificate(address)).strip() in given
        async with http.get(f"https://{address}:8443") as answer:
            assert answer.status == 502


def test_the_key_is_for_its_owner_only(tmp_path: Path):
    workspace_images(tmp_path, "http://127.0.0.1:7071", {})
    assert (tmp_path / "tls/certificate.pem").stat().st_mode & 0o777 == 0o600


def test_the_images_have_the_names_of_the_settings(tmp_path: Path):
    named = workspace_images(tmp_path, "http://127.0.0.1:7071", {"DEV8_IMAGE": "me/mine:2"})
    assert list(named) == ["me/mine:2", "caddy:2"]
