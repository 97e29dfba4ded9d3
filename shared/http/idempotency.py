"""`Idempotency-Key`: a creating request that is repeated gets the response of the first one, for a day."""

import contextlib
import hashlib
import json
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from starlette.datastructures import Headers
from starlette.types import Message, Receive, Send

from shared import faults, tables
from shared.http.errors import BadRequest, Conflict
from shared.tables import Collection, Record

log = logging.getLogger(__name__)

KEPT = timedelta(hours=24)
"""How long a response is kept."""

UNDER_WAY = timedelta(minutes=10)
"""After this time a request without a response counts as lost in a crash: no function runs longer."""

MAX_KEY = 255
_HEADERS = ("content-type", "etag", "location")


class Claim(Record):
    """One used key and its response; `key` and `body` are SHA-256 in hex, `status` is 0 until there is a response."""

    key: str
    body: str = ""
    status: int = 0
    headers: dict[str, str] = {}
    answer: str = ""


claims = Collection("IdempotencyKeys", Claim, plain=True, unique=["key"], view=["key"])


async def serve_once(
    owner: str, key: str, receive: Receive, send: Send, serve: Callable[[Receive, Send], Awaitable[None]]
) -> None:
    """Run `serve` for the first request of this owner and key; repeat its response to later ones.

    Only successful responses are kept, since a failed request has created nothing. 409 for another body under the same
    key, and while the first request is being served. The body is passed on as a stream.
    """
    if not 1 <= len(key) <= MAX_KEY:
        raise BadRequest(f"Idempotency-Key: must have 1 to {MAX_KEY} characters")
    body = _HashedBody(receive)
    claim, own = await _claim(hashlib.sha256(json.dumps([owner, key]).encode()).hexdigest())
    if not own:
        if await body.digest() != claim.body:
            raise Conflict("Idempotency-Key was used with another body")
        await _replay(send, claim.status, {**claim.headers, "idempotency-replayed": "true"}, claim.answer.encode())
        return
    held = _HeldResponse()
    try:
        await serve(body.receive, held.send)
    except BaseException:
        await _release(claim)
        raise
    if 200 <= held.status < 300:
        digest = await body.digest()

        def done(record: Claim) -> None:
            record.body, record.status, record.headers = digest, held.status, held.headers
            record.answer = held.body.decode()

        try:
            await claims.update(claim.id, done)
        except (tables.RecordNotFound, tables.StorageUnavailable):  # or another request has taken the key over
            log.exception("the response of an idempotent request could not be stored")
    else:
        await _release(claim)
    for message in held.messages:
        await send(message)


async def purge() -> int:
    """Delete the keys that are older than `KEPT`; return how many."""
    count = 0
    async with faults.Sweep("deleting old idempotency keys") as sweep:
        async for claim in claims.all(before=datetime.now(UTC) - KEPT):
            with sweep.item(claim.id), contextlib.suppress(tables.RecordNotFound):
                await claims.delete(claim.id)
                count += 1
    return count


async def _claim(hashed: str) -> tuple[Claim, bool]:
    """Return the claim on a key, and whether this request has made it."""
    while True:
        try:
            return await claims.insert(Claim(key=hashed)), True
        except tables.RecordConflict:
            pass
        try:
            found = await claims.find("key", hashed)
            age = datetime.now(UTC) - found.created_at
            if found.status and age < KEPT:
                return found, False
            if not found.status and age < UNDER_WAY:
                raise Conflict("A request with this Idempotency-Key is in progress", headers={"Retry-After": "1"})
            await claims.delete(found.id, if_match=found.etag)
        except (tables.RecordNotFound, tables.RecordChanged):
            continue


async def _release(claim: Claim) -> None:
    try:
        await claims.delete(claim.id)
    except (tables.RecordNotFound, tables.StorageUnavailable) as error:
        log.warning("an Idempotency-Key could not be released: %s", error)


async def _replay(send: Send, status: int, headers: dict[str, str], body: bytes) -> None:
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    raw.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})


class _HashedBody:
    """The request's body, hashed while it is read."""

    def __init__(self, receive: Receive):
        self._receive, self._hash, self._more = receive, hashlib.sha256(), True

    async def receive(self) -> Message:
        message = await self._receive()
        self._hash.update(message.get("body", b""))
        self._more = message.get("more_body", False)
        return message

    async def digest(self) -> str:
        """Return the SHA-256 of the whole body in hex, after reading the rest of it."""
        while self._more:
            await self.receive()
        return self._hash.hexdigest()


class _HeldResponse:
    """A response that is held back until it is stored; those of creating requests are small."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    async def send(self, message: Message) -> None:
        self.messages.append(message)

    @property
    def status(self) -> int:
        return self.messages[0]["status"]

    @property
    def headers(self) -> dict[str, str]:
        given = Headers(raw=self.messages[0]["headers"])
        return {name: given[name] for name in _HEADERS if name in given}

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.messages[1:])
