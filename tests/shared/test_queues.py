"""Messages of queues, sent without the SDK and read with it."""

import uuid
from collections.abc import AsyncIterator
from types import SimpleNamespace
from unittest.mock import patch

import pytest
from azure.storage.queue.aio import QueueClient

from shared import outbound, queues
from shared.settings import settings


@pytest.fixture
async def queue(account: None) -> AsyncIterator[QueueClient]:
    """A queue that does not exist yet."""
    async with QueueClient.from_connection_string(settings().storage, f"q-{uuid.uuid4().hex}") as client:
        yield client
    await queues.close()


async def texts(queue: QueueClient) -> list[str]:
    return [message.content async for message in queue.receive_messages()]


async def test_a_message_arrives_as_it_was_sent_and_its_queue_is_made_for_it(queue: QueueClient):
    sent = ["first", "<b> & \"c\" 'd'", "äöü \U0001f600", "x" * 60_000]
    for text in sent:
        await queues.send(queue.queue_name, text)
    assert sorted(await texts(queue)) == sorted(sent)


async def test_a_message_with_a_delay_is_not_seen_before(queue: QueueClient):
    await queues.send(queue.queue_name, "later", 600)
    assert await texts(queue) == []
    assert (await queue.get_queue_properties()).approximate_message_count == 1


async def test_a_message_costs_one_call_of_the_service_and_none_of_the_sdk(queue: QueueClient):
    await queue.create_queue()
    with (
        patch.object(QueueClient, "send_message") as sdk,
        patch.object(outbound, "request", wraps=outbound.request) as own,
    ):
        await queues.send(queue.queue_name, "a")
    assert (sdk.call_count, own.call_count) == (0, 1)


async def test_what_the_service_refuses_at_first_is_sent_all_the_same(
    queue: QueueClient, monkeypatch: pytest.MonkeyPatch
):
    await queue.create_queue()
    monkeypatch.setattr(queues, "hmac", SimpleNamespace(digest=lambda *_: b"wrong"))
    assert not await queues._posted(queue.queue_name, "a", 0)
    await queues.send(queue.queue_name, "a")
    assert await texts(queue) == ["a"]
