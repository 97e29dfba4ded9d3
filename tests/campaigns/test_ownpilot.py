"""OwnPilot under generated requests: all of its operations."""

import asyncio

import httpx
import pytest

from infra.local.environment import Environment
from tests.support.campaign import Campaign
from tests.support.generated import APIS, credentials, drive, operations_of


@pytest.fixture(scope="module")
async def callers(stack: Environment) -> dict[str, httpx.Headers]:
    return await credentials(stack)


async def test_responses_to_generated_requests_match_the_description(
    stack: Environment, callers: dict[str, httpx.Headers], campaign: Campaign
):
    operations = [*operations_of(APIS["ownpilot"])]
    for operation in campaign.chance.sample(operations, campaign.rounds(10, len(operations))):
        examples, number = campaign.rounds(5, 50), campaign.chance.randrange(10**9)
        await asyncio.to_thread(drive, operation, stack, callers, examples=examples, number=number)
