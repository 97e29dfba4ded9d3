"""Requests to the outside, against a server that stalls, lies, never ends and leads astray."""

import asyncio
import contextlib
import gzip
import json
import logging
import socket
import threading
import traceback
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import aiohappyeyeballs
import pytest

from shared import outbound, resolver
from shared.outbound import AddressRefused, NoAnswer, OutboundError, ResponseTooLarge, ServerEvent, request
from shared.settings import Settings
from tests.shared.standin import Connection, Received, standing_in

SECRET = "s3cr3t-key"
PUBLIC = "93.184.215.14"
SOON = 5
"""Seconds that stand for at once: what would go wrong takes a minute."""

Allow = Callable[[str], None]
Names = dict[str, list[list[str]]]


@pytest.fixture(autouse=True)
async def closed() -> AsyncIterator[None]:
    yield
    await outbound.close()


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that the client would have waited before repeats."""
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr(outbound, "sleep", sleep)
    return waited


@pytest.fixture
def allow(monkeypatch: pytest.MonkeyPatch) -> Allow:
    """Sets RUNYARD_PRIVATE_HOSTS."""

    def allow(hosts: str) -> None:
        given = Settings.model_validate({"RUNYARD_PRIVATE_HOSTS": hosts})
        monkeypatch.setattr(resolver, "settings", lambda: given)

    allow("")
    return allow


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    """A name service: for each host its answers in turn, of which the last one stays."""
    known: Names = {}

    async def look_up(host: str, port: int, family: socket.AddressFamily) -> list[dict[str, Any]]:
        if host not in known:
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        answers = known[host]
        addresses = answers.pop(0) if len(answers) > 1 else answers[0]
        return [
            {"hostname": host, "host": each, "port": port, "proto": 0, "flags": socket.AI_NUMERICHOST,
             "family": socket.AF_INET6 if ":" in each else socket.AF_INET}
            for each in addresses
        ]  # fmt: skip

    monkeypatch.setattr(resolver, "look_up", look_up)
    return known


@pytest.fixture
def detour(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Leads every connection to the loopback port of its address; the list has where each was to go."""
    targets: list[tuple[str, int]] = []

    async def start_connection(addr_infos: list[Any], **_: Any) -> socket.socket:
        address, port = addr_infos[0][4][:2]
        targets.append((address, port))
        plug = socket.socket()
        plug.setblocking(False)
        await asyncio.get_running_loop().sock_connect(plug, ("127.0.0.1", port))
        return plug

    monkeypatch.setattr("aiohttp.connector.aiohappyeyeballs.start_connection", start_connection)
    return targets


async def fetch(url: str, method: str = "GET", *, limit: int = 1_000_000, **options: Any) -> bytes:
    async with request(method, url, limit=limit, **options) as answer:
        return await answer.read()


async def hello(received: Received, connection: Connection) -> None:
    await connection.answer(b"hello")


def pieces(*parts: bytes, gap: bool = True) -> Any:
    """A script that sends these parts of a body in chunks, each as a packet of its own."""

    async def script(received: Received, connection: Connection) -> None:
        await connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for part in parts:
            await connection.send(b"%x\r\n%s\r\n" % (len(part), part))
            await asyncio.sleep(0)
        await connection.send(b"0\r\n\r\n")

    return script


class TestRequest:
    async def test_sends_what_it_is_given_and_reads_the_response(self):
        async def script(received: Received, connection: Connection) -> None:
            await connection.answer(b'{"a": 1}', 201, "X-Note: n")

        async with standing_in(script) as standin:
            url = f"{standin.url}/path?q=1"
            async with request("post", url, limit=100, headers={"X-Api-Key": "k"}, body=b"data") as answer:
                assert (answer.status, answer.headers["x-note"], await answer.json()) == (201, "n", {"a": 1})
        [seen] = standin.received
        assert (seen.method, seen.target, seen.body) == ("POST", "/path?q=1", b"data")
        assert (seen.headers["x-api-key"], seen.headers["user-agent"]) == ("k", "runyard")

    async def test_a_connection_serves_several_requests(self):
        async with standing_in(hello) as standin:
            assert [await fetch(standin.url) for _ in range(3)] == [b"hello"] * 3
        assert len(standin.connections) == 1

    async def test_an_error_status_is_the_callers(self):
        async def script(received: Received, connection: Connection) -> None:
            await connection.answer(b"no", 503)

        async with standing_in(script) as standin, request("GET", standin.url, limit=10) as answer:
            assert (answer.status, await answer.read()) == (503, b"no")

    async def test_a_large_body_arrives(self):
        body = bytes(range(256)) * 8_192
        async with standing_in(hello) as standin:
            await fetch(standin.url, "PUT", body=body)
        assert standin.received[0].body == body

    async def test_cookies_are_not_kept(self):
        async def script(received: Received, connection: Connection) -> None:
            await connection.answer(b"", 200, "Set-Cookie: a=b")

        async with standing_in(script) as standin:
            await fetch(standin.url)
            await fetch(standin.url)
        assert "cookie" not in standin.received[1].headers

    async def test_no_proxy_of_the_environment_is_used(self, monkeypatch: pytest.MonkeyPatch):
        async with standing_in(hello) as standin, standing_in(hello) as proxy:
            monkeypatch.setenv("http_proxy", proxy.url)
            assert await fetch(standin.url) == b"hello"
        assert proxy.received == []


class TestBounds:
    async def test_a_body_within_the_limit_is_read(self):
        async with standing_in(hello) as standin:
            assert await fetch(standin.url, limit=5) == b"hello"
            with pytest.raises(
                ResponseTooLarge, match=r"^GET http://127.0.0.1:\d+/: the response is longer than the limit$"
            ):
                await fetch(standin.url, limit=4)

    async def test_endless_data_is_bounded_and_the_connection_closed(self):
        async def script(received: Received, connection: Connection) -> None:
            await connection.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
            while True:
                await connection.send(b"x" * 10_000)

        async with standing_in(script) as standin:
            with pytest.raises(ResponseTooLarge):
                await fetch(standin.url, limit=100_000)
            await asyncio.wait_for(standin.connections[0].gone.wait(), SOON)

    async def test_a_compressed_body_is_bounded_by_its_real_size(self):
        async def script(received: Received, connection: Connection) -> None:
            await connection.answer(gzip.compress(bytes(20_000_000)), 200, "Content-Encoding: gzip")

        async with standing_in(script) as standin:
            with pytest.raises(ResponseTooLarge):
                await fetch(standin.url, limit=1_000_000)
            async with request("GET", standin.url, limit=30_000_000) as answer:
                sizes = [len(chunk) async for chunk in answer.chunks()]
        assert sum(sizes) == 20_000_000
        assert max(sizes) < 2_000_000

    @pytest.mark.parametrize("start", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello"], ids=["all", "rest"])
    async def test_a_silent_server_is_given_up(self, start: bytes):
        async def script(received: Received, connection: Connection) -> None:
            await connection.send(start)
            await connection.stall()

        async with standing_in(script) as standin:
            with pytest.raises(NoAnswer, match="the server was silent for too long"):
                await fetch(standin.url, silence=0.2)
            await asyncio.wait_for(standin.connections[0].gone.wait(), SOON)

    async def test_a_server_whose_headers_never_end_is_given_up(self, monkeypatch: pytest.MonkeyPatch):
        async def script(received: Received, connection: Connection) -> None:
            await connection.send(b"HTTP/1.1 200 OK\r\n")
            while True:
                await connection.send(b"X: y\r\n")
                await asyncio.sleep(0.1)

        monkeypatch.setattr(outbound, "CONNECT", 0.5)
        async with standing_in(script) as standin:
            with pytest.raises(NoAnswer, match="silent for too long"):
                await fetch(standin.url, silence=0.5)
            await asyncio.wait_for(standin.connections[0].gone.wait(), SOON)

    async def test_a_server_that_does_not_take_the_body_is_given_up(self, monkeypatch: pytest.MonkeyPatch):
        writers: list[asyncio.StreamWriter] = []

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writers.append(writer)

        async def start_connection(*arguments: Any, **options: Any) -> socket.socket:
            plugs.append(await start(*arguments, **options))
            return plugs[0]

        plugs: list[socket.socket] = []
        start = aiohappyeyeballs.start_connection
        monkeypatch.setattr("aiohttp.connector.aiohappyeyeballs.start_connection", start_connection)
        monkeypatch.setattr(outbound, "_SLOWEST", 10**9)
        monkeypatch.setattr(outbound, "CONNECT", 0.5)
        server = await asyncio.start_server(accept, "127.0.0.1", 0, limit=1)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        with pytest.raises(NoAnswer, match="silent for too long"):
            await fetch(url, "PUT", body=bytes(2**25), silence=0.5)
        await asyncio.sleep(0.05)  # the transport closes its socket a few turns of the loop later
        assert plugs[0].fileno() == -1
        writers[0].close()
        server.close()

    @pytest.mark.parametrize("sent", [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzzz\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\nhello",
        b"no HTTP at all\r\n\r\n",
        b"",
    ])  # fmt: skip
    async def test_a_response_that_breaks_off_or_lies_is_an_error(self, sent: bytes):
        async def script(received: Received, connection: Connection) -> None:
            await connection.send(sent)
            connection.writer.close()

        async with standing_in(script) as standin:
            with pytest.raises(NoAnswer, match=r"broke off|is not HTTP"):
                await fetch(standin.url)

    async def test_more_than_the_announced_length_is_not_read(self):
        async def script(received: Received, connection: Connection) -> None:
            await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello, HTTP/1.1 200 OK\r\n\r\n")

        async with standing_in(script) as standin:
            with contextlib.suppress(NoAnswer):  # as it comes in one packet or in two
                assert await fetch(standin.url) == b"hello"

    async def test_a_port_that_nobody_listens_on(self):
        async with standing_in(hello) as standin:
            pass
        with pytest.raises(NoAnswer, match="no connection is accepted"):
            await fetch(standin.url)

    async def test_an_unknown_host(self, names: Names, allow: Allow):
        with pytest.raises(NoAnswer, match=r"GET http://nowhere.example/: its host is not known"):
            await fetch("http://nowhere.example/", user_given=True)

    async def test_a_name_service_that_does_not_answer(self, monkeypatch: pytest.MonkeyPatch, allow: Allow):
        async def look_up(*_: Any) -> Any:
            await asyncio.Event().wait()

        monkeypatch.setattr(resolver, "look_up", look_up)
        monkeypatch.setattr(outbound, "CONNECT", 0.2)
        with pytest.raises(NoAnswer, match="no connection came about in time"):
            await fetch("http://slow.example/", user_given=True)

    async def test_slow_names_of_users_keep_no_request_of_ours_waiting(
        self, monkeypatch: pytest.MonkeyPatch, allow: Allow
    ):
        known, go = socket.getaddrinfo, threading.Event()

        def look_up(host: Any, *args: Any, **options: Any) -> Any:
            if host == "slow.example":
                go.wait(30)
                raise socket.gaierror(socket.EAI_NONAME, "unknown")
            return known(host, *args, **options)

        monkeypatch.setattr(socket, "getaddrinfo", look_up)
        slow = [asyncio.create_task(fetch("http://slow.example/", user_given=True)) for _ in range(40)]
        try:
            await asyncio.sleep(0)
            async with standing_in(hello) as standin, asyncio.timeout(8):
                assert await fetch(standin.url.replace("127.0.0.1", "localhost")) == b"hello"
        finally:
            go.set()
            failed = await asyncio.gather(*slow, return_exceptions=True)
        assert {type(each) for each in failed} == {NoAnswer}

    async def test_https_with_a_server_without_it(self):
        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(1)
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            writer.close()

        server = await asyncio.start_server(accept, "127.0.0.1", 0)
        with pytest.raises(NoAnswer, match=r"TLS|broke off"):
            await fetch(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
        server.close()


class TestCancelling:
    @pytest.mark.parametrize("start", [b"", b"HTTP/1.1 200 OK\r\n\r\nhello"], ids=["before the response", "within it"])
    async def test_closes_the_connection(self, start: bytes):
        arrived = asyncio.Event()

        async def script(received: Received, connection: Connection) -> None:
            await connection.send(start)
            arrived.set()
            await connection.stall()

        async with standing_in(script) as standin:
            task = asyncio.create_task(fetch(standin.url))
            await arrived.wait()
            await asyncio.sleep(0.05)  # so that the client is at its next read, in most runs
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await asyncio.wait_for(standin.connections[0].gone.wait(), SOON)

    async def test_leaving_the_block_closes_it_too(self):
        async def script(received: Received, connection: Connection) -> None:
            await connection.send(b"HTTP/1.1 200 OK\r\n\r\nhello")
            await connection.stall()

        async with standing_in(script) as standin:
            async with request("GET", standin.url, limit=10) as answer:
                async for chunk in answer.chunks():
                    assert chunk == b"hello"
                    break
            await asyncio.wait_for(standin.connections[0].gone.wait(), SOON)


class TestRepeats:
    @staticmethod
    def failing(status: int, times: int, *headers: str) -> Any:
        """A script that answers with a status so often, then with hello."""
        left = times

        async def script(received: Received, connection: Connection) -> None:
            nonlocal left
            left -= 1
            if left >= 0 and status == 0:
                connection.writer.close()
            elif left >= 0:
                await connection.answer(b"busy", status, *headers)
            else:
                await connection.answer(b"hello")

        return script

    @pytest.mark.parametrize("status", [429, 502, 503, 504, 0])
    async def test_busy_servers_and_lost_connections_are_asked_again(self, waits: list[float], status: int):
        async with standing_in(self.failing(status, 2)) as standin:
            assert await fetch(standin.url, "POST", body=b"x", repeatable=True) == b"hello"
        assert [each.body for each in standin.received] == [b"x"] * 3
        assert 0.5 <= waits[0] <= 1.5 and 1 <= waits[1] <= 3

    @pytest.mark.parametrize(("status", "method"), [(429, "GET"), (503, "PUT"), (0, "GET"), (0, "DELETE")])
    async def test_never_by_default(self, waits: list[float], status: int, method: str):
        async with standing_in(self.failing(status, 1)) as standin:
            with contextlib.suppress(NoAnswer):
                assert await fetch(standin.url, method) == b"busy"
        assert (len(standin.received), waits) == (1, [])

    async def test_not_on_a_used_connection_either(self):
        async def script(received: Received, connection: Connection) -> None:
            if len(standin.received) == 1:
                await connection.answer(b"hello")
            else:
                connection.writer.close()

        async with standing_in(script) as standin:
            await fetch(standin.url)
            with pytest.raises(NoAnswer, match="broke off"):
                await fetch(standin.url)
            assert (len(standin.received), len(standin.connections)) == (2, 1)

    @pytest.mark.parametrize("status", [400, 408, 500, 501])
    async def test_other_statuses_are_returned(self, waits: list[float], status: int):
        async with standing_in(self.failing(status, 1)) as standin:
            assert await fetch(standin.url, repeatable=True) == b"busy"
        assert waits == []

    async def test_the_last_attempt_is_returned(self, waits: list[float]):
        async with standing_in(self.failing(503, 9)) as standin:
            async with request("GET", standin.url, limit=10, repeatable=True) as answer:
                assert (answer.status, await answer.read()) == (503, b"busy")
        assert (len(standin.received), len(waits)) == (3, 2)

    async def test_retry_after_is_waited_for(self, waits: list[float]):
        async with standing_in(self.failing(429, 2, "Retry-After: 7")) as standin:
            assert await fetch(standin.url, repeatable=True) == b"hello"
        assert waits == [7, 7]

    async def test_retry_after_can_be_a_date(self, waits: list[float]):
        for late, expected in [(timedelta(seconds=-60), 0), (timedelta(hours=1), None)]:
            waits.clear()
            header = "Retry-After: " + format_datetime(datetime.now(UTC) + late, usegmt=True)
            async with standing_in(self.failing(429, 1, header)) as standin:
                body = await fetch(standin.url, repeatable=True)
            assert (body, waits) == ((b"busy", []) if expected is None else (b"hello", [expected]))

    async def test_a_longer_wait_is_left_to_the_caller(self, waits: list[float]):
        async with standing_in(self.failing(503, 1, "Retry-After: 11")) as standin:
            assert await fetch(standin.url, repeatable=True) == b"busy"
        assert (len(standin.received), waits) == (1, [])

    @pytest.mark.parametrize("text", ["soon", "-1", "1.5", "\xb2", ""])
    async def test_a_senseless_retry_after_is_ignored(self, waits: list[float], text: str):
        async with standing_in(self.failing(503, 1, f"Retry-After: {text}")) as standin:
            assert await fetch(standin.url, repeatable=True) == b"hello"
        assert 0.5 <= waits[0] <= 1.5

    async def test_not_after_the_first_byte(self, waits: list[float]):
        async def script(received: Received, connection: Connection) -> None:
            await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello")
            connection.writer.close()

        async with standing_in(script) as standin:
            with pytest.raises(NoAnswer):
                await fetch(standin.url, repeatable=True)
        assert (len(standin.received), waits) == (1, [])

    async def test_silence_is_not_repeated(self, waits: list[float]):
        async def script(received: Received, connection: Connection) -> None:
            await connection.stall()

        async with standing_in(script) as standin:
            with pytest.raises(NoAnswer):
                await fetch(standin.url, repeatable=True, silence=0.2)
        assert waits == []


class TestReading:
    @staticmethod
    async def read(kind: str, *parts: bytes) -> list[Any]:
        async with standing_in(pieces(*parts)) as standin, request("GET", standin.url, limit=10_000) as answer:
            return [each async for each in getattr(answer, kind)()]

    async def test_by_chunk(self):
        assert b"".join(await self.read("chunks", b"ab", b"c", b"d" * 5_000)) == b"abc" + b"d" * 5_000

    @pytest.mark.parametrize("cut", range(1, 18))
    async def test_by_line_wherever_it_is_cut(self, cut: int):
        text = "a\r\nbü\n\nc\r\rd\r\n\r\nend".encode()
        assert await self.read("lines", text[:cut], text[cut:]) == ["a", "bü", "", "c", "", "d", "", "end"]

    async def test_a_line_comes_before_the_next_one_begins(self):
        async def script(received: Received, connection: Connection) -> None:
            await connection.send(b"HTTP/1.1 200 OK\r\n\r\nfirst\r")
            await connection.stall()

        async with standing_in(script) as standin, request("GET", standin.url, limit=100) as answer:
            assert await asyncio.wait_for(anext(answer.lines()), SOON) == "first"

    async def test_lines_are_bounded(self):
        async with standing_in(pieces(*[b"x" * 1_000] * 11)) as standin:
            async with request("GET", standin.url, limit=10_000) as answer:
                with pytest.raises(ResponseTooLarge):
                    await anext(answer.lines())

    @pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
    @pytest.mark.parametrize("size", [1, 7, 1_000])
    async def test_by_event(self, end: str, size: int):
        lines = [
            "\ufeff: a comment", "data: one", "", "event: add", "data:two", "data:  three", "data", "id: 7", "",
            "retry: 1500", "unknown: x", ":", "id: a\0b", "retry: 1x", "data: ü: :", "", "event: lonely", "", "id",
            "data", "", "data: cut off",
        ]  # fmt: skip
        sent = end.join(lines).encode()
        assert await self.read("events", *(sent[at : at + size] for at in range(0, len(sent), size))) == [
            ServerEvent("one"),
            ServerEvent("two\n three\n", "add", "7"),
            ServerEvent("ü: :", "message", "7", 1500),
            ServerEvent("", "message", "", 1500),
        ]

    async def test_what_is_not_json_is_an_error_that_does_not_show_it(self):
        async def script(received: Received, connection: Connection) -> None:
            await connection.answer(f"<{SECRET}>".encode())

        async with standing_in(script) as standin, request("GET", standin.url, limit=100) as answer:
            with pytest.raises(NoAnswer, match="the response is not JSON") as raised:
                await answer.json()
        assert SECRET not in "".join(traceback.format_exception(raised.value))
        assert raised.value.__context__ is None


class TestSecrets:
    """Keys are in no message, no log line and no trace."""

    @pytest.mark.parametrize("what", ["close", "stall", "busy", "astray", "lie", "refused"])
    async def test_errors_name_scheme_host_and_path_only(
        self, what: str, allow: Allow, waits: list[float], caplog: pytest.LogCaptureFixture
    ):
        async def script(received: Received, connection: Connection) -> None:
            if what == "close":
                connection.writer.close()
            elif what == "stall":
                await connection.stall()
            elif what == "busy":
                await connection.answer(b"x" * 100, 503)
            elif what == "astray":
                await connection.answer(b"", 302, f"Location: ftp://u:{SECRET}@other/?{SECRET}")
            else:
                await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello")
                connection.writer.close()

        async with standing_in(script) as standin:
            url = f"http://user:{SECRET}@127.0.0.1:{standin.port}/v1/thing?key={SECRET}#{SECRET}"
            headers = {"X-Api-Key": SECRET}
            with caplog.at_level(logging.DEBUG), pytest.raises(OutboundError) as raised:
                options = {"headers": headers, "silence": 0.2, "repeatable": True, "user_given": what == "refused"}
                await fetch(url, limit=50, **options)
        shown = "".join(traceback.format_exception(raised.value)) + repr(raised.value) + caplog.text
        assert SECRET not in shown
        assert str(raised.value).startswith(f"GET {standin.url}/v1/thing: ")
        error: BaseException | None = raised.value
        assert error.__cause__ is None and error.__context__ is None

    @pytest.mark.parametrize("url", [
        f"http://[{SECRET}", f"http://host:{SECRET}/", f"ftp://{SECRET}@host/", f"{SECRET}", f"file:///{SECRET}",
        f"http:///{SECRET}", f"//host/{SECRET}", f"gopher://{SECRET}", "", "http://",
    ])  # fmt: skip
    async def test_an_invalid_address_is_refused_without_showing_it(self, url: str):
        with pytest.raises(AddressRefused, match=r"^the address is not a valid one of http or https$") as raised:
            await fetch(url)
        assert SECRET not in "".join(traceback.format_exception(raised.value))

    async def test_an_invalid_header_is_refused_without_showing_it(self):
        async with standing_in(hello) as standin:
            with pytest.raises(AddressRefused, match="the address or a header is not valid") as raised:
                await fetch(standin.url, headers={"X-Key": f"{SECRET}\r\nX: y"})
        assert standin.received == []
        assert SECRET not in "".join(traceback.format_exception(raised.value))


NOT_PUBLIC = [
    "127.0.0.1", "127.8.9.10", "0.0.0.0", "0.1.2.3", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1",
    "169.254.169.254", "169.254.0.1", "100.64.0.1", "100.100.100.200", "168.63.129.16", "192.0.0.8", "192.0.0.192",
    "192.0.2.1", "192.88.99.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.1.2.3", "240.0.0.1",
    "255.255.255.255",
    "::", "::1", "fe80::1", "fec0::1", "fc00::1", "fd00:ec2::254", "ff02::1", "::ffff:127.0.0.1", "::ffff:8.8.8.8",
    "::127.0.0.1", "::8.8.8.8", "2002:7f00:1::", "2002:808:808::", "64:ff9b::7f00:1", "64:ff9b::808:808",
    "64:ff9b:1::7f00:1", "2001::1", "2001:db8::1", "2001:10::1", "3fff::1", "100::1", "5f00::1", "4000::1",
]  # fmt: skip
"""Private, loopback, link-local, of metadata services, multicast, unspecified, reserved, and those that carry IPv4."""

PUBLIC_ONES = [PUBLIC, "8.8.8.8", "1.1.1.1", "172.32.0.1", "2606:4700::1111", "2a00:1450:4001::200e", "2001:4860::8888"]

REFUSED = "its host has an address that is not public, and RUNYARD_PRIVATE_HOSTS does not name it"


@pytest.mark.usefixtures("allow")
class TestAddressesOfUsers:
    @pytest.mark.parametrize("address", NOT_PUBLIC)
    async def test_a_literal_that_is_not_public_is_refused(self, address: str, detour: list[tuple[str, int]]):
        host = f"[{address}]" if ":" in address else address
        for scheme in ("http", "https"):
            with pytest.raises(AddressRefused, match=REFUSED):
                await fetch(f"{scheme}://{host}/", user_given=True)
        assert detour == []

    @pytest.mark.parametrize("address", NOT_PUBLIC)
    async def test_a_name_that_leads_to_one_is_refused(self, address: str, names: Names, detour: list[tuple[str, int]]):
        names["evil.example"] = [[address]]
        names["half.example"] = [[PUBLIC, address]]
        for host in names:
            with pytest.raises(AddressRefused, match=f"^GET http://{host}/: {REFUSED}"):
                await fetch(f"http://{host}/", user_given=True)
        assert detour == []

    @pytest.mark.parametrize("address", PUBLIC_ONES)
    async def test_a_public_one_is_connected_to(self, address: str, names: Names, detour: list[tuple[str, int]]):
        names["good.example"] = [[address]]
        literal = f"[{address}]" if ":" in address else address
        async with standing_in(hello) as standin:
            for host in (literal, "good.example"):
                assert await fetch(f"http://{host}:{standin.port}/", user_given=True) == b"hello"
        assert [target for target, _ in detour] == [address, address]
        assert standin.received[1].headers["host"] == f"good.example:{standin.port}"

    @pytest.mark.parametrize("host", [
        "2130706433", "0x7f000001", "017700000001", "127.1", "127.0.1", "0177.0.0.1", "0x7f.0.0.1", "0x7f.1", "0",
        "127.0.0.1.", "0300.0250.1", "3232235777", "0xA9FEA9FE", "2852039166", "0251.254.169.254", "00000127.0.0.1",
        "127.0.0.0x1", "0x08080808", "１２７.0.0.1", "127。0。0。1", "①②⑦.0.0.1", "localhost", "LOCALHOST",
    ])  # fmt: skip
    async def test_no_spelling_of_an_address_gets_through(self, host: str, detour: list[tuple[str, int]]):
        with pytest.raises(AddressRefused):
            await fetch(f"http://{host}/", user_given=True)
        assert detour == []

    async def test_a_second_answer_of_the_name_service_helps_nobody(self, names: Names, detour: list[tuple[str, int]]):
        async def script(received: Received, connection: Connection) -> None:
            status, header = (302, "Location: /again") if received.target == "/" else (200, "X: y")
            await connection.answer(b"hello", status, header, "Connection: close")

        names["flip.example"] = [[PUBLIC], ["127.0.0.1"]]
        async with standing_in(script) as standin:
            with pytest.raises(AddressRefused, match=rf"^GET http://flip.example:\d+/again: {REFUSED}"):
                await fetch(f"http://flip.example:{standin.port}/", user_given=True)
        assert detour == [(PUBLIC, standin.port)]
        assert [each.target for each in standin.received] == ["/"]

    async def test_named_hosts_are_allowed(self, allow: Allow, names: Names):
        names["inside.example"] = [["127.0.0.1"]]
        async with standing_in(hello) as standin:
            urls = [f"http://{host}:{standin.port}/" for host in ("127.0.0.1", "INSIDE.example")]
            allow(f"127.0.0.1, Inside.example:{standin.port} ,")
            assert [await fetch(url, user_given=True) for url in urls] == [b"hello"] * 2
            await outbound.close()
            allow("inside.example:1,127.0.0.2,")
            for url in urls:
                with pytest.raises(AddressRefused):
                    await fetch(url, user_given=True)
        assert resolver.is_named("::1", 80) is False
        allow("[::1]:80")
        assert resolver.is_named("::1", 80) is True
        assert resolver.is_named("::1", 81) is False

    async def test_connections_of_ours_do_not_serve_users(self, names: Names):
        async with standing_in(hello) as standin:
            assert await fetch(standin.url) == b"hello"
            with pytest.raises(AddressRefused):
                await fetch(standin.url, user_given=True)
        assert len(standin.received) == 1


@pytest.mark.usefixtures("allow")
class TestRedirects:
    @pytest.mark.parametrize("target", [
        "http://169.254.169.254/latest/meta-data", "http://[fd00:ec2::254]/", "http://2852039166/", "//10.0.0.1/x",
        "http://inside.example/",
    ])  # fmt: skip
    @pytest.mark.parametrize("user_given", [True, False])
    async def test_to_a_host_that_is_not_public_is_refused(
        self, allow: Allow, names: Names, target: str, user_given: bool
    ):
        async def script(received: Received, connection: Connection) -> None:
            await connection.answer(b"", 302, f"Location: {target}")

        names["inside.example"] = [["10.0.0.7"]]
        async with standing_in(script) as standin:
            allow(f"127.0.0.1:{standin.port}")
            with pytest.raises(AddressRefused, match=r"not public|unusual form|not valid"):
                await fetch(standin.url, user_given=user_given)
        assert len(standin.received) == 1

    @pytest.mark.parametrize("target", ["ftp://host/", "file:///etc/passwd", "http://[", "data:,x", "http://host:0/"])
    async def test_to_something_else_is_refused(self, target: str):
        async def script(received: Received, connection: Connection) -> None:
            await connection.answer(b"", 302, f"Location: {target}")

        async with standing_in(script) as standin:
            with pytest.raises(AddressRefused, match="the address to which it redirects is not a valid one"):
                await fetch(standin.url)

    async def test_five_are_followed_and_no_more(self):
        async def script(received: Received, connection: Connection) -> None:
            left = int(received.target[1:])
            await connection.answer(b"hello", 302 if left else 200, f"Location: /{left - 1}")

        async with standing_in(script) as standin:
            assert await fetch(f"{standin.url}/5") == b"hello"
            with pytest.raises(AddressRefused, match="redirects more than 5 times"):
                await fetch(f"{standin.url}/6")

    @pytest.mark.parametrize(("status", "method", "expected"), [
        (301, "POST", "GET"), (302, "POST", "GET"), (303, "PUT", "GET"), (303, "HEAD", "HEAD"), (307, "POST", "POST"),
        (308, "POST", "POST"), (302, "PUT", "PUT"),
    ])  # fmt: skip
    async def test_keep_the_method_or_become_a_get(self, status: int, method: str, expected: str):
        async def script(received: Received, connection: Connection) -> None:
            await connection.answer(b"", 200 if received.target == "/b" else status, "Location: /b")

        async with standing_in(script) as standin:
            headers = {"Content-Type": "text/x"}
            await fetch(f"{standin.url}/a", method, headers=headers, body=None if method == "HEAD" else b"data")
        assert standin.received[1].method == expected
        assert (standin.received[1].headers.get("content-type") == "text/x") == (standin.received[1].body == b"data")
        assert standin.received[1].body == (b"data" if expected == method != "HEAD" else b"")

    async def test_another_host_gets_no_credentials(self, allow: Allow):
        async def script(received: Received, connection: Connection) -> None:
            await connection.answer(b"", 302, f"Location: {target}")

        given = {
            "Authorization": "a",
            "Cookie": "c",
            "X-API-Key": "k",
            "api-key": "k",
            "X-Own": "o",
            "Accept": "text/x",
        }
        async with standing_in(hello) as other, standing_in(script) as first:
            allow(f"127.0.0.1:{first.port},127.0.0.1:{other.port}")
            target = f"{other.url}/"
            assert await fetch(f"{first.url}/", headers=given, user_given=True) == b"hello"
        assert {name: first.received[0].headers[name.lower()] for name in given} == given
        seen = other.received[0].headers
        assert {name.lower() for name in given} & set(seen) == {"accept"}
        assert json.dumps(seen).count("text/x") == 1

    async def test_the_same_host_keeps_them(self):
        async def script(received: Received, connection: Connection) -> None:
            await connection.answer(b"", 302 if received.target == "/a" else 200, "Location: /b")

        async with standing_in(script) as standin:
            await fetch(f"{standin.url}/a", headers={"X-API-Key": "k"})
        assert standin.received[1].headers["x-api-key"] == "k"

    async def test_a_redirect_without_an_address_is_the_response(self):
        async def script(received: Received, connection: Connection) -> None:
            await connection.answer(b"hello", 302)

        async with standing_in(script) as standin, request("GET", standin.url, limit=10) as answer:
            assert (answer.status, await answer.read()) == (302, b"hello")


class TestClose:
    async def test_closes_idle_connections_and_the_next_request_opens_a_new_one(self):
        async with standing_in(hello) as standin:
            await fetch(standin.url)
            await outbound.close()
            await asyncio.wait_for(standin.connections[0].gone.wait(), SOON)
            assert await fetch(standin.url) == b"hello"
        assert len(standin.connections) == 2

    def test_every_event_loop_has_its_own_session(self):
        async def use() -> bytes:
            async with standing_in(hello) as standin:
                body = await fetch(standin.url)
            await outbound.close()
            return body

        assert [asyncio.run(use()) for _ in range(2)] == [b"hello"] * 2
