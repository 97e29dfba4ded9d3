"""The client of Durable Functions when the Functions host does not answer it."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import azure.durable_functions as df
import pytest

from infra.emulator.processes import free_ports
from shared import workflows
from shared.http.errors import Unavailable
from shared.workflows import WorkflowClient

pytestmark = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # responses that were given up

CALLS: dict[str, Callable[[WorkflowClient], Awaitable[object]]] = {
    "start": lambda client: client.start("workflow", "id"),
    "signal": lambda client: client.signal("id", "event"),
    "status": lambda client: client.status("id"),
}


def client_of(port: int) -> WorkflowClient:
    """The client as the host would bind it, for a host on this port."""
    base = f"http://127.0.0.1:{port}/runtime/webhooks/durabletask/"
    binding: dict[str, Any] = {"taskHubName": "x", "creationUrls": {}, "managementUrls": {}, "rpcBaseUrl": base}
    return WorkflowClient(df.DurableOrchestrationClient(json.dumps(binding)))


@pytest.fixture
async def silent(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[WorkflowClient]:
    """The client of a host that accepts connections and never answers."""
    over = asyncio.Event()

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await over.wait()
        writer.close()

    monkeypatch.setattr(workflows, "PATIENCE", 0.2)
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield client_of(server.sockets[0].getsockname()[1])
    over.set()
    server.close()


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_a_call_that_is_not_answered_ends_as_503(
    silent: WorkflowClient, call: Callable[[WorkflowClient], Awaitable[object]]
):
    async with asyncio.timeout(30):
        with pytest.raises(Unavailable) as refusal:
            await call(silent)
    assert (refusal.value.status, refusal.value.headers) == (503, {"Retry-After": "5"})


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_a_host_that_cannot_be_reached_is_503(call: Callable[[WorkflowClient], Awaitable[object]]):
    with pytest.raises(Unavailable):
        await call(client_of(free_ports(1)[0]))


async def test_what_the_upkeep_repairs_is_not_reported_as_failed(
    silent: WorkflowClient, caplog: pytest.LogCaptureFixture
):
    async with asyncio.timeout(30):
        with caplog.at_level(logging.ERROR):
            await silent.start_now_or_later("workflow", "started")
            assert await silent.signal_now_or_later("signalled", "cancel")
    assert [record.getMessage() for record in caplog.records] == [
        "the workflow of started could not be started and is started later",
        "the workflow of signalled could not be told cancel and is told later",
    ]
