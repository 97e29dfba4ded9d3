"""OwnPilot's chat: many streams at once, clients that leave, and a host that is killed in the middle of an answer."""

import asyncio
import contextlib
import time
from typing import Any

import httpx
import pytest

from functions.ownpilot.chat.conversations import INTERRUPTED, TurnStatus, turns
from infra.local.environment import Environment
from tests.support.campaign import Campaign
from tests.support.environments import connected
from tests.support.kills import kill
from tests.support.ownpilot import BASE, Chatting, chatting, events_of, script
from tests.support.waiting import eventually

WORDS = 100


@pytest.fixture
async def me(stack: Environment) -> Any:
    """A person with a provider that can be asked, while this process uses the app's storage."""
    limits = httpx.Limits(max_connections=200)
    async with (
        connected(**stack.app_settings),
        httpx.AsyncClient(base_url=stack.url, timeout=120, limits=limits, trust_env=False) as http,
    ):
        yield await chatting(http, stack.ports["providers"])


def long(every: float) -> str:
    """A message that is answered with numbered words, one each `every` seconds."""
    return script([{"text": " ".join(f"w{n}" for n in range(WORDS)), "every": every}])


async def ended(me: Chatting) -> None:
    """Wait until no turn is running any more, and check that the counts are exact."""

    async def check() -> bool:
        for row in (await me.get("/chat/history", limit=1000))["conversations"]:
            found = [turn async for turn in turns.of(row["id"]).all()]
            if any(turn.status is TurnStatus.RUNNING for turn in found):
                return False
            assert row["messageCount"] == sum(len(turn.messages) for turn in found) == 2 * len(found)
        return True

    await eventually(check, seconds=60)


async def test_many_streams_at_once_arrive_whole_and_without_long_gaps(
    me: Chatting, stack: Environment, campaign: Campaign
):
    streams = campaign.rounds(20, 50)
    people = [await chatting(me.http, stack.ports["providers"]) for _ in range(streams)]
    gaps: list[float] = []

    async def one(person: Chatting) -> None:
        body, last, text = person.body(long(0.02), stream=True), 0.0, ""
        async with person.http.stream("POST", f"{BASE}/chat", json=body, params={"userId": person.user}) as answer:
            assert answer.status_code == 200
            async for piece in answer.aiter_text():
                now = time.monotonic()
                gaps.append(now - last if last else 0.0)
                last, text = now, text + piece
        found = events_of(text)
        assert [name for name, _ in found].count("done") == 1 and found[-1][0] == "done"
        said = "".join(data["delta"] for name, data in found if name == "chunk")
        assert said == " ".join(f"w{n}" for n in range(WORDS))

    await asyncio.gather(*map(one, people))
    print(f"{streams} streams: the longest gap {1000 * max(gaps):.0f} ms")
    for person in people:
        await ended(person)


async def test_clients_that_leave_at_any_moment_leave_whole_turns(me: Chatting, campaign: Campaign):
    async def one() -> None:
        with contextlib.suppress(TimeoutError, httpx.TransportError):
            async with asyncio.timeout(campaign.chance.uniform(0.02, 1.5)):
                await me.events(long(0.01))

    rounds = campaign.rounds(20, 100)
    for _ in range(0, rounds, 10):
        await asyncio.gather(*(one() for _ in range(10)))
    await ended(me)
    assert (await me.say(script(["Here."])))["message"] == "Here."


async def test_after_a_kill_the_message_is_there_with_an_error_and_the_next_one_works(
    me: Chatting, stack: Environment, campaign: Campaign
):
    for _ in range(campaign.rounds(2, 10)):
        await me.post("/chat/reset-context", clearAll=True)
        asked = asyncio.create_task(me.events(long(0.05)))
        await asyncio.sleep(campaign.chance.uniform(0.3, 2))
        await kill(stack, "host")
        with contextlib.suppress(httpx.TransportError, AssertionError, ValueError):
            await asked
        rows = (await me.get("/chat/history"))["conversations"]
        if not rows or not (found := [turn async for turn in turns.of(rows[0]["id"]).all()]):
            continue  # it was killed before the message was stored
        if found[0].status is TurnStatus.RUNNING:
            await turns.of(rows[0]["id"]).update(found[0].id, lambda it: setattr(it, "until", it.created_at))
            messages = (await me.get(f"/chat/history/{rows[0]['id']}"))["messages"]
            assert messages[0]["role"] == "user"
            assert (messages[-1]["content"], messages[-1]["isError"]) == (INTERRUPTED, True)
        answer = await me.say(script(["Here."]), conversationId=rows[0]["id"])
        assert answer["message"] == "Here."
        history = await me.get(f"/chat/history/{rows[0]['id']}")
        assert history["conversation"]["messageCount"] == len(history["messages"])
