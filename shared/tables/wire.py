"""Table Storage over HTTP: one signed session per event loop, reads that retry, transactions."""

import asyncio
import base64
import hashlib
import hmac
import io
import random
import time
from collections.abc import Mapping
from email.utils import formatdate
from typing import Any, NamedTuple, Protocol
from urllib.parse import quote, urlsplit

import orjson

from shared.credential import credential
from shared.settings import StorageAccount
from shared.tables import batch
from shared.tables.errors import Refused, Unavailable

SCOPE = "https://storage.azure.com/.default"
ATTEMPTS = 6
LONGEST_WAIT = 30
"""Seconds that a busy service is given when it asks for more."""

PAGE = 1000
"""Rows of one answer at most."""

_PIECE = 256 * 1024
_BUSY = {408, 429, 500, 502, 503, 504}
_HEADERS = {
    "Accept": "application/json;odata=nometadata",
    "x-ms-version": "2019-02-02",
    "DataServiceVersion": "3.0",
    "User-Agent": "runyard",
}
_WRITE = {"Content-Type": batch.CONTENT_TYPE, "MaxDataServiceVersion": "3.0;NetFx"}

Row = dict[str, Any]


class Unanswered(Exception):
    """No answer, or one that says nothing of the outcome (500, 503): a write may have landed, or may yet land."""

    def __init__(self, reason: str, wait: float | None = None):
        super().__init__(reason)
        self.wait = wait


class Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes


class Transport(Protocol):
    """What carries a request; tests put one in between that counts, or fails."""

    async def send(self, method: str, url: str, headers: dict[str, str], body: bytes | None) -> Answer: ...

    async def close(self) -> None: ...


class Http:
    """aiohttp with short time-outs: azure-core's pipeline alone costs three times as much processor time as a read."""

    def __init__(self) -> None:
        import aiohttp
        from yarl import URL

        # The service drops an idle connection after 5 s: let go of it before, so that no write meets a closed one.
        connector = aiohttp.TCPConnector(limit=64, keepalive_timeout=3)
        timeout = aiohttp.ClientTimeout(total=30, sock_connect=5)
        self._session: aiohttp.ClientSession = aiohttp.ClientSession(
            connector=connector,
            timeout=timeout,
            auto_decompress=False,
            skip_auto_headers=["Accept-Encoding"],
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        self._errors = (aiohttp.ClientError, TimeoutError, OSError)
        self._url = URL

    async def send(self, method: str, url: str, headers: dict[str, str], body: bytes | None) -> Answer:
        """One request; `Unanswered` when there is no answer."""
        # aiohttp sends large content piecemeal only when it is a stream.
        content = io.BytesIO(body) if body is not None and len(body) > _PIECE else body
        try:
            async with self._session.request(
                method, self._url(url, encoded=True), headers=headers, data=content, allow_redirects=False
            ) as answer:
                return Answer(answer.status, answer.headers, await answer.read())
        except self._errors as error:
            raise Unanswered(f"{type(error).__name__}: {error}") from error

    async def close(self) -> None:
        await self._session.close()


class Wire:
    """The tables of one storage account, as its REST interface gives them: rows are decoded JSON."""

    def __init__(self, account: StorageAccount, transport: Transport):
        self.url = account.tables
        self.transport = transport
        self.pause = 0.1
        """Seconds before the first repeat; each later one waits twice as long, give or take a half."""
        self._account = account.name
        self._key = base64.b64decode(account.key) if account.key else None
        self._path = urlsplit(account.tables).path
        self._token, self._expires = "", 0.0
        self._second, self._date = 0, ""

    async def _authorize(self, headers: dict[str, str], path: str) -> None:
        """Sign with the account key (SharedKeyLite), or put in the identity's bearer token."""
        now = int(time.time())
        if now != self._second:
            self._second, self._date = now, formatdate(now, usegmt=True)
        headers["x-ms-date"] = self._date
        if self._key is not None:
            text = f"{self._date}\n/{self._account}{self._path}/{path}"
            digest = hmac.digest(self._key, text.encode(), hashlib.sha256)
            headers["Authorization"] = f"SharedKeyLite {self._account}:{base64.b64encode(digest).decode()}"
            return
        if now > self._expires - 300:
            token = await credential().get_token(SCOPE)
            self._token, self._expires = token.token, token.expires_on
        headers["Authorization"] = f"Bearer {self._token}"

    async def _once(self, method: str, path: str, query: str, headers: dict[str, str], body: bytes | None) -> Answer:
        await self._authorize(headers, path)
        answer = await self.transport.send(method, f"{self.url}/{path}{query}", headers, body)
        if answer.status in _BUSY:
            text = answer.headers.get("Retry-After", "")
            raise Unanswered(f"{answer.status} {answer.body[:200]!r}", float(text) if text.isdigit() else None)
        return answer

    async def wait(self, attempt: int, error: Unanswered) -> None:
        """Sleep before the next attempt; `Unavailable` after the last one."""
        if attempt + 1 >= ATTEMPTS:
            raise Unavailable(str(error)) from error
        own = self.pause * 2**attempt * random.uniform(0.5, 1.5)  # noqa: S311
        await asyncio.sleep(own if error.wait is None else min(error.wait, LONGEST_WAIT))

    async def _read(self, path: str, query: str) -> Answer:
        attempt = 0
        while True:
            try:
                return await self._once("GET", path, query, dict(_HEADERS), None)
            except Unanswered as error:
                await self.wait(attempt, error)
                attempt += 1

    async def get(self, table: str, partition: str, row_key: str, select: str = "") -> tuple[Row, str] | None:
        """One row and its ETag; None when the row, or the table, is not there."""
        answer = await self._read(
            f"{table}(PartitionKey='{partition}',RowKey='{row_key}')", f"?$select={select}" if select else ""
        )
        if answer.status == 404:
            return None
        return orjson.loads(_checked(answer)), answer.headers["ETag"]

    async def query(
        self, table: str, condition: str, *, select: str = "", top: int = PAGE, after: str = ""
    ) -> tuple[list[Row], str]:
        """One answer's rows, possibly fewer than `top` or none, and where to go on (`after`), "" at the end."""
        query = f"?$filter={quote(condition)}&$top={top}{after}"
        answer = await self._read(f"{table}()", f"{query}&$select={select}" if select else query)
        if answer.status == 404:
            return [], ""
        rows: list[Row] = orjson.loads(_checked(answer))["value"]
        partition = answer.headers.get("x-ms-continuation-NextPartitionKey")
        if partition is None:
            return rows, ""
        row = answer.headers.get("x-ms-continuation-NextRowKey", "")
        return rows, f"&NextPartitionKey={quote(partition, safe='')}&NextRowKey={quote(row, safe='')}"

    async def transact(self, table: str, parts: list[bytes]) -> list[str | None]:
        """All of these operations or none: the new ETags; `Refused`, or `Unanswered`. Makes the table at need."""
        body = batch.request(parts)
        for _ in range(2):
            answer = await self._once("POST", "$batch", "", _HEADERS | _WRITE, body)
            try:
                if answer.status != 202:
                    raise batch.refusal(answer.status, answer.body)
                return batch.answer(answer.body)
            except Refused as error:
                if error.status in _BUSY:  # the service says so in a part of its answer, too
                    raise Unanswered(str(error)) from error
                if error.code != "TableNotFound":
                    raise
            await self.create(table)
        raise Unanswered(f"{table} is not there yet")  # made, or being deleted, this moment

    async def create(self, table: str) -> None:
        """Make a table; that it is there already is no error."""
        headers = _HEADERS | {"Content-Type": "application/json", "Prefer": "return-no-content"}
        answer = await self._once("POST", "Tables", "", headers, orjson.dumps({"TableName": table}))
        if answer.status >= 300 and answer.status != 409:
            raise batch.refusal(answer.status, answer.body)


def _checked(answer: Answer) -> bytes:
    if answer.status != 200:
        raise batch.refusal(answer.status, answer.body)
    return answer.body
