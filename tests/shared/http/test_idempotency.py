"""`Idempotency-Key`: one response for all repeats, and one record however the first request ends."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from starlette.types import Message, Receive, Send

from shared import tables
from shared.http import idempotency
from shared.http.errors import Conflict
from shared.http.fingerprint import Fingerprint
from shared.http.idempotency import Claim, claims, serve_once
from tests.support.records import Counting, Run, collection

pytestmark = pytest.mark.usefixtures("account")


class Served:
    """A route that inserts a record and waits for `go`; it answers with `status`, or raises an exception."""

    def __init__(self, status: int = 201, body: bytes = b"{}"):
        self.status, self.body = status, body
        self.runs = collection()
        self.calls, self.made, self.go = 0, list[str](), asyncio.Event()
        self.go.set()

    async def serve(self, receive: Receive, send: Send) -> None:
        self.calls += 1
        await receive()
        self.made.append((await self.runs.insert(Run())).id)
        await self.go.wait()
        if self.status == 0:
            raise RuntimeError("died")
        await send({"type": "http.response.start", "status": self.status, "headers": []})
        await send({"type": "http.response.body", "body": b"made"})

    async def request(self, key: str, body: bytes = b"{}") -> list[Message]:
        """Send a request; returns the messages of its response."""
        sent: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Message) -> None:
            sent.append(message)

        await serve_once("me", key, receive, send, self.serve)
        return sent

    @asynccontextmanager
    async def stuck(self, key: str) -> AsyncIterator[asyncio.Task[list[Message]]]:
        """A request that has made its record and goes no further until its event `go` is set."""
        self.go.clear()
        first = asyncio.create_task(self.request(key))
        while not self.made:
            await asyncio.sleep(0.01)
        self.go = asyncio.Event()  # the first one goes on waiting for the other
        self.go.set()
        yield first
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)


@pytest.fixture
def no_lease(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Ends the leases of requests from now on at once, as if their host had died seconds ago."""

    def end() -> None:
        monkeypatch.setattr(idempotency, "LEASE", timedelta(0))

    return end


async def newest_claim() -> Claim:
    return await claims.get((await claims.page(limit=1)).items[0].id)


async def once(condition: Callable[[], Awaitable[bool]]) -> None:
    while not await condition():
        await asyncio.sleep(0.02)


class TestResponses:
    async def test_a_response_is_repeated_for_a_day(self, monkeypatch: pytest.MonkeyPatch):
        route = Served()
        answers = [await route.request("a") for _ in range(3)]
        assert [(answer[0]["status"], answer[1]["body"]) for answer in answers] == [(201, b"made")] * 3
        assert route.calls == 1
        monkeypatch.setattr(idempotency, "KEPT", timedelta(0))
        assert (await route.request("a"))[0]["status"] == 201
        assert (route.calls, len(set(route.made))) == (2, 2)

    async def test_a_request_costs_as_many_storage_calls_as_before(self, counting: Counting):
        route = Served()
        await route.request(uuid.uuid4().hex)  # the tables exist now
        counting.reset()
        await route.request("cost")
        assert sum(counting.calls.values()) == 4  # claim, record, and the claim read and written

    @pytest.mark.parametrize("status", [0, 503])
    async def test_the_repeat_of_a_request_that_failed_makes_no_second_record(self, status: int):
        route, key = Served(status), uuid.uuid4().hex
        if status:
            assert (await route.request(key))[0]["status"] == status
        else:
            with pytest.raises(RuntimeError):
                await route.request(key)
        route.status = 201
        assert (await route.request(key))[0]["status"] == 201
        assert (route.calls, len(set(route.made))) == (2, 1)

    async def test_a_refused_request_may_be_corrected(self):
        route = Served(400)
        await route.request("b", b"bad")
        route.status = 201
        assert (await route.request("b", b"good"))[0]["status"] == 201


class TestTakeOver:
    async def test_a_repeat_is_refused_while_the_first_request_is_served_however_long(
        self, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(idempotency, "LEASE", timedelta(seconds=1.5))
        monkeypatch.setattr(idempotency, "RENEWAL", 0.1)
        route = Served()
        async with route.stuck("c"):
            claim = await newest_claim()
            for _ in range(2):  # each time a later lease than the one before
                until = (await claims.get(claim.id)).until

                async def renewed(before: object = until) -> bool:
                    return (await claims.get(claim.id)).until != before

                await once(renewed)
                with pytest.raises(Conflict) as error:
                    await route.request("c")
                assert error.value.headers == {"Retry-After": "1"}

    async def test_the_key_of_a_host_that_died_after_its_record_is_taken_over_without_a_second_record(
        self, no_lease: Callable[[], None]
    ):
        no_lease()
        route = Served()
        async with route.stuck("d"):
            answer = await route.request("d")
            assert answer[0]["status"] == 201
            assert (route.calls, len(set(route.made)), await route.runs.count()) == (2, 1, 1)

    async def test_a_host_that_was_only_frozen_does_not_replace_the_response(self, no_lease: Callable[[], None]):
        no_lease()
        route = Served()
        frozen = route.go
        async with route.stuck("e") as first:
            await route.request("e")
            before = await newest_claim()
            frozen.set()
            await first
        assert (before.status, (await claims.get(before.id)).etag) == (201, before.etag)
        assert await route.runs.count() == 1

    async def test_a_frozen_host_that_fails_does_not_free_the_key(self, no_lease: Callable[[], None]):
        no_lease()
        route = Served()
        async with route.stuck("f") as first:
            await route.request("f")
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
        assert (await route.request("f"))[0]["status"] == 201
        assert route.calls == 2

    async def test_another_body_after_a_death_makes_another_record(self, no_lease: Callable[[], None]):
        no_lease()
        route = Served()
        async with route.stuck("g"):
            await route.request("g", b"other")
            assert await route.runs.count() == 2


FILE = b'Content-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
FIELD = b'Content-Disposition: form-data; name="metadata"\r\n\r\n'


def form(boundary: str, *parts: bytes) -> bytes:
    line = f"--{boundary}".encode()
    return b"".join(line + b"\r\n" + part + b"\r\n" for part in parts) + line + b"--\r\n"


def fingerprint(body: bytes, size: int = 7) -> str:
    found = Fingerprint()
    for start in range(0, len(body), size):
        found.feed(body[start : start + size])
    return found.digest()


class TestFingerprint:
    def test_a_form_is_the_same_with_another_boundary_another_order_and_in_other_pieces(self):
        parts = FILE + b"abc" * 1000, FIELD + b"{}"
        one = fingerprint(form("x", *parts))
        assert fingerprint(form("----boundary42", *parts), 1000) == fingerprint(form("y", *parts[::-1]), 1) == one

    @pytest.mark.parametrize(
        "parts",
        [(FILE + b"abd", FIELD + b"{}"), (FILE + b"abc", FIELD + b"{ }"), (FILE + b"abc",),
         (FILE.replace(b'"a"', b'"b"') + b"abc", FIELD + b"{}"),
         (b"Content-Type: a/b\r\n" + FILE + b"abc", FIELD + b"{}")],
    )  # fmt: skip
    def test_another_content_name_or_type_is_another_request(self, parts: tuple[bytes, ...]):
        assert fingerprint(form("x", *parts)) != fingerprint(form("x", FILE + b"abc", FIELD + b"{}"))

    @pytest.mark.parametrize("body", [b"", b"{}", b"-", b"--", b"--x\r\nno form", b"--x"])
    def test_any_other_body_is_compared_as_it_is(self, body: bytes):
        assert fingerprint(body) == fingerprint(body, 1) != fingerprint(body + b" ")


async def test_a_record_made_in_a_repeat_has_an_id_of_its_model_and_its_moment():
    at = tables.Record().created_at
    with tables.repeatable(at, lambda: "seed"):
        one, two = Run(), Run()
    with tables.repeatable(at, lambda: "seed"):
        again = Run()
    assert again.id == one.id != two.id
    assert abs(one.created_at - at) < timedelta(milliseconds=2)
    assert Run().id != Run().id
