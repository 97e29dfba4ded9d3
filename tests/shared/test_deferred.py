"""Deferred work: one call to send, each item once, failures again and again, then an alert."""

import asyncio
import base64
import json
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from azure.storage.queue.aio import QueueClient

from shared import blobs, deferred, faults, queues, tables
from shared.settings import settings
from tests.support.waiting import eventually


class Work:
    """A handler that notes what it was called with, and fails as often as it is told."""

    def __init__(self) -> None:
        self.done: list[Any] = []
        self.failures = 0
        self.hold = asyncio.Event()
        self.hold.set()

    async def __call__(self, value: Any) -> None:
        await self.hold.wait()
        if self.failures:
            self.failures -= 1
            raise RuntimeError("the other side does not respond")
        self.done.append(value)


@pytest.fixture
async def work(account: None, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Work]:
    """The handler `test.work`, on queues of its own, with pauses of no length."""
    own, name = Work(), uuid.uuid4().hex
    monkeypatch.setitem(deferred.handlers, "test.work", own)
    monkeypatch.setattr(deferred, "QUEUE", f"work-{name}")
    monkeypatch.setattr(deferred, "POISON_QUEUE", f"poison-{name}")
    monkeypatch.setattr(deferred, "PAUSES", (0, 0, 0))
    yield own
    await queues.close()


async def take(queue: str) -> list[bytes]:
    """The bodies of all messages that are visible in a queue, which are taken out of it."""
    async with QueueClient.from_connection_string(settings().storage, queue) as client:
        found: list[bytes] = []
        async for message in client.receive_messages(messages_per_page=32):
            found.append(base64.b64decode(message.content))
            await client.delete_message(message)
        return found


async def no_answer(*_: Any, **__: Any) -> None:
    raise tables.StorageUnavailable("no answer in time")


async def perform_all() -> int:
    """Do what the queue holds until it is empty; returns how many messages there were."""
    count = 0
    while bodies := await take(deferred.QUEUE):
        count += len(bodies)
        for body in bodies:
            await deferred.perform(body)
    return count


async def test_a_value_reaches_its_handler_once(work: Work):
    await deferred.defer("test.work", {"a": [1, None, "ä"]})
    assert await perform_all() == 1
    assert work.done == [{"a": [1, None, "ä"]}]


async def test_the_first_items_of_all_may_be_sent_at_once(work: Work):
    await asyncio.gather(*(deferred.defer("test.work", number) for number in range(20)))
    assert await perform_all() == 20
    assert sorted(work.done) == list(range(20))


async def test_a_large_value_goes_by_a_blob_that_is_deleted_afterwards(work: Work):
    await deferred.defer("test.work", "x" * 200_000)
    (body,) = await take(deferred.QUEUE)
    blob = json.loads(body)["blob"]
    assert blob and len(body) < 1000
    await deferred.perform(body)
    assert work.done == ["x" * 200_000]
    with pytest.raises(blobs.BlobNotFound):
        await blobs.get(deferred.CONTAINER, blob)


async def test_items_with_the_same_id_are_worked_on_once(work: Work):
    for _ in range(3):
        await deferred.defer("test.work", 1, item_id="same")
    await perform_all()
    await deferred.defer("test.work", 1, item_id="same")
    await perform_all()
    assert work.done == [1]


async def test_two_messages_of_one_item_at_the_same_moment_do_it_once(work: Work, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(deferred, "LEASE", timedelta(seconds=2))
    work.hold.clear()
    for _ in range(2):
        await deferred.defer("test.work", 1, item_id="both")
    bodies = await take(deferred.QUEUE)
    both = [asyncio.create_task(deferred.perform(body)) for body in bodies]
    await eventually(_any_done(both))
    work.hold.set()
    await asyncio.gather(*both)
    assert work.done == [1]


def _any_done(tasks: list[asyncio.Task[None]]) -> Any:
    async def probe() -> bool:
        return any(task.done() for task in tasks)

    return probe


async def test_an_item_of_a_killed_host_is_done_when_its_message_comes_again(
    work: Work, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(deferred, "LEASE", timedelta(seconds=-1))  # over as soon as it has begun
    await deferred.defer("test.work", 1, item_id="cut off")
    (body,) = await take(deferred.QUEUE)
    message = deferred.DeferredMessage(**json.loads(body))
    assert await deferred._start(message) is not None  # and here the host dies
    await deferred.perform(body)
    assert work.done == [1]


async def test_a_failure_is_repeated_until_it_passes(work: Work):
    work.failures = 3
    await deferred.defer("test.work", 1)
    assert await perform_all() == 4
    assert work.done == [1]


async def test_what_always_fails_is_set_aside_and_reported(work: Work, monkeypatch: pytest.MonkeyPatch):
    reported: list[tuple[str, str]] = []

    async def note(cause: str, message: str) -> None:
        reported.append((cause, message))

    async def broken(cause: str, message: str) -> None:
        raise RuntimeError("no alert today")

    monkeypatch.setattr(faults, "reporters", [broken, note])
    work.failures = 100
    await deferred.defer("test.work", {"token": "secret-value"})
    assert await perform_all() == 4
    assert [json.loads(body)["value"] for body in await take(deferred.POISON_QUEUE)] == [{"token": "secret-value"}]
    assert reported == [("deferred test.work", "Deferred work test.work failed 4 times: RuntimeError")]


@pytest.mark.parametrize("call", ["insert", "update"])
async def test_work_waits_for_storage_as_long_as_that_does_not_answer(
    work: Work, monkeypatch: pytest.MonkeyPatch, call: str
):
    monkeypatch.setattr(deferred, "STORAGE_PAUSE", 0)
    monkeypatch.setattr(deferred, "LEASE", timedelta(seconds=-1))
    await deferred.defer("test.work", 1)
    with monkeypatch.context() as patched:
        patched.setattr(deferred.items, call, no_answer)
        for _ in range(12):
            (body,) = await take(deferred.QUEUE)
            await deferred.perform(body)
            assert "attempt" not in json.loads(body)
    assert await perform_all() == 1
    assert 1 in work.done


@pytest.mark.parametrize(("call", "failures", "calls"), [("delete", 1, 2), ("update", 0, 1)])
async def test_an_item_whose_end_could_not_be_stored_is_continued_and_done_work_is_not_done_again(
    work: Work, monkeypatch: pytest.MonkeyPatch, call: str, failures: int, calls: int
):
    called: list[Any] = []

    async def handler(value: Any) -> None:
        called.append(value)
        await work(value)

    monkeypatch.setitem(deferred.handlers, "test.work", handler)
    monkeypatch.setattr(deferred, "STORAGE_PAUSE", 0)
    work.failures = failures
    await deferred.defer("test.work", "x" * 50_000)
    (body,) = await take(deferred.QUEUE)
    with monkeypatch.context() as patched:
        patched.setattr(deferred.items, call, no_answer)
        await deferred.perform(body)
    assert await perform_all() == 1
    assert work.done == ["x" * 50_000]
    assert len(called) == calls
    with pytest.raises(blobs.BlobNotFound):
        await blobs.get(deferred.CONTAINER, json.loads(body)["blob"])


async def test_a_value_that_storage_does_not_give_is_no_failed_attempt(work: Work, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(deferred, "STORAGE_PAUSE", 0)
    await deferred.defer("test.work", "x" * 50_000)
    with monkeypatch.context() as patched:
        patched.setattr(blobs, "get", no_answer)
        for _ in range(5):
            (body,) = await take(deferred.QUEUE)
            await deferred.perform(body)
    assert await perform_all() == 1
    assert work.done == ["x" * 50_000]


async def test_one_message_that_cannot_be_read_stops_none_of_the_others(work: Work):
    for body in (b"", b"{", b"[]", b'{"handler": 1}', b'{"handler": "test.work", "item_id": "x", "other": 1}'):
        await deferred.perform(body)
    await deferred.defer("test.work", 1)
    await perform_all()
    assert work.done == [1]


async def test_work_that_no_slice_declares_is_refused_by_its_sender_and_kept_by_its_receiver(work: Work):
    with pytest.raises(KeyError, match="no slice of this app declares"):
        await deferred.defer("other.work", 1)
    await deferred.perform(json.dumps({"handler": "other.work", "item_id": "x"}).encode())
    (body,) = await take(deferred.QUEUE)
    assert json.loads(body) == {"handler": "other.work", "item_id": "x", "attempt": 1}


async def test_finished_items_are_forgotten_after_a_day(work: Work, monkeypatch: pytest.MonkeyPatch):
    await deferred.defer("test.work", 1, item_id="old")
    await perform_all()
    assert await deferred.purge() == 0
    monkeypatch.setattr(deferred, "KEPT", timedelta(0))
    monkeypatch.setattr(deferred, "datetime", Later)
    assert await deferred.purge() >= 1


class Later(datetime):
    """The clock of an hour from now."""

    @classmethod
    def now(cls, tz: Any = None) -> datetime:
        return datetime.now(UTC) + timedelta(hours=1)


async def test_the_functions_host_does_it_after_the_response(sample: httpx.AsyncClient):
    word, item_id = uuid.uuid4().hex, uuid.uuid4().hex
    for _ in range(2):
        response = await sample.post("/entries/later", params={"word": word, "item_id": item_id})
        assert response.status_code == 202, response.text

    async def total() -> int:
        return (await sample.get("/entries", params={"word": word})).json()["data"]["total"]

    await eventually(total, until=lambda count: count == 1)
    await asyncio.sleep(0.2)
    assert await total() == 1
