"""Server-sent events: each leaves when it is made, and a handler ends when its client leaves."""

import json
import uuid

import httpx

from tests.support.waiting import eventually


async def test_each_event_leaves_as_soon_as_it_is_made(sample: httpx.AsyncClient):
    path, numbers = f"/events/{uuid.uuid4().hex}", []
    async with sample.stream("GET", path) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        async for line in response.aiter_lines():
            if not line.startswith("data: "):
                continue
            # The handler makes the next one only after this request, which nothing sends before this one has come.
            numbers.append(json.loads(line.removeprefix("data: "))["number"])
            assert (await sample.post(path)).status_code == 200
    assert numbers == [0, 1, 2]


async def test_the_handler_ends_when_its_client_leaves(sample: httpx.AsyncClient):
    path = f"/events/{uuid.uuid4().hex}"

    async def is_closed() -> str:
        return (await sample.get(f"{path}/closed")).json()["data"]["id"]

    async with sample.stream("GET", path) as response:
        lines = response.aiter_lines()  # with its last reference, the connection would be closed
        async for line in lines:
            if line.startswith("data: "):
                break
        assert await is_closed() == "False"
        del lines
    await eventually(is_closed, until=lambda text: text == "True")
