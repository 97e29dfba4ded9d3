"""The program that reports the use of a workspace."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator

import pytest

from infra.workspace.supervisor import NEVER, count, seconds, send
from tests.infra.workspace.harness import Reports, an_address, ended, needs_loopback_addresses, program

HEADER = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
REST = "00000000:00000000 00:00000000 00000000     0        0 1 1 0000000000000000 20 0 0 10 -1\n"
LISTENING = f"   0: 00000000:1F90 00000000:0000 0A {REST}"
EDITOR = f"   1: 0100007F:1F90 0100007F:C350 01 {REST}"
CLIENT = f"   2: 0100007F:C350 0100007F:1F90 01 {REST}"
CLOSING = f"   3: 0100007F:1F90 0100007F:C351 08 {REST}"
SSH = f"   4: 0500087F:08AE 0100007F:C352 01 {REST}"
MAPPED = (
    f"   0: 0000000000000000FFFF00000100007F:1F90 0000000000000000FFFF00000100007F:C353 01 {REST}"  # ::ffff:127.0.0.1
)


class TestCount:
    def test_established_connections_count_by_their_local_port(self):
        tables = [HEADER + LISTENING + EDITOR + CLIENT + CLOSING + SSH, HEADER + MAPPED]
        assert count(tables) == {8080: 2, 2222: 1}

    def test_only_those_to_an_address_where_one_is_given(self):
        assert count([HEADER + EDITOR + SSH, HEADER + MAPPED], "127.8.0.5") == {8080: 0, 2222: 1}
        assert count([HEADER + EDITOR + SSH, HEADER + MAPPED], "127.0.0.1") == {8080: 2, 2222: 0}


@pytest.mark.parametrize(("text", "value"), [("30s", 30), ("1m30s", 90), ("500ms", 0.5), ("1.5h", 5400)])
def test_an_interval_is_a_duration(text: str, value: float):
    assert seconds(text) == value


@pytest.mark.parametrize("text", ["", "30", "s", "30 s", "0s", "-1s", "1d"])
def test_any_other_interval_is_refused(text: str):
    with pytest.raises(ValueError, match="is not a duration"):
        seconds(text)


@pytest.fixture
async def reports() -> AsyncIterator[Reports]:
    async with Reports() as reports:
        yield reports


@contextlib.asynccontextmanager
async def listening(address: str, *ports: int) -> AsyncIterator[None]:
    """Servers that accept connections and say nothing."""

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    servers = [await asyncio.start_server(hold, address, port) for port in ports]
    yield
    for server in servers:
        server.close()


@needs_loopback_addresses
class TestReports:
    async def test_each_change_of_a_count_is_reported_and_nothing_else(self, reports: Reports):
        address = an_address()
        variables = {"LOCAL_ADDRESS": address, "SUPERVISOR_MONITOR_INTERVAL": "50ms", "ENVIRONMENT_ID": "env-1"}
        async with listening(address, 8080, 2222):
            supervisor = await program(
                "supervisor.py", SUPERVISOR_AGENT_BASE_URL=f"{reports.url}/base/", SUPERVISOR_AGENT_API_KEY="its-key",
                **variables,
            )  # fmt: skip
            await asyncio.sleep(0.5)
            assert reports.requests == []  # an idle workspace is silent
            _, editor = await asyncio.open_connection(address, 8080)
            await reports.until((1, 0))
            await asyncio.sleep(0.3)
            _, ssh = await asyncio.open_connection(address, 2222)
            await reports.until((1, 0), (1, 1))
            for one in (editor, ssh):
                one.close()
                await one.wait_closed()
                await asyncio.sleep(0.3)
            await reports.until((0, 0), last=True)
            assert await ended(supervisor) == ""
        assert {(path, key) for path, key, _ in reports.requests} == {
            ("/base/api/v1/environments/env-1/activity", "Bearer its-key")
        }
        first, last = reports.requests[0][2], reports.requests[-1][2]
        assert first.keys() == {"environmentId", "snapshot", "timestamp"} and first["environmentId"] == "env-1"
        assert first["snapshot"]["lastSSHActivity"] == NEVER
        assert first["snapshot"]["lastIDEActivity"] == first["timestamp"] < last["snapshot"]["lastIDEActivity"]
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", last["timestamp"])

    async def test_one_that_is_refused_is_logged_and_not_repeated(self, reports: Reports):
        address, reports.status = an_address(), 404
        async with listening(address, 8080):
            supervisor = await program(
                "supervisor.py", LOCAL_ADDRESS=address, SUPERVISOR_MONITOR_INTERVAL="50ms", ENVIRONMENT_ID="env-1",
                SUPERVISOR_AGENT_BASE_URL=reports.url,
            )  # fmt: skip
            _, editor = await asyncio.open_connection(address, 8080)
            await reports.until((1, 0))
            await asyncio.sleep(0.5)
            assert reports.counts == [(1, 0)] and reports.requests[0][1] is None
            editor.close()
            await reports.until((1, 0), (0, 0))
            await asyncio.sleep(0.2)
        assert (await ended(supervisor)).count("was not accepted: the answer is 404\n") == 2


async def test_an_answer_that_is_not_http_is_no_report_and_no_end():
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"{}")
        writer.write(b"SSH-2.0-x\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1") as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        assert "SSH-2.0-x" in await asyncio.to_thread(send, url, "", {})
    assert "unknown url type" in send("no address", "", {})


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ({}, "ENVIRONMENT_ID is not set"),
        (
            {"ENVIRONMENT_ID": "x", "SUPERVISOR_MONITOR_INTERVAL": "soon"},
            "'soon' is not a duration such as 30s or 1m30s",
        ),
    ],
)
async def test_what_it_cannot_work_with_ends_it_with_the_reason(variables: dict[str, str], reason: str):
    supervisor = await program("supervisor.py", **variables)
    assert reason in (await supervisor.communicate())[0].decode()
    assert supervisor.returncode == 1
