"""The storage account that this library works with, handed in by the application."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol


class AccessToken(Protocol):
    """A bearer token and the second (Unix time) at which it expires."""

    @property
    def token(self) -> str: ...

    @property
    def expires_on(self) -> int: ...


class TokenSource(Protocol):
    """What gives out bearer tokens; every asynchronous credential of `azure-identity` is one."""

    async def get_token(self, *scopes: str, **options: Any) -> AccessToken: ...


class BlobStore(Protocol):
    """Where texts go that are too long for a row. Names are relative to a place that holds nothing else."""

    async def put(self, name: str, data: bytes) -> None:
        """Write a blob."""
        ...

    async def get(self, name: str) -> bytes | None:
        """The content of a blob; None when it does not exist."""
        ...

    async def delete(self, name: str) -> None:
        """Delete a blob, if it exists."""
        ...

    def names(self, prefix: str = "") -> AsyncIterator[tuple[str, datetime]]:
        """The name of each blob that begins with `prefix`, and when it was written."""
        ...


@dataclass(frozen=True)
class Storage:
    """A storage account: its name, the URL of its table service, and either its key or an identity."""

    account: str
    url: str
    blobs: BlobStore
    key: str | None = field(default=None, repr=False)
    identity: TokenSource | None = None

    def __post_init__(self) -> None:
        if (self.key is None) == (self.identity is None):
            raise ValueError(f"{self.account}: give either the account's key or an identity")


_source: Callable[[], Storage] | None = None


def use(source: Callable[[], Storage]) -> None:
    """Name the storage account of all collections.

    `source` is called when an event loop needs its first connection, so it may read settings and import SDKs. After a
    second `use`, or when `source` is to be asked again, call `close`.
    """
    global _source
    _source = source


def storage() -> Storage:
    """The storage account in use; RuntimeError before `use` was called."""
    if _source is None:
        raise RuntimeError("no storage account is in use: call shared.tables.use(...) before the first read or write")
    return _source()
