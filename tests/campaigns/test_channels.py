"""Channels: many webhooks at once, with repeats, and a host that is killed while they come in."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from infra.local.environment import Environment
from shared import deferred
from tests.support.campaign import Campaign
from tests.support.channels import DiscordService, Sent, Service, SlackService, TelegramService, WebchatService
from tests.support.environments import connected
from tests.support.kills import kill
from tests.support.ownpilot import OwnPilot, chatting, script
from tests.support.waiting import eventually

AT_ONCE = 50


@pytest.fixture
async def services(stack: Environment) -> Any:
    """A channel of each type, of one person, whose senders nobody answers."""
    limits, port = httpx.Limits(max_connections=AT_ONCE), stack.ports["providers"]
    async with httpx.AsyncClient(base_url=stack.url, timeout=120, limits=limits, trust_env=False) as http:
        me = OwnPilot(http)
        found = [kind(me, port) for kind in (TelegramService, SlackService, DiscordService, WebchatService)]
        for service in found:
            await service.open(**({"allowedUsers": []} if isinstance(service, TelegramService) else {}))
        yield found


def texts(services: list[Service], count: int) -> list[tuple[Service, str]]:
    return [(services[number % len(services)], f"message {number}") for number in range(count)]


def signed(service: Service, text: str) -> Sent:
    """A request of somebody whom the assistant does not answer."""
    members = {"team": "T9"} if isinstance(service, SlackService) else {}
    foreign = {"guild_id": "9"} if isinstance(service, DiscordService) else {}
    return service.sent(service.message(text, **members) | foreign)


async def stored(me: OwnPilot) -> list[str]:
    """All messages of the inbox."""
    page = await me.get("/channels/messages/inbox", limit=1000)
    assert page["total"] == page["unreadCount"] == len(page["messages"])
    return sorted(each["content"] for each in page["messages"])


async def test_of_a_flood_everything_is_stored_and_nothing_twice(services: list[Service], campaign: Campaign):
    made = texts(services, campaign.rounds(60, 500))
    requests = [(service, signed(service, text)) for service, text in made]
    flood = requests + campaign.chance.sample(requests, len(requests) // 4)
    campaign.chance.shuffle(flood)
    turns = asyncio.Semaphore(AT_ONCE)

    async def deliver(service: Service, sent: Sent) -> None:
        async with turns:
            while (answer := await service.deliver(sent)).status_code == 503:  # the service would send it again, too
                assert "storage" in answer.text
        assert answer.status_code == 200, answer.text

    await asyncio.gather(*(deliver(*each) for each in flood))
    assert await stored(services[0].me) == sorted(text for _, text in made)


async def test_services_that_repeat_what_a_kill_has_cut_off_bring_everything_once(
    stack: Environment, services: list[Service], campaign: Campaign
):
    made = texts(services, campaign.rounds(20, 200))
    turns = asyncio.Semaphore(10)

    async def deliver(service: Service, text: str) -> None:
        sent = signed(service, text)  # the same request each time, as the services do it

        async def answered() -> bool:
            try:
                return (await service.deliver(sent)).status_code == 200
            except httpx.TransportError:
                return False

        async with turns:
            await eventually(answered)

    flood = asyncio.gather(*(deliver(*each) for each in made))
    for _ in range(campaign.rounds(1, 5)):
        await asyncio.sleep(campaign.chance.uniform(0.1, 0.5))
        await kill(stack, "host")
    await flood
    assert await stored(services[0].me) == sorted(text for _, text in made)


async def test_senders_are_answered_although_the_host_is_killed_in_the_middle(stack: Environment, campaign: Campaign):
    """A killed answer is given by the repeat: stored once, and sent once more at most for each kill."""
    kills = campaign.rounds(1, 8)
    async with (
        connected(**stack.app_settings),
        httpx.AsyncClient(base_url=stack.url, timeout=120, trust_env=False) as http,
    ):
        me = await chatting(http, stack.ports["providers"])
        telegram = TelegramService(me, stack.ports["providers"])
        await telegram.open()
        asked: dict[str, Sent] = {}

        async def all_answered() -> bool:
            shown = (await me.get("/channels/messages/inbox", limit=1000))["messages"]
            replies = [each for each in shown if each["direction"] == "outgoing"]
            assert len({each["replyToId"] for each in replies}) == len(replies)
            return {each["content"] for each in replies if each["status"] == "sent"} == asked.keys()

        for number in range(kills):
            for place in range(4):
                words = f"Answer {number} {place} to {telegram.id}"
                asked[words] = telegram.sent(telegram.message(script([{"text": words, "every": 0.1}])))
                assert (await telegram.deliver(asked[words])).status_code == 200
            await asyncio.sleep(campaign.chance.uniform(0.1, 1))
            await kill(stack, "host")
            # In place of the ten minutes after which the queue brings again what a host that has died was doing.
            async for item in deferred.items.all():
                if not item.done:
                    await deferred.items.update(item.id, _forget_lease)
            for request in asked.values():
                assert (await telegram.deliver(request)).status_code == 200
            await eventually(all_answered, seconds=120)
        for words in asked:
            assert 1 <= len(await telegram.sent_to_it(words)) <= 2, words


def _forget_lease(item: deferred.DeferredItem) -> None:
    item.until = datetime.now(UTC)
