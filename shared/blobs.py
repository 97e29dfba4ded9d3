"""Blob Storage: streamed up- and downloads, links for containers, append-only logs."""

# pyright: reportUnknownMemberType=false, reportMissingTypeStubs=false

import asyncio
import contextlib
import io
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from shared.answers import OPTIONS, answered
from shared.credential import credential
from shared.settings import settings
from shared.tables.errors import StorageUnavailable

if TYPE_CHECKING:
    from azure.storage.blob import BlobBlock
    from azure.storage.blob.aio import BlobClient, BlobServiceClient

CHUNK = 4 * 1024 * 1024
"""Bytes of a file that an upload or download has in memory at a time."""

LINK_HOURS = 25
"""Hours for which a link is valid: longer than the longest job."""

_LOST = {"ContainerNotFound", "InvalidBlockList"}
"""Codes of errors for a later block of a file whose container was deleted, or deleted and created again."""

KEY_HOURS = 72
"""Hours for which a key is asked for that signs links; the service allows 168."""

_services: "WeakKeyDictionary[asyncio.AbstractEventLoop, BlobServiceClient]" = WeakKeyDictionary()
_keys: "WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Task[_SigningKey]]" = WeakKeyDictionary()
_known: set[str] = set()


class BlobNotFound(Exception):
    """No such blob."""


class OffsetMismatch(Exception):
    """An append was made for an offset beyond the end of the log; `size` is the log's length."""

    def __init__(self, size: int):
        super().__init__(f"log ends at {size}")
        self.size = size


@dataclass(frozen=True)
class BlobInfo:
    """A blob's properties; `size` in bytes."""

    size: int
    etag: str
    content_type: str


@dataclass(frozen=True)
class _SigningKey:
    """A key of the service that signs links until a moment."""

    key: Any
    until: datetime


def _service() -> "BlobServiceClient":
    """Return the client of this event loop: its connections belong to the loop."""
    loop = asyncio.get_running_loop()
    if loop not in _services:
        from azure.storage.blob.aio import BlobServiceClient

        account = settings().account
        _services[loop] = BlobServiceClient(
            account.blobs,
            credential=account.key or credential(),
            max_single_get_size=CHUNK,
            max_chunk_get_size=CHUNK,
            max_single_put_size=CHUNK,
            max_block_size=CHUNK,
            **OPTIONS,
        )
    return _services[loop]


async def close() -> None:
    """Close this loop's connections."""
    service = _services.pop(asyncio.get_running_loop(), None)
    if service is not None:
        await service.close()
    _keys.pop(asyncio.get_running_loop(), None)
    _known.clear()


async def _blob(container: str, name: str) -> "BlobClient":
    """Return the client of one blob; its container is created on first use."""
    from azure.core.exceptions import ResourceExistsError

    service = _service()
    if container not in _known:
        with contextlib.suppress(ResourceExistsError):
            async with answered():
                await service.create_container(container)
        _known.add(container)
    return service.get_blob_client(container, name)


async def _begin(container: str, name: str, write: Callable[["BlobClient"], Awaitable[object]]) -> "BlobClient":
    """Make the first call that writes a blob; a container deleted, or lost, since it was created is created again."""
    from azure.core.exceptions import ResourceNotFoundError

    for _ in range(2):
        blob = await _blob(container, name)
        try:
            async with answered():
                await write(blob)
            return blob
        except ResourceNotFoundError:
            _known.discard(container)
    raise StorageUnavailable(f"the container {container} does not exist, although it was created")


async def put(container: str, name: str, data: bytes | AsyncIterable[bytes], content_type: str | None = None) -> None:
    """Write a blob, replacing one of that name; a stream is sent in blocks of `CHUNK` bytes as it arrives.

    `StorageUnavailable` when the container is lost between two blocks, too; then nothing is stored.
    """
    from azure.core.exceptions import HttpResponseError
    from azure.storage.blob import BlobBlock, ContentSettings

    content: Any = ContentSettings(content_type=content_type) if content_type else None
    parts = _blocks(data)
    first = await anext(parts, b"")
    if len(first) < CHUNK:
        await _begin(container, name, lambda blob: blob.upload_blob(first, overwrite=True, content_settings=content))
        return
    blocks = [BlobBlock("00000000")]
    blob = await _begin(container, name, lambda blob: _stage(blob, blocks[0], first))
    try:
        async for part in parts:
            blocks.append(BlobBlock(f"{len(blocks):08d}"))
            async with answered():
                await _stage(blob, blocks[-1], part)
        async with answered():
            await blob.commit_block_list(blocks, content_settings=content)
    except HttpResponseError as error:
        if getattr(error, "error_code", "") not in _LOST:
            raise
        _known.discard(container)
        raise StorageUnavailable(f"the container {container} was lost while {name} was written") from error


async def _stage(blob: "BlobClient", block: "BlobBlock", data: bytes) -> None:
    await blob.stage_block(block.id, io.BytesIO(data), length=len(data))


async def _blocks(data: bytes | AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """Yield the bytes in blocks of `CHUNK`; the last one may be shorter."""
    block = bytearray()
    async for part in _once(data) if isinstance(data, bytes) else data:
        block += part
        while len(block) >= CHUNK:
            yield bytes(block[:CHUNK])
            del block[:CHUNK]
    if block:
        yield bytes(block)


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def get(container: str, name: str) -> bytes:
    """Return the content of a small blob. `BlobNotFound`."""
    return b"".join([chunk async for chunk in stream(container, name)])


async def stream(container: str, name: str, offset: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
    """Yield a blob's bytes from `offset` on, at most `length`, in chunks of at most `CHUNK`. `BlobNotFound`."""
    from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

    blob = await _blob(container, name)
    try:
        async with answered():
            download = await blob.download_blob(offset=offset, length=length)
    except ResourceNotFoundError as error:
        raise BlobNotFound(name) from error
    except HttpResponseError as error:
        if error.status_code == 416:  # the blob ends before `offset`
            return
        raise
    chunks = aiter(download.chunks())
    while True:
        async with answered():  # each chunk, not the whole file, which may take minutes
            chunk = await anext(chunks, None)
        if chunk is None:
            return
        yield bytes(chunk)


async def info(container: str, name: str) -> BlobInfo:
    """Return size in bytes, ETag and content type. `BlobNotFound`."""
    from azure.core.exceptions import ResourceNotFoundError

    blob = await _blob(container, name)
    try:
        async with answered():
            properties = await blob.get_blob_properties()
    except ResourceNotFoundError as error:
        raise BlobNotFound(name) from error
    return BlobInfo(properties.size, properties.etag or "", properties.content_settings.content_type or "")


async def delete(container: str, name: str, *, unless_written_after: datetime | None = None) -> None:
    """Delete a blob; a blob that does not exist, or was written after that moment, is left, and is no error."""
    from azure.core.exceptions import ResourceModifiedError, ResourceNotFoundError

    blob = await _blob(container, name)
    condition: dict[str, Any] = {"if_unmodified_since": unless_written_after} if unless_written_after else {}
    with contextlib.suppress(ResourceNotFoundError, ResourceModifiedError):
        async with answered():
            await blob.delete_blob(**condition)


async def names(container: str, prefix: str = "") -> AsyncIterator[tuple[str, datetime]]:
    """Yield the name of each blob that begins so, by name, and when it was last written; nothing without the container.

    A query for each 5,000 blobs.
    """
    client = _service().get_container_client(container)
    async with answered():
        exists = await client.exists()
    if exists:
        async for blob in client.list_blobs(name_starts_with=prefix or None):
            yield blob.name, blob.last_modified


async def append(container: str, name: str, offset: int, data: bytes) -> int:
    """Append to a log that is `offset` bytes long, creating it at offset 0; return its new length.

    The offset is the sequence number: bytes that the log already has are skipped, so a repeat changes nothing.
    `OffsetMismatch` when the log ends before `offset`. Safe while other writers append the same bytes.
    """
    from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
    from azure.storage.blob import ContentSettings

    content: Any = ContentSettings(content_type="text/plain; charset=utf-8")
    if offset == 0:
        with contextlib.suppress(HttpResponseError):  # it exists: the append position shows what is a repeat
            await _begin(
                container,
                name,
                lambda blob: blob.create_append_blob(content_settings=content, match_condition=_absent()),
            )
    blob = await _blob(container, name)
    sent = 0
    while sent < len(data):
        block = data[sent : sent + CHUNK]
        try:
            async with answered():
                await blob.append_block(block, appendpos_condition=offset + sent)
        except ResourceNotFoundError as error:
            raise OffsetMismatch(0) from error
        except HttpResponseError as error:
            if error.status_code != 412:
                raise
            size = (await info(container, name)).size
            if size <= offset + sent:
                raise OffsetMismatch(size) from error
            sent = min(size - offset, len(data))
            continue
        sent += len(block)
    return offset + len(data)


def _absent() -> Any:
    from azure.core import MatchConditions

    return MatchConditions.IfMissing


async def _signing_key(until: datetime) -> _SigningKey:
    """Return a key that is valid until then. It is asked for once in two days, and by one caller at a time."""
    loop = asyncio.get_running_loop()
    known = _keys.get(loop)
    if known is None or (known.done() and (known.exception() or known.result().until < until)):
        known = _keys[loop] = asyncio.create_task(_new_signing_key())
    return await asyncio.shield(known)


async def _new_signing_key() -> _SigningKey:
    start = datetime.now(UTC) - timedelta(minutes=20)  # before the start of any link
    until = start + timedelta(hours=KEY_HOURS)
    async with answered():
        return _SigningKey(await _service().get_user_delegation_key(start, until), until)


async def link(container: str, name: str, *, write: bool = False) -> str:
    """Return an address with which this one blob can be read, or written, without another credential."""
    from azure.storage.blob import BlobSasPermissions, generate_blob_sas

    blob, account = await _blob(container, name), settings().account
    start = datetime.now(UTC) - timedelta(minutes=15)  # clocks differ
    expiry = start + timedelta(hours=LINK_HOURS)
    key: Any = {"account_key": account.key}
    if not account.key:
        key = {"user_delegation_key": (await _signing_key(expiry)).key}
    permission = BlobSasPermissions(read=not write, write=write, create=write)
    token = generate_blob_sas(account.name, container, name, permission=permission, start=start, expiry=expiry, **key)
    return f"{blob.url}?{token}"
