"""Table Storage over HTTP: signed requests, reads that are repeated, writes and transactions."""

import asyncio
import base64
import hashlib
import hmac
import io
import random
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from email.utils import formatdate
from typing import Any, NamedTuple, Protocol, TypeVar
from urllib.parse import quote, urlsplit

import orjson

from shared.tables import batch
from shared.tables.connection import Storage
from shared.tables.errors import ServiceRefused, StorageUnavailable
from shared.tables.patience import patience

SCOPE = "https://storage.azure.com/.default"
ATTEMPTS = 6
PAGE = 1000
"""Rows of one response at most."""

_PIECE = 256 * 1024
_BUSY = {408, 429, 500, 502, 503, 504}
_HEADERS = {
    "Accept": "application/json;odata=nometadata",
    "x-ms-version": "2019-02-02",
    "DataServiceVersion": "3.0",
    "User-Agent": "runyard",
}
_WRITE = {"Content-Type": batch.CONTENT_TYPE, "MaxDataServiceVersion": "3.0;NetFx"}

_of_keys = re.compile(r"[A-Za-z0-9_.~' -]*").fullmatch

Row = dict[str, Any]
T = TypeVar("T")


class Unanswered(Exception):
    """No response, or one that does not say what happened (500, 503): a write may be stored now, later or never."""

    def __init__(self, reason: str, wait: float | None = None):
        super().__init__(reason)
        self.wait = wait


class WireResponse(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes


class Transport(Protocol):
    """What sends a request. Tests put another one in between, which counts or fails."""

    async def send(self, method: str, url: str, headers: dict[str, str], body: bytes | None) -> WireResponse: ...

    async def close(self) -> None: ...


class Http:
    """aiohttp. azure-core's pipeline alone takes three times the processor time of a read."""

    def __init__(self) -> None:
        import aiohttp
        from yarl import URL

        # The service closes an idle connection after 5 s. Closing it before that keeps writes from closed connections.
        connector = aiohttp.TCPConnector(limit=64, keepalive_timeout=3)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=2)
        self._session: aiohttp.ClientSession = aiohttp.ClientSession(
            connector=connector,
            timeout=timeout,
            auto_decompress=False,
            skip_auto_headers=["Accept-Encoding"],
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        self._errors = (aiohttp.ClientError, TimeoutError, OSError)
        self._url = URL

    async def send(self, method: str, url: str, headers: dict[str, str], body: bytes | None) -> WireResponse:
        """One request, whose time `Wire` bounds; `Unanswered` when there is no response."""
        # aiohttp sends large content in pieces only when it is a stream.
        content = io.BytesIO(body) if body is not None and len(body) > _PIECE else body
        try:
            async with self._session.request(
                method, self._url(url, encoded=True), headers=headers, data=content, allow_redirects=False
            ) as response:
                return WireResponse(response.status, response.headers, await response.read())
        except self._errors as error:
            raise Unanswered(f"{type(error).__name__}: {error}") from error

    async def close(self) -> None:
        await self._session.close()


class Attempts:
    """The attempts of one operation."""

    def __init__(self, pause: float):
        self._pause, self._until = pause, time.monotonic() + patience.whole
        self.failed = 0
        """How many attempts have failed."""

    async def again(self, error: Unanswered) -> None:
        """Wait before the next attempt; raises `StorageUnavailable` when there is to be none."""
        own = self._pause * 2**self.failed * random.uniform(0.5, 1.5)  # noqa: S311
        wait = own if error.wait is None else error.wait
        self.failed += 1
        if self.failed >= ATTEMPTS or time.monotonic() + wait > self._until:
            patience.unanswered()
            raise StorageUnavailable(str(error)) from error
        await asyncio.sleep(wait)


class Wire:
    """The tables of one storage account through its REST interface; rows are decoded JSON."""

    def __init__(self, storage: Storage, transport: Transport):
        self.url = storage.url
        self.transport = transport
        self.pause = 0.1
        """Seconds before the first repeat; each later repeat waits twice as long, plus or minus a half."""
        self._account = storage.account
        self._key = base64.b64decode(storage.key) if storage.key else None
        self._identity = storage.identity
        self._path = urlsplit(storage.url).path
        self._token, self._expires = "", 0.0
        self._second, self._date = 0, ""

    async def _authorize(self, headers: dict[str, str], path: str) -> None:
        """Sign the headers with the account key (SharedKeyLite), or add the identity's bearer token."""
        now = int(time.time())
        if now != self._second:
            self._second, self._date = now, formatdate(now, usegmt=True)
        headers["x-ms-date"] = self._date
        if self._key is not None:
            text = f"{self._date}\n/{self._account}{self._path}/{path}"
            digest = hmac.digest(self._key, text.encode(), hashlib.sha256)
            headers["Authorization"] = f"SharedKeyLite {self._account}:{base64.b64encode(digest).decode()}"
            return
        if self._identity is not None and now > self._expires - 300:
            token = await self._identity.get_token(SCOPE)
            self._token, self._expires = token.token, token.expires_on
        headers["Authorization"] = f"Bearer {self._token}"

    async def _once(
        self, method: str, path: str, query: str, headers: dict[str, str], body: bytes | None
    ) -> WireResponse:
        seconds = patience.seconds
        try:
            async with asyncio.timeout(seconds):
                await self._authorize(headers, path)
                response = await self.transport.send(method, f"{self.url}/{path}{query}", headers, body)
        except TimeoutError as error:
            patience.unanswered()
            raise Unanswered(f"no answer within {seconds} s") from error
        patience.answered()
        if response.status in _BUSY:
            text = response.headers.get("Retry-After", "")
            raise Unanswered(f"{response.status} {response.body[:200]!r}", float(text) if text.isdigit() else None)
        return response

    def attempts(self) -> Attempts:
        """The attempts of an operation that begins now."""
        return Attempts(self.pause)

    async def _read(self, path: str, query: str, **headers: str) -> WireResponse:
        attempts = self.attempts()
        while True:
            try:
                return await self._once("GET", path, query, _HEADERS | headers, None)
            except Unanswered as error:
                await attempts.again(error)

    async def get(self, table: str, partition: str, row_key: str, select: str = "") -> tuple[Row, str] | None:
        """One row and its ETag; None when the row or the table does not exist."""
        response = await self._read(
            f"{table}(PartitionKey='{partition}',RowKey='{row_key}')", f"?$select={select}" if select else ""
        )
        if response.status == 404:
            return None
        return orjson.loads(_checked(response)), response.headers["ETag"]

    async def query(
        self, table: str, condition: str, *, select: str = "", top: int = PAGE, after: str = "", etags: bool = False
    ) -> tuple[list[Row], str]:
        """The rows of one response, and where the next one begins (`after`), "" at the end.

        A response may have fewer rows than `top`, or no rows, before the end. With `etags`, each row has its ETag as
        `odata.etag`, and other members whose names contain `@` or begin with `odata.`.
        """
        query = f"?$filter={_quoted(condition)}&$top={top}{after}"
        headers = {"Accept": "application/json;odata=minimalmetadata"} if etags else {}
        response = await self._read(f"{table}()", f"{query}&$select={select}" if select else query, **headers)
        if response.status == 404:
            return [], ""
        rows: list[Row] = orjson.loads(_checked(response))["value"]
        partition = response.headers.get("x-ms-continuation-NextPartitionKey")
        if partition is None:
            return rows, ""
        row = response.headers.get("x-ms-continuation-NextRowKey", "")
        return rows, f"&NextPartitionKey={_quoted(partition)}&NextRowKey={_quoted(row)}"

    async def write(self, table: str, partition: str, operation: batch.Operation) -> str | None:
        """One operation on its own: the new ETag, None after a DELETE; `ServiceRefused`, or `Unanswered`.

        Creates the table when it does not exist.
        """
        path, body = f"{table}{operation.path(partition)}", operation.content(partition)
        headers = _HEADERS | {"Content-Type": "application/json", "Prefer": "return-no-content"}
        if operation.etag:
            headers["If-Match"] = operation.etag

        async def send() -> str | None:
            response = await self._once(operation.verb, path, "", dict(headers), body)
            if response.status >= 300:
                raise batch.refusal(response.status, response.body)
            return response.headers.get("ETag")

        return await self._with_table(table, send)

    async def transact(self, table: str, parts: list[bytes]) -> list[str | None]:
        """All of these operations or none: the new ETags; `ServiceRefused`, or `Unanswered`.

        Creates the table when it does not exist.
        """
        body = batch.request(parts)

        async def send() -> list[str | None]:
            response = await self._once("POST", "$batch", "", _HEADERS | _WRITE, body)
            if response.status != 202:
                raise batch.refusal(response.status, response.body)
            return batch.etags_of(response.body)

        return await self._with_table(table, send)

    async def _with_table(self, table: str, send: Callable[[], Awaitable[T]]) -> T:
        for _ in range(2):
            try:
                return await send()
            except ServiceRefused as error:
                if error.status in _BUSY:  # in a part of an accepted transaction
                    raise Unanswered(str(error)) from error
                if error.code != "TableNotFound":
                    raise
            await self.create(table)
        raise Unanswered(f"{table} does not exist yet")  # it is being created, or deleted, at this moment

    async def create(self, table: str) -> None:
        """Create a table, unless it exists."""
        headers = _HEADERS | {"Content-Type": "application/json", "Prefer": "return-no-content"}
        response = await self._once("POST", "Tables", "", headers, orjson.dumps({"TableName": table}))
        if response.status >= 300 and response.status != 409:
            raise batch.refusal(response.status, response.body)


def _quoted(text: str) -> str:
    """A value in a query. Most are keys, or compare keys, which takes a tenth of the time of `quote`."""
    return text.replace(" ", "%20").replace("'", "%27") if _of_keys(text) else quote(text, safe="")


def _checked(response: WireResponse) -> bytes:
    if response.status != 200:
        raise batch.refusal(response.status, response.body)
    return response.body
