"""`Idempotency-Key`: a creating request that is repeated gets the response of the first one, for a day.

A request holds its key by a lease that it renews while it is served, so a repeat takes over the key of a host that died
within seconds. The host may have died between its record and its response, or only have been frozen. Therefore the ids
of the records that a request makes follow from its key and its body: a repeat finds what was made.
"""

import asyncio
import contextlib
import hashlib
import json
import logging
import secrets
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from starlette.datastructures import Headers
from starlette.types import Message, Receive, Send

from shared import faults, tables
from shared.http.errors import BadRequest, Conflict
from shared.http.fingerprint import Fingerprint
from shared.tables import Collection, Record

log = logging.getLogger(__name__)

KEPT = timedelta(hours=24)
"""How long a response is kept."""

LEASE = timedelta(seconds=10)
"""How long a request holds its key without a sign of life."""

RENEWAL = 3.0
"""Seconds between two renewals of the lease."""

MAX_KEY = 255
_HEADERS = ("content-type", "etag", "location")


class Claim(Record):
    """One used key and its response; `key` and `body` are SHA-256 in hex, `status` is 0 until there is a response.

    `holder` names the request that is served under the key, until `until`.
    """

    key: str
    holder: str = ""
    until: datetime = datetime(2020, 1, 1, tzinfo=UTC)
    body: str = ""
    status: int = 0
    headers: dict[str, str] = {}
    answer: str = ""


claims = Collection("IdempotencyKeys", Claim, plain=True, unique=["key"], view=["key"])


class _Lost(Exception):
    """Another request has taken the key over."""


async def serve_once(
    owner: str,
    key: str,
    receive: Receive,
    send: Send,
    serve: Callable[[Receive, Send], Awaitable[None]],
) -> None:
    """Run `serve` for the first request of this owner and key; repeat its response to later ones.

    `owner` names the caller and the request's target.

    Only successful responses are kept. 409 for another body under the same key, and while the first request is being
    served. The body is passed on as a stream.
    """
    if not 1 <= len(key) <= MAX_KEY:
        raise BadRequest(f"Idempotency-Key: must have 1 to {MAX_KEY} characters")
    body = _ReadBody(receive)
    claim, own = await _claim(hashlib.sha256(json.dumps([owner, key]).encode()).hexdigest())
    if not own:
        if await body.digest() != claim.body:
            raise Conflict("Idempotency-Key was used with another body")
        await _replay(send, claim.status, {**claim.headers, "idempotency-replayed": "true"}, claim.answer.encode())
        return
    held = _HeldResponse()
    renewing = asyncio.create_task(_renew(claim))
    try:
        # The body is part of the seed: another one under the key of a request that died makes other records.
        with tables.repeatable(claim.created_at, lambda: f"{claim.key} {body.fingerprint.digest()}"):
            await serve(body.receive, held.send)
    except BaseException:
        await _release(claim)
        raise
    finally:
        renewing.cancel()
    if 200 <= held.status < 300:
        digest = await body.digest()

        def done(record: Claim) -> None:
            _hold(record, claim.holder)
            record.body, record.status, record.headers = digest, held.status, held.headers
            record.answer = held.body.decode()

        try:
            await claims.update(claim.id, done)
        except (_Lost, tables.RecordNotFound, tables.StorageUnavailable) as error:
            log.warning("the response of an idempotent request was not stored: %s", type(error).__name__)
    else:
        await _release(claim, unused=400 <= held.status < 500)
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
    """Return the claim on a key, and whether this request holds it now."""
    holder = secrets.token_hex(8)

    def take(record: Claim) -> None:
        record.holder, record.until = holder, datetime.now(UTC) + LEASE

    while True:
        try:
            return await claims.insert(Claim(key=hashed, holder=holder, until=datetime.now(UTC) + LEASE)), True
        except tables.RecordConflict:
            pass
        try:
            found = await claims.find("key", hashed)
            now = datetime.now(UTC)
            if now - found.created_at >= KEPT:
                await claims.delete(found.id, if_match=found.etag)
            elif found.status:
                return found, False
            elif now < found.until:
                raise Conflict("A request with this Idempotency-Key is in progress", headers={"Retry-After": "1"})
            else:
                return await claims.update(found.id, take, if_match=found.etag), True
        except (tables.RecordNotFound, tables.RecordChanged):
            continue


def _hold(record: Claim, holder: str) -> None:
    if record.holder != holder or record.status:
        raise _Lost


async def _renew(claim: Claim) -> None:
    """Renew the lease for as long as the request is served."""

    def renew(record: Claim) -> None:
        _hold(record, claim.holder)
        record.until = datetime.now(UTC) + LEASE

    while True:
        await asyncio.sleep(RENEWAL)
        try:
            await claims.update(claim.id, renew)
        except (_Lost, tables.RecordNotFound):
            return
        except tables.StorageUnavailable:
            continue


async def _release(claim: Claim, *, unused: bool = False) -> None:
    """End the lease. An `unused` key, under which nothing was made, is deleted.

    Otherwise the claim stays, and a repeat makes the same ids: a request that failed may have made its record. So does
    one that took the key over, as the request before it may go on.
    """

    def free(record: Claim) -> None:
        _hold(record, claim.holder)
        record.until = datetime.now(UTC)

    try:
        taken_over = claim.updated_at > claim.created_at
        if unused and not taken_over:
            await claims.delete(claim.id, if_match=claim.etag)
        else:
            await claims.update(claim.id, free)
    except (_Lost, tables.RecordNotFound):
        pass
    except tables.RecordChanged:  # the lease was renewed, and ends by itself, or the key was taken over
        pass
    except tables.StorageUnavailable as error:
        log.warning("an Idempotency-Key could not be released: %s", error)


async def _replay(send: Send, status: int, headers: dict[str, str], body: bytes) -> None:
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    raw.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})


class _ReadBody:
    """The request's body; its fingerprint is taken while it is read."""

    def __init__(self, receive: Receive):
        self._receive, self._more = receive, True
        self.fingerprint = Fingerprint()

    async def receive(self) -> Message:
        message = await self._receive()
        self.fingerprint.feed(message.get("body", b""))
        self._more = message.get("more_body", False)
        return message

    async def digest(self) -> str:
        """Return the fingerprint of the whole body, after reading the rest of it."""
        while self._more:
            await self.receive()
        return self.fingerprint.digest()


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
