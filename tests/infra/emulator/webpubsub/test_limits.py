"""Slow clients, many clients, and the command line."""

import asyncio
import json
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from aiohttp import web
from azure.messaging.webpubsubservice.aio import WebPubSubServiceClient
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from infra.emulator import webpubsub
from infra.emulator.processes import NotReady, free_ports
from tests.support.webpubsub import Bench, DeliveredRequest, eventually, read, read_json


class TestSlowClients:
    async def test_a_slow_client_is_disconnected_and_does_not_delay_others(self, bench: Bench):
        slow = await bench.client(max_queue=1)
        slow_id = bench.id_of()
        quick = await bench.client(max_size=None)
        sdk, frames, sent = bench.sdk(), 0, 0

        async def count() -> None:
            nonlocal frames
            while await read(quick) != "end":
                frames += 1

        counting = asyncio.create_task(count())
        while await sdk.connection_exists(slow_id):
            assert sent < 100, "100 MB were queued for a client that reads nothing"
            await sdk.send_to_all("x" * 2**20, content_type="text/plain")
            sent += 1
        await sdk.send_to_all("end", content_type="text/plain")
        await counting
        assert frames == sent
        await eventually(lambda: "disconnected" in bench.handler.events())
        heard = bench.handler.last("disconnected")
        assert heard.headers["ce-connectionid"] == slow_id
        assert json.loads(heard.body) == {"reason": "The client reads too slowly"}
        with pytest.raises(ConnectionClosed):
            while True:
                await read(slow)

    async def test_a_flooding_client_is_read_at_the_pace_of_its_event_handler(self, bench: Bench):
        release = asyncio.Event()

        async def wait(_: DeliveredRequest) -> web.Response:
            await release.wait()
            return web.Response(status=204)

        bench.handler.answers["message"] = wait
        client = await bench.client()

        async def flood() -> None:
            for _ in range(300):
                await client.send("x" * 2**17)

        flooding = asyncio.create_task(flood())
        await eventually(lambda: "message" in bench.handler.events())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await asyncio.shield(flooding)
        release.set()
        await flooding
        await eventually(lambda: bench.handler.events().count("message") == 300)


class TestManyClients:
    async def test_a_broadcast_reaches_every_one_of_300(self, bench: Bench):
        async with AsyncExitStack() as stack:
            url = bench.url("quiet")
            clients: list[ClientConnection] = await asyncio.gather(
                *(stack.enter_async_context(connect(url, compression=None)) for _ in range(300))
            )
            await eventually(lambda: len(bench.service.hubs["quiet"].connections) == 300)
            await bench.sdk("quiet").send_to_all({"n": 1})
            assert [await read_json(client) for client in clients] == [{"n": 1}] * 300


class TestCommand:
    async def test_it_serves_until_it_is_stopped(self, tmp_path: Path):
        port = free_ports(1)[0]
        child = await webpubsub.start(port, {"gateway": {"anonymous": True}}, folder=tmp_path)
        try:
            async with connect(f"ws://127.0.0.1:{port}/client/hubs/gateway", compression=None) as client:
                where = webpubsub.connection_string(port)
                async with WebPubSubServiceClient.from_connection_string(where, "gateway") as sdk:
                    await sdk.send_to_all("hi", content_type="text/plain")
                assert await read(client) == "hi"
                await child.stop()
                assert child.process is not None and child.process.returncode == 0
                with pytest.raises(ConnectionClosed) as ended:
                    await read(client)
                assert ended.value.rcvd is not None and ended.value.rcvd.code == 1001
        finally:
            await child.kill()

    @pytest.mark.parametrize("hubs", [{"gateway": {"anonymus": True}}, {"gateway": {"handlers": [{}]}}])
    async def test_invalid_settings_are_reported_at_the_start(self, tmp_path: Path, hubs: dict[str, object]):
        with pytest.raises(NotReady, match="validation error"):
            await webpubsub.start(free_ports(1)[0], hubs, folder=tmp_path)
