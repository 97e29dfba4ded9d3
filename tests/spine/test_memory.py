"""The host streams files: its memory does not grow with their size."""

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from infra.local.environment import Environment
from tests.support.gateway import Gateway
from tests.support.memory import GROWTH, Peak

SIZE = 100_000_000


@pytest.fixture
async def peak(stack: Environment) -> Peak:
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("needs /proc")
    assert stack.host and stack.host.process
    return Peak(stack.host.process.pid)


def form(chunk: bytes, count: int) -> tuple[AsyncIterator[bytes], dict[str, str]]:
    """Return a multipart body with a file of `count` chunks, as a stream, and its headers."""
    head = b'--edge\r\nContent-Disposition: form-data; name="file"; filename="big.bin"\r\n\r\n'
    tail = b"\r\n--edge--\r\n"

    async def body() -> AsyncIterator[bytes]:
        yield head
        for _ in range(count):
            yield chunk
        yield tail

    length = len(head) + len(chunk) * count + len(tail)
    return body(), {"Content-Type": "multipart/form-data; boundary=edge", "Content-Length": str(length)}


async def test_memory_stays_bounded_for_a_hundred_megabytes_up_and_down(gateway: Gateway, peak: Peak):
    run = await gateway.reach((await gateway.run("true"))["id"])
    path = f"/gateway/api/runs/{run['id']}/artifacts"
    small, headers = form(b"x", 1)
    assert (await gateway.http.post(path, content=small, headers=headers)).status_code == 201  # loads imports
    chunk = bytes(range(250)) * 400
    before = peak.reset()
    body, headers = form(chunk, SIZE // len(chunk))
    answer = await gateway.http.post(path, content=body, headers=headers)
    assert (answer.status_code, answer.json()["size"]) == (201, SIZE)
    assert peak.bytes() - before < GROWTH, "upload"
    before = peak.reset()
    digest = hashlib.sha256()
    async with gateway.http.stream("GET", f"/gateway/api/artifacts/{answer.json()['id']}") as download:
        async for piece in download.aiter_bytes():
            digest.update(piece)
    assert peak.bytes() - before < GROWTH, "download"
    assert digest.digest() == hashlib.sha256(chunk * (SIZE // len(chunk))).digest()
    assert (await gateway.get(run["id"]))["artifact_count"] == 2


async def test_an_upload_one_byte_over_the_limit_is_refused_and_not_stored(gateway: Gateway):
    run = await gateway.reach((await gateway.run("true"))["id"])
    path = f"/gateway/api/runs/{run['id']}/artifacts"
    body, headers = form(b"x" * (SIZE // 100 + 1), 100)
    del headers["Content-Length"]
    answer = await gateway.http.post(path, content=body, headers=headers)
    assert (answer.status_code, answer.json()) == (413, {"error": "File too large"})
    assert (await gateway.get(run["id"]))["artifact_count"] == 0
