"""Connects the records library (`shared.tables`) to this app's storage account."""

from collections.abc import AsyncIterator
from datetime import datetime

from shared import blobs, tables
from shared.credential import credential
from shared.settings import settings

CONTAINER = "records"
"""The blob container of texts that are too long for a row."""


class _LongTexts:
    """Texts that are too long for a row, each a blob in `CONTAINER`."""

    async def put(self, name: str, data: bytes) -> None:
        await blobs.put(CONTAINER, name, data)

    async def get(self, name: str) -> bytes | None:
        try:
            return await blobs.get(CONTAINER, name)
        except blobs.BlobNotFound:
            return None

    async def delete(self, name: str) -> None:
        await blobs.delete(CONTAINER, name)

    def names(self, prefix: str = "") -> AsyncIterator[tuple[str, datetime]]:
        return blobs.names(CONTAINER, prefix)


def connect() -> None:
    """Make all collections use the storage account of the settings, which are read on the first operation."""
    tables.use(_storage)


def _storage() -> tables.Storage:
    account = settings().account
    identity = None if account.key else credential()
    return tables.Storage(account.name, account.tables, _LongTexts(), key=account.key or None, identity=identity)
