"""Messages of storage queues, sent and counted."""

# pyright: reportUnknownMemberType=false, reportMissingTypeStubs=false

import asyncio
import base64
import contextlib
import hmac
import logging
import time
from email.utils import formatdate
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary
from xml.sax.saxutils import escape

from shared import outbound
from shared.answers import OPTIONS, answered
from shared.credential import credential
from shared.outbound import NoAnswer
from shared.settings import settings
from shared.tables.patience import patience

if TYPE_CHECKING:
    from azure.storage.queue.aio import QueueClient

log = logging.getLogger(__name__)

API_VERSION = "2024-11-04"
SCOPE = "https://storage.azure.com/.default"

_clients: "WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, QueueClient]]" = WeakKeyDictionary()


async def send(queue: str, text: str, delay: int = 0) -> None:
    """Add a message of at most 64 KiB to a queue, which is made when it does not exist; seen after `delay` seconds.

    `StorageUnavailable`. After an attempt without an answer it may be there twice. 1 call, which does without the SDK:
    that takes four times the processor time. What does not succeed at once is left to the SDK.
    """
    if await _posted(queue, text, delay):
        return
    from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError

    client = _client(queue)
    for _ in range(2):
        try:
            async with answered():
                await client.send_message(text, visibility_timeout=delay)
            return
        except ResourceNotFoundError:
            with contextlib.suppress(ResourceExistsError):  # another first message has created it meanwhile
                async with answered():
                    await client.create_queue()
    raise ConnectionError(f"the queue {queue} cannot be created")


async def length(queue: str) -> int:
    """Return about how many messages a queue holds, none when it does not exist. `StorageUnavailable`. 1 call."""
    from azure.core.exceptions import ResourceNotFoundError

    try:
        async with answered():
            found = await _client(queue).get_queue_properties()
    except ResourceNotFoundError:
        return 0
    return found.approximate_message_count or 0


async def _posted(queue: str, text: str, delay: int) -> bool:
    """Send a message in a single request; return whether the service has taken it."""
    url = f"{settings().account.queues.rstrip('/')}/{queue}/messages"
    body = f"<QueueMessage><MessageText>{escape(text)}</MessageText></QueueMessage>".encode()
    address = f"{url}?visibilitytimeout={delay}" if delay else url
    try:
        async with asyncio.timeout(patience.seconds):
            headers = await _signed(url)
            async with outbound.request("POST", address, limit=10_000, headers=headers, body=body) as answer:
                patience.answered()
                await answer.read()
                return answer.status == 201
    except (TimeoutError, NoAnswer) as error:
        patience.unanswered()
        log.info("a message for the queue %s is sent again: %s", queue, error or "no answer in time")
        return False


async def _signed(url: str) -> dict[str, str]:
    """Return the headers of a POST to this address: signed with the account key (SharedKeyLite), or with a token."""
    account = settings().account
    date = formatdate(time.time(), usegmt=True)
    headers = {"x-ms-date": date, "x-ms-version": API_VERSION, "Content-Type": "application/xml"}
    if account.key:
        signed = "\n".join(
            ["POST", "", "application/xml", "", f"x-ms-date:{date}", f"x-ms-version:{API_VERSION}",
             f"/{account.name}{urlsplit(url).path}"]
        )  # fmt: skip
        digest = hmac.digest(base64.b64decode(account.key), signed.encode(), "sha256")
        headers["Authorization"] = f"SharedKeyLite {account.name}:{base64.b64encode(digest).decode()}"
    else:
        headers["Authorization"] = f"Bearer {(await credential().get_token(SCOPE)).token}"
    return headers


async def close() -> None:
    """Close this loop's connections."""
    for client in _clients.pop(asyncio.get_running_loop(), {}).values():
        await client.close()


def _client(name: str) -> "QueueClient":
    """One client per event loop and queue: its connections belong to that loop."""
    own = _clients.setdefault(asyncio.get_running_loop(), {})
    if name not in own:
        from azure.core.credentials import AzureNamedKeyCredential
        from azure.storage.queue.aio import QueueClient

        account = settings().account
        key: Any = AzureNamedKeyCredential(account.name, account.key) if account.key else credential()
        own[name] = QueueClient(account.queues, name, credential=key, **OPTIONS)
    return own[name]
