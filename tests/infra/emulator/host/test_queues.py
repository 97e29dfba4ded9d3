"""Queue functions on a running host, with real queues."""

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from azure.functions import QueueMessage
from azure.storage.queue.aio import QueueClient, QueueServiceClient

from infra.emulator.host.index import Function
from infra.emulator.host.operations import Invoker
from infra.emulator.host.queues import Queue, QueueSettings
from infra.emulator.processes import NotReady
from tests.infra.emulator.host.harness import Serve, ServedApp, eventually, shared

APP = """
import json

all_sixteen, running = asyncio.Barrier(16), 0

def note(what):
    logging.info("GOT %s", json.dumps(what))

@app.queue_trigger(arg_name="message", queue_name="%QUEUE%", connection="STORAGE")
async def work(message: func.QueueMessage):
    body = message.get_body().decode()
    note({"body": body, "count": message.dequeue_count, "id": message.id, "at": time.time()})
    if body.startswith("all"):
        await all_sixteen.wait()
        logging.info("all at once")
    if body.startswith("slow"):
        global running
        running += 1
        note({"body": "running", "count": running})
        await asyncio.sleep(0.3)
        running -= 1
    if body.startswith("bad"):
        raise ValueError("not this one")
"""


def got(served: ServedApp, begin: str = "") -> list[Any]:
    """What the function logged for each message that begins so, in order."""
    found = [json.loads(line.split("GOT ")[1]) for line in served.log.splitlines() if "GOT " in line]
    return [message for message in found if message["body"].startswith(begin)]


def text(message: str) -> str:
    return base64.b64encode(message.encode()).decode()


async def count(queue: QueueClient) -> int:
    """The number of messages in a queue, including leased ones."""
    return (await queue.get_queue_properties()).approximate_message_count or 0


@pytest.fixture
async def queue(storage: str, request: pytest.FixtureRequest) -> AsyncIterator[QueueClient]:
    """A fresh queue."""
    name = f"q-{abs(hash(request.node.name)):x}"[:40]
    async with QueueClient.from_connection_string(storage, name) as client:
        await client.create_queue()
        yield client


@pytest.fixture
def settings(storage: str, queue: QueueClient) -> dict[str, str]:
    return {"STORAGE": storage, "QUEUE": queue.queue_name}


@dataclass
class Work:
    """A host that works on the messages of a queue."""

    served: ServedApp
    queue: QueueClient


@pytest.fixture(scope="module")
async def work(storage: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Work]:
    """One host for all tests with the default settings; its queue is created when it runs."""
    env = {"STORAGE": storage, "QUEUE": "shared"}
    async with QueueClient.from_connection_string(storage, "shared") as queue:
        async with shared(tmp_path_factory.mktemp("queues"), APP, env=env) as served:
            await queue.create_queue()
            yield Work(served, queue)


async def test_a_message_in_a_queue_that_did_not_exist_at_the_start_is_processed_and_deleted(work: Work):
    await work.queue.send_message(text("grüße"))
    message = (await eventually(lambda: got(work.served, "grüße")))[0]
    assert (message["body"], message["count"]) == ("grüße", 1)
    await eventually(lambda: _empty(work.queue))


async def test_sixteen_messages_run_at_once(work: Work):
    for number in range(16):
        await work.queue.send_message(text(f"all {number}"))
    await eventually(lambda: "all at once" in work.served.log)
    await eventually(lambda: _empty(work.queue))


async def test_no_more_than_a_batch_runs_while_the_threshold_is_reached(
    serve: Serve, queue: QueueClient, settings: dict[str, str]
):
    for number in range(6):
        await queue.send_message(text(f"slow {number}"))
    limits = {"extensions": {"queues": {"batchSize": 2, "newBatchThreshold": 0}}}
    served = await serve(APP, env=settings, host_json=limits)
    await eventually(lambda: len(got(served, "slow")) == 6)
    assert {message["count"] for message in got(served, "running")} <= {1, 2}


async def test_a_message_that_fails_five_times_moves_to_the_poison_queue(storage: str, work: Work):
    await work.queue.send_message(text("bad"))
    async with QueueServiceClient.from_connection_string(storage) as service:
        await eventually(lambda: _exists(service, "shared-poison"))
        poison = service.get_queue_client("shared-poison")
        await eventually(lambda: _holds(poison, text("bad")))
    assert [message["count"] for message in got(work.served, "bad")] == [1, 2, 3, 4, 5]
    await eventually(lambda: _empty(work.queue))


async def test_a_message_that_is_not_base64_moves_to_the_poison_queue(
    serve: Serve, queue: QueueClient, settings: dict[str, str]
):
    await queue.send_message("not base64!")
    limits = {"extensions": {"queues": {"maxDequeueCount": 1}}}
    served = await serve(APP, env=settings, host_json=limits)
    await eventually(lambda: _empty(queue))
    assert got(served) == []
    assert "is moved to" in served.log


async def test_plain_text_where_host_json_says_so(serve: Serve, queue: QueueClient, settings: dict[str, str]):
    await queue.send_message("plain text!")
    served = await serve(APP, env=settings, host_json={"extensions": {"queues": {"messageEncoding": "none"}}})
    assert (await eventually(lambda: got(served)))[0]["body"] == "plain text!"


async def test_a_failed_message_is_visible_again_after_the_visibility_timeout(
    serve: Serve, queue: QueueClient, settings: dict[str, str]
):
    await queue.send_message(text("bad"))
    limits = {"extensions": {"queues": {"visibilityTimeout": "00:00:01", "maxDequeueCount": 2}}}
    served = await serve(APP, env=settings, host_json=limits)
    await eventually(lambda: len(got(served)) == 2)
    first, second = (message["at"] for message in got(served))
    assert second - first > 0.5


async def test_the_lease_is_renewed_while_a_message_is_processed(
    storage: str, queue: QueueClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    seen: list[float] = []

    async def work(message: QueueMessage) -> None:
        seen.append(time.monotonic())
        assert message.dequeue_count == 1
        await asyncio.sleep(2.5)

    monkeypatch.setenv("STORAGE", storage)
    trigger = {"type": "queueTrigger", "name": "message", "queueName": queue.queue_name, "connection": "STORAGE"}
    function = Function(name="work", trigger=trigger, call=work, clients=(), wants_context=False)
    limits = QueueSettings(16, 16, 5, 0, 1, True, lease_seconds=2)
    await queue.send_message(text("long"))
    async with Queue(function, Invoker(tmp_path, timeout=None, threads=1), limits).running(drain_seconds=5):
        await eventually(lambda: _empty(queue))
    assert len(seen) == 1, "the message came again while it was worked on"


async def test_a_queue_function_can_be_started_by_a_request(work: Work):
    answer = await work.served.http.post("/admin/functions/work", json={"input": "by hand"})
    assert answer.status_code == 202
    assert (await eventually(lambda: got(work.served, "by hand")))[0]["body"] == "by hand"


async def test_a_connection_that_is_not_set_is_refused_by_name(serve: Serve):
    with pytest.raises(NotReady, match="work: the app setting STORAGE is not set"):
        await serve(APP, env={"QUEUE": "q"})


async def _empty(queue: QueueClient) -> bool:
    return await count(queue) == 0


async def _exists(service: QueueServiceClient, name: str) -> bool:
    return name in [found.name async for found in service.list_queues()]


async def _holds(queue: QueueClient, content: str) -> bool:
    return content in [message.content for message in await queue.peek_messages()]
