"""Queue functions: messages in batches, with leases that are renewed, and a poison queue for failed messages."""

import asyncio
import base64
import contextlib
import json
import logging
import os
import random
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from azure.functions.meta import Datum
from azure.functions.queue import QueueMessageInConverter

from infra.emulator.azurite import connection_string
from infra.emulator.host.index import Function, annotation_of
from infra.emulator.host.operations import InvocationFailed, Invoker
from infra.emulator.host.settings import HostConfiguration, InvalidApp, is_disabled, time_span
from infra.emulator.host.timers import resolve

if TYPE_CHECKING:
    from azure.storage.queue import QueueMessage
    from azure.storage.queue.aio import QueueClient

MOST_AT_ONCE = 32  # messages in one response of the service
FIRST_PAUSE = 0.1
log = logging.getLogger("host")


@dataclass(frozen=True)
class QueueSettings:
    """The `queues` section of host.json, with times in seconds."""

    batch_size: int
    new_batch_threshold: int
    max_dequeue_count: int
    visibility_timeout: float
    max_polling_interval: float
    base64: bool
    lease_seconds: int = 600

    @classmethod
    def of(cls, configuration: HostConfiguration) -> "QueueSettings":
        """The settings of an app. Raises InvalidApp."""
        encoding = configuration.get("extensions.queues.messageEncoding", "base64")
        if encoding not in ("base64", "none"):
            raise InvalidApp(f"host.json: extensions.queues.messageEncoding cannot be {encoding!r}")
        size = configuration.get("extensions.queues.batchSize", 16)
        if not 1 <= size <= MOST_AT_ONCE:
            raise InvalidApp(f"host.json: extensions.queues.batchSize must be 1 to {MOST_AT_ONCE}")
        return cls(
            batch_size=size,
            new_batch_threshold=configuration.get("extensions.queues.newBatchThreshold", 8 * (os.cpu_count() or 1)),
            max_dequeue_count=configuration.get("extensions.queues.maxDequeueCount", 5),
            visibility_timeout=time_span(configuration.get("extensions.queues.visibilityTimeout", "00:00:00")),
            max_polling_interval=time_span(configuration.get("extensions.queues.maxPollingInterval", "00:01:00")),
            base64=encoding == "base64",
        )


class Queues:
    """The queue functions of an app.

    Raises:
        InvalidApp: host.json, or the connection of a function, cannot be used.
    """

    def __init__(self, functions: list[Function], invoker: Invoker, configuration: HostConfiguration):
        own = [function for function in functions if function.kind == "queueTrigger"]
        limits = QueueSettings.of(configuration)
        self._queues = {function.name: Queue(function, invoker, limits) for function in own}
        self._fired: set[asyncio.Task[bool]] = set()

    def fire(self, function: Function, text: str) -> None:
        """Run a queue function once in the background, with a message that is not taken from a queue."""
        metadata = {"Id": str(uuid.uuid4()), "DequeueCount": 1, "PopReceipt": ""}
        task = asyncio.create_task(self._queues[function.name].call(text.encode, metadata))
        self._fired.add(task)
        task.add_done_callback(self._fired.discard)

    @contextlib.asynccontextmanager
    async def running(self, *, drain_seconds: float) -> AsyncIterator[None]:
        """Poll the queue of every function that is not disabled; at the end, functions have `drain_seconds` to finish.

        Unfinished messages stay queued.
        """
        async with contextlib.AsyncExitStack() as stack:
            for queue in (queue for name, queue in self._queues.items() if not is_disabled(name)):
                await stack.enter_async_context(queue.running(drain_seconds=drain_seconds))
            yield


class Queue:
    """One queue, and the function that handles its messages."""

    def __init__(self, function: Function, invoker: Invoker, limits: QueueSettings):
        self.function, self._invoker, self._limits = function, invoker, limits
        setting = function.trigger.get("connection") or "AzureWebJobsStorage"
        self._connection = os.environ.get(setting, "")
        if not self._connection:
            raise InvalidApp(f"{function.name}: the app setting {setting} is not set")
        try:
            self._name = resolve(function.trigger["queueName"])
        except ValueError as error:
            raise InvalidApp(f"{function.name}: {error}") from None
        self._work: set[asyncio.Task[None]] = set()
        self._room = asyncio.Event()

    @contextlib.asynccontextmanager
    async def running(self, *, drain_seconds: float) -> AsyncIterator[None]:
        """Poll the queue; at the end, running functions have `drain_seconds` to finish."""
        async with self._client(self._name) as queue:
            polling = asyncio.create_task(self._poll(queue))
            try:
                yield
            finally:
                polling.cancel()
                await asyncio.gather(polling, return_exceptions=True)
                if work := set(self._work):
                    await asyncio.wait(work, timeout=drain_seconds)
                for task in work:
                    task.cancel()
                await asyncio.gather(*work, return_exceptions=True)

    async def _poll(self, queue: "QueueClient") -> None:
        """Take messages whenever there is room for a batch; the pause grows while the queue is empty."""
        pause = FIRST_PAUSE
        while True:
            try:
                messages = await self._receive(queue)
            except Exception as error:  # any error of the client: the queue may be available later
                log.warning("%s: queue %s cannot be read: %s", self.function.name, self._name, error)
                messages = []
            for message in messages:
                task = asyncio.create_task(self._handle(queue, message))
                self._work.add(task)
                task.add_done_callback(self._done)
            if messages:
                pause = FIRST_PAUSE
            else:
                await asyncio.sleep(pause * random.uniform(0.8, 1.2))
                pause = min(pause * 1.5, self._limits.max_polling_interval)
            while len(self._work) > self._limits.new_batch_threshold:
                self._room.clear()
                await self._room.wait()

    def _client(self, name: str) -> "QueueClient":
        from azure.storage.queue.aio import QueueClient

        connection = self._connection
        if connection.strip(";") == "UseDevelopmentStorage=true":
            connection = connection_string(10000, 10001, 10002)
        return QueueClient.from_connection_string(connection, name)

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._work.discard(task)
        self._room.set()
        if not task.cancelled() and (error := task.exception()):
            log.error(
                "%s: the outcome of a message of queue %s was not stored: %s", self.function.name, self._name, error
            )

    async def _receive(self, queue: "QueueClient") -> "list[QueueMessage]":
        from azure.core.exceptions import ResourceNotFoundError

        wanted, lease = self._limits.batch_size, self._limits.lease_seconds
        found = queue.receive_messages(messages_per_page=wanted, max_messages=wanted, visibility_timeout=lease)
        try:
            return [message async for message in found]
        except ResourceNotFoundError:  # the queue does not exist yet
            return []

    async def _handle(self, queue: "QueueClient", message: "QueueMessage") -> None:
        """Run the function; then delete the message, move it to the poison queue, or make it visible again."""
        renewing = asyncio.create_task(self._renew(queue, message))
        try:
            succeeded = await self._run(message)
        finally:
            renewing.cancel()
            await asyncio.gather(renewing, return_exceptions=True)
        if succeeded:
            await queue.delete_message(message)
        elif (message.dequeue_count or 1) >= self._limits.max_dequeue_count:
            await self._move_to_poison(message)
            await queue.delete_message(message)
        else:
            await queue.update_message(message, visibility_timeout=int(self._limits.visibility_timeout))

    async def _renew(self, queue: "QueueClient", message: "QueueMessage") -> None:
        """Keep the message invisible to other consumers while the function runs."""
        while True:
            await asyncio.sleep(self._limits.lease_seconds / 2)
            renewed = await queue.update_message(message, visibility_timeout=self._limits.lease_seconds)
            message.pop_receipt = renewed.pop_receipt

    async def _run(self, message: "QueueMessage") -> bool:
        metadata = {
            "Id": message.id,
            "DequeueCount": message.dequeue_count,
            "PopReceipt": message.pop_receipt,
            "InsertionTime": message.inserted_on and message.inserted_on.isoformat(),
            "ExpirationTime": message.expires_on and message.expires_on.isoformat(),
            "NextVisibleTime": message.next_visible_on and message.next_visible_on.isoformat(),
        }
        return await self.call(lambda: self._decode(message.content), metadata)

    async def call(self, body: Callable[[], bytes], metadata: dict[str, Any]) -> bool:
        """Run the function on one message; returns whether it succeeded."""
        try:
            with self._invoker.invocation(self.function) as invocation:
                value = self._value(body(), metadata)
                await self._invoker.run(self.function, invocation, **{self.function.trigger["name"]: value})
        except InvocationFailed:
            return False
        return True

    def _decode(self, content: str) -> bytes:
        return base64.b64decode(content, validate=True) if self._limits.base64 else content.encode()

    def _value(self, body: bytes, metadata: dict[str, Any]) -> Any:
        """The argument for the function: a `QueueMessage`, or text or bytes when the parameter is annotated so."""
        annotation = annotation_of(self.function.call, self.function.trigger["name"])
        if annotation is bytes:
            return body
        if annotation is str:
            return body.decode()
        given = {name: Datum(json.dumps(value), "json") for name, value in metadata.items() if value is not None}
        return QueueMessageInConverter.decode(Datum(body, "bytes"), trigger_metadata=given)

    async def _move_to_poison(self, message: "QueueMessage") -> None:
        from azure.core.exceptions import ResourceExistsError

        name = f"{self._name}-poison"
        log.warning("%s: message %s is moved to %s", self.function.name, message.id, name)
        async with self._client(name) as poison:
            with contextlib.suppress(ResourceExistsError):
                await poison.create_queue()
            await poison.send_message(message.content, time_to_live=-1)
