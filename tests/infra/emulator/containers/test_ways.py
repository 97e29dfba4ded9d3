"""The ways out: what containers can call on the machine, and that nothing gets around the check."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from infra.emulator.containers.ways import WayOut, allowed
from infra.emulator.processes import free_ports
from tests.infra.emulator.containers.harness import IMAGES, EmulatorProcess, Groups, container, group, sandboxed

JOBS = WayOut(url="http://127.0.0.1:7071/jobs/")
LINKS = WayOut(url="http://127.0.0.1:10000/account/", query="sig")
SOCKETS = WayOut(url="ws://127.0.0.1:7073/client/")


@pytest.mark.parametrize(
    ("way", "scheme", "target", "passes"),
    [
        (JOBS, "http", "/jobs/1/events?offset=0", True),
        (JOBS, "http", "/jobs/a..b/100%25/%C3%A9", True),
        (JOBS, "http", "/jobs", False),
        (JOBS, "http", "/jobsite/", False),
        (JOBS, "http", "/admin/functions", False),
        (JOBS, "http", "/jobs/../admin", False),
        (JOBS, "http", "/jobs/%2e%2E/admin", False),
        (JOBS, "http", "/jobs/%252e%252e/admin", False),
        (JOBS, "http", "/jobs/..%2fadmin", False),
        (JOBS, "http", "/jobs/..%5cadmin", False),
        (JOBS, "http", "/jobs//admin", False),
        (JOBS, "http", "//jobs/1", False),
        (JOBS, "http", "http://127.0.0.1:7071/jobs/", False),
        (JOBS, "http", "/jobs/1#/", False),
        (JOBS, "http", "/jobs/\\admin", False),
        (JOBS, "http", "/jobs/é", False),
        (JOBS, "http", "*", False),
        (JOBS, "ws", "/jobs/1", False),
        (LINKS, "http", "/account/box/blob?sv=1&sig=abc%3D", True),
        (LINKS, "http", "/account/box/blob", False),
        (LINKS, "http", "/account/?comp=list&notsig=1", False),
        (SOCKETS, "ws", "/client/hubs/one?access_token=x", True),
        (SOCKETS, "http", "/client/hubs/one", False),
    ],
)
def test_only_requests_below_the_path_pass(way: WayOut, scheme: str, target: str, passes: bool):
    assert allowed(way, scheme, target) is passes


class Service:
    """A service of the machine; `seen` are the request lines that reached it."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        self.seen.append(f"{request.method} {request.raw_path}")
        if request.headers.get("Upgrade"):
            socket = web.WebSocketResponse()
            await socket.prepare(request)
            async for message in socket:
                await socket.send_str(f"heard {message.data}")
            return socket
        size = 0
        async for piece in request.content.iter_any():
            size += len(piece)
        return web.Response(body=f"{request.host} {size} ".encode() + b"x" * int(request.headers.get("X-Wanted", 0)))


@pytest.fixture(scope="module")
async def service(emulator: EmulatorProcess) -> AsyncIterator[tuple[Service, int]]:
    """A service that containers of `test/calls:1` reach below /jobs/ and, as WebSockets, below /client/."""
    (port,) = free_ports(1)
    service = Service()
    runner = web.ServerRunner(web.Server(service.answer))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    ways = [{"url": f"http://127.0.0.1:{port}/jobs/"}, {"url": f"ws://127.0.0.1:{port}/client/"}]
    emulator.images.write_text(json.dumps({**IMAGES, "test/calls:1": {"entrypoint": ["/bin/sh"], "ways_out": ways}}))
    yield service, port
    await runner.cleanup()


RAW = """
import socket, sys
port, *requests = sys.argv[1:]
for text in requests:
    with socket.create_connection(("127.0.0.1", int(port)), 10) as one:
        one.sendall(text.encode().decode("unicode_escape").encode("latin-1"))
        one.settimeout(2)
        try:
            print(one.recv(1000).split(b"\\r\\n")[0].decode())
        except TimeoutError:
            print("silence")
"""


@sandboxed
class TestCalls:
    async def test_a_request_and_its_bodies_pass_whole(self, groups: Groups, service: tuple[Service, int]):
        size = 50_000_000
        ask = (
            "import urllib.request as u\n"
            f"url = 'http://127.0.0.1:{service[1]}/jobs/1?a=b'\n"
            f"answer = u.urlopen(u.Request(url, bytes({size}), {{'X-Wanted': '{size}'}})).read()\n"
            "print(answer[:40].rstrip(b'x').decode(), len(answer))"
        )
        name = await groups.run("python3", "-c", ask, image="test/calls:1")
        text = f"127.0.0.1:{service[1]} {size} "
        assert await groups.logs(name) == f"{text} {size + len(text)}\n"

    async def test_nothing_else_passes(self, groups: Groups, service: tuple[Service, int]):
        service[0].seen.clear()
        smuggled = "GET /admin HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n"
        requests = [
            "GET /admin HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n",
            "GET /jobs/../admin HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n",
            "GET http://127.0.0.1/jobs/1 HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n",
            "CONNECT 127.0.0.1:22 HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n",
            "GET /jobs/1 HTTP/1.1\\r\\nHost: x\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\n\\r\\n",
            "POST /jobs/1 HTTP/1.1\\r\\nHost: x\\r\\nContent-Length: 4\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n"
            f"0\\r\\n\\r\\n{smuggled}",
            f"POST /jobs/1 HTTP/1.1\\r\\nHost: x\\r\\nContent-Length: 0\\r\\nContent-Length: 40\\r\\n\\r\\n{smuggled}",
            f"POST /jobs/2 HTTP/1.1\\r\\nHost: x\\r\\nContent-Length: 0\\r\\n\\r\\n{smuggled}",
        ]
        name = await groups.run("python3", "-c", RAW, str(service[1]), *requests, image="test/calls:1")
        lines = (await groups.logs(name)).splitlines()
        assert len(lines) == len(requests)
        assert [line.split()[1] for line in lines if " 200 " in line] == ["200"]
        assert [one for one in service[0].seen if "/jobs/2" not in one] == []

    async def test_a_socket_passes(self, groups: Groups, service: tuple[Service, int]):
        talk = (
            "import socket, base64, os\n"
            f"one = socket.create_connection(('127.0.0.1', {service[1]}))\n"
            "one.sendall(b'GET /client/hubs/1 HTTP/1.1\\r\\nHost: x\\r\\n'\n"
            "  b'Upgrade: websocket\\r\\nConnection: Upgrade\\r\\n'\n"
            "  b'Sec-WebSocket-Version: 13\\r\\nSec-WebSocket-Key: ' + base64.b64encode(bytes(16)) + b'\\r\\n\\r\\n')\n"
            "print(one.recv(1000).split()[1].decode())\n"
            "one.sendall(b'\\x81\\x82\\0\\0\\0\\0hi'); print(one.recv(100)[2:].decode())"
        )
        name = await groups.run("python3", "-c", talk, image="test/calls:1")
        assert await groups.logs(name) == "101\nheard hi\n"

    async def test_a_running_container_calls_again_after_the_service_of_containers_was_killed(
        self, own_emulator: EmulatorProcess, service: tuple[Service, int], emulator: EmulatorProcess
    ):
        own_emulator.images.write_text(emulator.images.read_text())
        ask = (
            "import urllib.request as u, time\n"
            "for i in range(10000):\n"
            "  time.sleep(0.05)\n"
            f"  try: print(u.urlopen('http://127.0.0.1:{service[1]}/jobs/1').status, flush=True)\n"
            "  except OSError as error: print('refused', flush=True)\n"
        )
        async with Groups(own_emulator.port) as groups:
            name = await groups.create(group(container("python3", "-c", ask, image="test/calls:1")))
            await groups.said(name, "200")
        await own_emulator.kill()
        await asyncio.sleep(0.3)
        await own_emulator.start()
        async with Groups(own_emulator.port) as groups:
            log = await groups.said(name, "refused\n")
            await groups.said(name, log[: log.rindex("refused") + 8] + "200\n")
            await groups.delete(name)
