"""Storage that accepts a request and does not answer, or answers by half: it is given up in time."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from shared import blobs, queues, tables
from shared.http.ratelimit import RateLimit
from shared.tables import patience
from tests.support.environments import connected
from tests.support.records import Run, plain

# The SDK of blobs leaves a response that was given up to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

HEAD = b"HTTP/1.1 206 OK\r\nContent-Length: 100000\r\nContent-Range: bytes 0-99999/100000\r\nETag: e\r\n\r\n"
STATUS = {b"PUT": b"201", b"POST": b"201", b"DELETE": b"202"}
ANSWERS = {"nothing": b"", "half a head": HEAD[:40], "a head": HEAD, "half a body": HEAD + b'{"a": '}


@asynccontextmanager
async def storage_that_answers(answer: bytes) -> AsyncIterator[None]:
    """This process's storage account answers every request with these bytes and goes silent."""
    closed = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        verb = (await reader.readuntil(b"\r\n\r\n")).split()[0]
        writer.write(answer.replace(b"206", STATUS.get(verb, b"206")))
        await closed.wait()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    account = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/a"
    endpoints = ";".join(f"{kind}Endpoint={account}" for kind in ("Blob", "Queue", "Table"))
    try:
        async with connected(AzureWebJobsStorage=f"AccountName=a;AccountKey=a2V5;{endpoints}"):
            yield
    finally:
        closed.set()
        server.close()
        patience.patience.answered()


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth of the usual time."""
    for name in ("PATIENCE", "BRIEF", "WHOLE"):
        monkeypatch.setattr(patience, name, getattr(patience, name) / 10)


async def chunks() -> AsyncIterator[bytes]:
    yield b"x" * blobs.CHUNK
    yield b"x"


async def message() -> None:
    await queues.send("queue", "text")


UNKNOWN = "0190f7a2-0000-7000-8000-000000000000"
CALLS: dict[str, Callable[[], Awaitable[object]]] = {
    "a record": lambda: plain().get(UNKNOWN),
    "a list": lambda: plain().page(),
    "a write": lambda: plain().insert(Run()),
    "a file": lambda: blobs.get("c", "n"),
    "an upload": lambda: blobs.put("c", "n", chunks()),
    "the end of a log": lambda: blobs.append("c", "n", 0, b"x"),
    "a deletion": lambda: blobs.delete("c", "n"),
    "a message": message,
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
async def test_every_call_ends_and_after_the_first_one_briefly(answer: bytes):
    async with storage_that_answers(answer):
        for name, call in CALLS.items():
            blobs._known.add("c")
            with pytest.raises(tables.StorageUnavailable):
                await call()
            assert patience.patience.silent, name


async def test_writers_of_one_record_and_callers_of_one_limit_do_not_wait_for_each_other():
    async with storage_that_answers(b""):
        runs, limit = plain(), RateLimit("silence", 10, 0)
        began = time.monotonic()
        answers = await asyncio.gather(
            *(runs.update(UNKNOWN, lambda run: run) for _ in range(100)),
            *(limit.count("caller") for _ in range(100)),
            return_exceptions=True,
        )
        assert all(isinstance(answer, tables.StorageUnavailable) for answer in answers[:100])
        assert time.monotonic() - began < 20 * patience.WHOLE  # one after the other they would take 100 times as long


async def test_an_answer_ends_the_silence(account: None, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.undo()
    patience.patience.unanswered()
    with pytest.raises(tables.RecordNotFound):
        await plain().get(UNKNOWN)
    assert not patience.patience.silent
