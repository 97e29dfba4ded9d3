"""Deferred work: short work that a response does not wait for, sent as one queue message.

For memory after a chat, webhooks, notifications. Work that waits, needs an order or runs a container belongs into an
orchestration. All items share one queue and its Function, which has a concurrency of its own (`queues` in host.json),
so they never take the places of Durable activities.
"""

import base64
import contextlib
import json
import logging
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from shared import blobs, faults, queues, tables
from shared.tables import Collection, Record
from shared.tables.ids import derived_id

if TYPE_CHECKING:
    from shared.workflows import WorkflowClient

log = logging.getLogger(__name__)

QUEUE = "deferred-work"
POISON_QUEUE = "deferred-work-poison"
CONTAINER = "deferred"
"""The blob container of values that are too large for a message.

One whose message could not be sent is deleted by a rule of the storage account (infra/modules/storage.bicep).
"""

MAX_INLINE = 48_000
"""Bytes of a value that travels in the message; a queue message holds 64 KiB, and base64 adds a third."""

PAUSES = (1, 10, 60, 300, 1800)
"""Seconds before each further attempt; an item that fails once more goes to the poison queue."""

STORAGE_PAUSE = 10
"""Seconds before a message comes again for which storage did not answer."""

KEPT = timedelta(days=1)
"""How long a finished item is remembered, and a second one with its id left out."""

LEASE = timedelta(minutes=10)
"""How long an item counts as being worked on: no Function runs longer."""

_ID_TIME = datetime(2020, 1, 1, tzinfo=UTC)

Handler = Callable[[Any], Awaitable[None]]
"""Does one item's work, from the JSON value that was sent. After a crash it is called again for the same item."""

handlers: dict[str, Handler] = {}
"""The handlers of this app by `<slice>.<function name>`; `shared.slices.add_slice` adds those of each slice."""

WorkflowHandler = Callable[[Any, "WorkflowClient"], Awaitable[None]]
"""As `Handler`, with the client of workflows: for code that starts or signals one where there is no such client."""

workflow_handlers: dict[str, WorkflowHandler] = {}
"""The handlers of this kind, in the same way."""


class DeferredItem(Record):
    """An item that has been started: `done` once its handler has returned, else being worked on until `until`.

    `claim` is that of the message by which it is worked on.
    """

    done: bool = False
    until: datetime
    claim: str = ""


items = Collection("DeferredItems", DeferredItem, plain=True, spread=16)


@dataclass(frozen=True)
class DeferredMessage:
    """What the queue carries; `blob` is where the value is, when it is not in the message. `attempt` counts from 0.

    In a message that comes again because storage did not answer, `claim` tells that the item is taken for this message
    itself, and `done` that the handler has returned.
    """

    handler: str
    item_id: str
    value: Any = None
    blob: str | None = None
    attempt: int = 0
    claim: str = ""
    done: bool = False

    def encode(self) -> str:
        """The message as the Functions host expects it, without the fields that have their defaults."""
        body = {each.name: value for each in fields(self) if (value := getattr(self, each.name)) != each.default}
        return base64.b64encode(json.dumps(body).encode()).decode()


async def defer(handler: str, value: Any, *, item_id: str | None = None, delay: int = 0) -> str:
    """Send JSON `value` to a handler, after `delay` seconds; returns the item's id.

    The value is stored in clear until the work is done, so it must hold no secret: send the id of a record instead.
    Items of one handler with the same `item_id` are worked on once within a day. One call to the queue, and one to a
    blob for a value over `MAX_INLINE` bytes. KeyError for a handler that no slice of this app declares.
    """
    if handler not in handlers and handler not in workflow_handlers:
        raise KeyError(f"no slice of this app declares the deferred work {handler}")
    item_id = item_id or str(uuid.uuid4())
    data = json.dumps(value).encode()
    if len(data) <= MAX_INLINE:
        message = DeferredMessage(handler, item_id, value)
    else:
        message = DeferredMessage(handler, item_id, blob=f"{handler}/{uuid.uuid4()}")
        await blobs.put(CONTAINER, message.blob or "", data)
    await queues.send(QUEUE, message.encode(), delay)
    return item_id


async def perform(body: bytes, workflows: "WorkflowClient | None" = None) -> None:
    """Do the work of one message of the queue. Its failure is not raised: the item is sent again, later each time.

    While tables or blobs do not answer, the message is sent again, which is no attempt: the host would give it up after
    ten repeats. What is raised, because the queue does not answer either, makes the host repeat the message.
    """
    try:
        message = DeferredMessage(**json.loads(body))
    except (ValueError, TypeError):
        log.exception("a message of the queue %s cannot be read", QUEUE)
        return
    if not message.claim:
        message = replace(message, claim=uuid.uuid4().hex)
    try:
        item = await _start(message)  # None: done before, or being worked on
        if item is None:
            return
        if not message.done:
            if not await _worked(message, item, workflows):
                return
            message = replace(message, done=True)
        await _finish(message, item)
    except tables.StorageUnavailable:
        log.warning("%s %s waits for storage that does not answer", message.handler, message.item_id)
        await queues.send(QUEUE, message.encode(), STORAGE_PAUSE)


async def _worked(message: DeferredMessage, item: DeferredItem, workflows: "WorkflowClient | None") -> bool:
    """Call the handler; False when it has failed, and the item is sent again. `StorageUnavailable` before the call."""
    called = False
    try:
        value = await _value(message)
        called = True
        if workflows is not None and message.handler in workflow_handlers:
            await workflow_handlers[message.handler](value, workflows)
        else:
            await handlers[message.handler](value)
    except Exception as error:
        if isinstance(error, tables.StorageUnavailable) and not called:
            raise
        log.exception("%s %s failed, attempt %d", message.handler, message.item_id, message.attempt + 1)
        await _failed(message, item, error)
        return False
    return True


async def _finish(message: DeferredMessage, item: DeferredItem) -> None:
    def finish(record: DeferredItem) -> None:
        record.done = True

    await items.update(item.id, finish)
    if message.blob:
        await blobs.delete(CONTAINER, message.blob)


async def purge() -> int:
    """Forget finished items that are older than a day; returns how many."""
    count, limit = 0, datetime.now(UTC) - KEPT
    async with faults.Sweep("forgetting finished deferred work") as sweep:
        async for item in items.all():
            if item.updated_at < limit and item.until < limit:
                with sweep.item(item.id), contextlib.suppress(tables.RecordNotFound):
                    await items.delete(item.id)
                    count += 1
    return count


async def _start(message: DeferredMessage) -> DeferredItem | None:
    """Take the item for this message; None when it is done, or being worked on by another one."""
    now = datetime.now(UTC)
    item_id = derived_id(_ID_TIME, f"{message.handler} {message.item_id}")
    try:
        return await items.insert(DeferredItem(id=item_id, created_at=now, until=now + LEASE, claim=message.claim))
    except tables.RecordConflict:
        pass
    try:
        item = await items.get(item_id)
    except tables.RecordNotFound:  # purged, or put back, at this moment
        await queues.send(QUEUE, message.encode(), PAUSES[0])
        return None
    if item.done:
        if message.blob:
            await blobs.delete(CONTAINER, message.blob)
        return None
    if item.until > now and item.claim != message.claim:
        # A second message for it comes again, in case the first one is lost with its host.
        await queues.send(QUEUE, message.encode(), int((item.until - now).total_seconds()) + 1)
        return None

    def take(record: DeferredItem) -> None:
        record.until, record.claim = now + LEASE, message.claim

    try:
        return await items.update(item_id, take, if_match=item.etag)
    except (tables.RecordChanged, tables.RecordNotFound):
        await queues.send(QUEUE, message.encode(), PAUSES[0])
        return None


async def _value(message: DeferredMessage) -> Any:
    if message.blob is None:
        return message.value
    return json.loads(await blobs.get(CONTAINER, message.blob))


async def _failed(message: DeferredMessage, item: DeferredItem, error: Exception) -> None:
    """Release the item and send it again, or to the poison queue after the last attempt.

    Released first: when the host dies in between, its queue brings the message again, and the item is free.
    """
    try:
        await items.delete(item.id)
    except tables.RecordNotFound:
        pass
    again = replace(message, attempt=message.attempt + 1, claim="")
    if message.attempt < len(PAUSES):
        await queues.send(QUEUE, again.encode(), PAUSES[message.attempt])
    else:
        await queues.send(POISON_QUEUE, again.encode(), 0)
        what = f"Deferred work {message.handler} failed {again.attempt} times: {type(error).__name__}"
        await faults.report(f"deferred {message.handler}", what)
