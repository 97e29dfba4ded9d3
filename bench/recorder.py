"""Proxies between the app and its services: which requests each service gets, when, and how many rows they hold."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson
from aiohttp import web
from yarl import URL

_OWN = {"connection", "keep-alive", "transfer-encoding", "content-length", "expect"}
"""Headers of one connection, which are not passed on."""

_ADDED = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")
"""Headers that aiohttp would add, of which storage signs one."""


@dataclass(frozen=True)
class Passed:
    """One request that a service got: from `start` to `end` (`time.time`); rows only of requests to tables."""

    service: str
    method: str
    path: str
    start: float
    end: float
    rows_read: int
    rows_written: int


@dataclass
class Recorder:
    """Passes the requests of some services on, and keeps what they were in `passed`."""

    targets: dict[str, int]
    """The port of each service."""
    ports: dict[str, int] = field(default_factory=dict[str, int])
    """The port on which each is served instead."""
    passed: list[Passed] = field(default_factory=list[Passed])

    def counts(self) -> Counter[str]:
        """The number of requests of each service, and of the rows that those to tables have read and written."""
        counts = Counter(each.service for each in self.passed)
        for each in self.passed:
            counts["rows read"] += each.rows_read
            counts["rows written"] += each.rows_written
        return counts

    async def quiet(self, seconds: float = 1) -> None:
        """Wait until there has been no request for some time, except to queues, which the host polls."""
        while ends := [each.end for each in self.passed if each.service != "queue"]:
            left = max(ends) + seconds - time.time()
            if left <= 0:
                return
            await asyncio.sleep(left)


@contextlib.asynccontextmanager
async def recording(targets: dict[str, int]) -> AsyncIterator[Recorder]:
    """Serve each of these services on another port until the end of the block."""
    recorder = Recorder(targets)
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=3)
    async with contextlib.AsyncExitStack() as stack:
        http = await stack.enter_async_context(
            aiohttp.ClientSession(connector=connector, auto_decompress=False, skip_auto_headers=_ADDED)
        )
        for service, port in targets.items():
            app = web.Application(client_max_size=2**30)
            app.router.add_route("*", "/{path:.*}", _passing(recorder, service, port, http))
            runner = web.AppRunner(app, access_log=None)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            recorder.ports[service] = runner.addresses[0][1]
        yield recorder


def _passing(recorder: Recorder, service: str, port: int, http: aiohttp.ClientSession) -> Any:
    async def pass_on(request: web.Request) -> web.StreamResponse:
        start, body = time.time(), await request.read()
        # With the Host header of the client: tokens and links are made for its address.
        headers = [(name, value) for name, value in request.headers.items() if name.lower() not in _OWN]
        url = f"http://127.0.0.1:{port}{request.raw_path}"
        try:
            async with http.request(
                request.method, URL(url, encoded=True), headers=headers, data=body, allow_redirects=False
            ) as answer:
                content = await answer.read()
        except aiohttp.ClientError as error:  # the service has not started yet
            return web.Response(status=502, text=str(error))
        read, written = _rows(request, body, content) if service == "table" else (0, 0)
        recorder.passed.append(Passed(service, request.method, request.path, start, time.time(), read, written))
        kept = [(name, value) for name, value in answer.headers.items() if name.lower() not in _OWN]
        if request.method != "HEAD":
            return web.Response(status=answer.status, headers=dict(kept), body=content)
        response = web.StreamResponse(status=answer.status, headers=dict(kept))
        response.content_length = answer.content_length  # of the content that a GET would have
        await response.prepare(request)
        return response

    return pass_on


def _rows(request: web.Request, body: bytes, content: bytes) -> tuple[int, int]:
    """The rows that a request to tables has read and written."""
    if request.method == "GET":
        found = orjson.loads(content) if content.startswith(b"{") else {}
        return len(found["value"]) if "value" in found else int("RowKey" in found), 0
    if request.path.endswith("$batch"):
        return 0, body.count(b"Content-Transfer-Encoding")
    return 0, 1
