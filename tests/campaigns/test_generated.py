"""More generated requests and odd headers than `tests/functions/test_generated.py` sends."""

import asyncio

import httpx

from infra.local.environment import Environment
from tests.functions.test_generated import HEADERS, ODD_VALUES, OPERATIONS, callers, drive, send_odd_values
from tests.support.campaign import Campaign

__all__ = ["callers"]  # a fixture


async def test_responses_to_generated_requests_match_the_description(
    stack: Environment, callers: dict[str, httpx.Headers], campaign: Campaign
):
    for operation in campaign.chance.sample(list(OPERATIONS), campaign.rounds(10, len(OPERATIONS))):
        examples, number = campaign.rounds(5, 100), campaign.chance.randrange(10**9)
        await asyncio.to_thread(drive, operation, stack, callers, examples=examples, number=number)


async def test_each_odd_value_of_a_header_is_read_or_refused_by_each_route(
    stack: Environment, callers: dict[str, httpx.Headers], campaign: Campaign
):
    for name in campaign.chance.sample(HEADERS, campaign.rounds(1, len(HEADERS))):
        await send_odd_values(name, stack, callers, share=campaign.rounds(len(ODD_VALUES) // 4, 1))
