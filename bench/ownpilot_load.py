"""OwnPilot under load: streams of chat at once, and a flood of webhooks."""

import asyncio
import itertools
import statistics
import time
import uuid

import httpx
import orjson

from bench.figures import Figure, times
from bench.services import Client, running
from tests.support.channels import Sent, WebchatService
from tests.support.ownpilot import BASE, Chatting, OwnPilot, chatting, script

STREAMS, WORDS, EVERY = 50, 150, 0.02
WEBHOOKS, AT_ONCE = 500, 40
"""Telegram has 40 webhooks of a bot under way at once, unless told otherwise."""


async def run() -> list[Figure]:
    """Measure everything, over HTTP."""
    async with running() as client, httpx.AsyncClient(base_url=client.environment.url, trust_env=False) as http:
        return [*await _streams(client, http), *await _flood(client, http)]


async def _streams(client: Client, http: httpx.AsyncClient) -> list[Figure]:
    """Measure the gaps between the pieces of an answer, and how long each is under way."""
    question = script([{"clock": WORDS, "every": EVERY}])
    people = [await chatting(http, client.environment.ports["providers"]) for _ in range(STREAMS)]

    async def pieces(person: Chatting) -> list[tuple[float, float]]:
        """When each piece was sent by the model, and when it arrived."""
        found: list[tuple[float, float]] = []
        address, body = f"{client.environment.url}{BASE}/chat", person.body(question, stream=True)
        async with client.http.post(address, params={"userId": person.user}, json=body) as stream:
            async for line in stream.content:
                if line.startswith(b"data: ") and (said := orjson.loads(line[6:]).get("delta")):
                    found.append((float(said.split()[0]), time.time()))
        return found

    await pieces(people[0])
    streams = await asyncio.gather(*map(pieces, people))
    gaps = [after[1] - before[1] for stream in streams for before, after in itertools.pairwise(stream)]
    many = f"{STREAMS} answers at once, a word every {1000 * EVERY:g} ms"
    return [
        Figure(f"{many}: the largest gap", 1000 * max(gaps), "ms", at_most=250),
        Figure(f"{many}: median gap", 1000 * statistics.median(gaps), "ms"),
        *times(f"{many}: the first word, from the model to the client", [
            stream[0][1] - stream[0][0] for stream in streams
        ], at_most=60),
    ]  # fmt: skip


async def _flood(client: Client, http: httpx.AsyncClient) -> list[Figure]:
    """Measure how soon each of many webhooks is answered, of which some are always under way."""
    service = WebchatService(OwnPilot(http), client.environment.ports["providers"])
    await service.open()
    sent = [service.sent(service.message(f"{uuid.uuid4()}")) for _ in range(WEBHOOKS)]
    address = f"{client.environment.url}{BASE}/channels/{service.id}/webhook"
    query, turns = {"userId": service.me.user}, asyncio.Semaphore(AT_ONCE)

    async def deliver(each: Sent) -> float:
        async with turns:
            start = time.time()
            async with client.http.post(address, params=query, data=each.body, headers=each.headers) as answer:
                answer.raise_for_status()
            return time.time() - start

    begin = time.time()
    taken = await asyncio.gather(*map(deliver, sent))
    many = f"{WEBHOOKS} webhooks, {AT_ONCE} under way"
    return [
        *times(f"{many}: answered", taken),
        Figure(f"{many}: the longest", 1000 * max(taken), "ms", at_most=300),
        Figure(f"{many}: answered", WEBHOOKS / (time.time() - begin), "1/s"),
    ]
