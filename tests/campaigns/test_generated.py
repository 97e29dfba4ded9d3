"""More generated requests, odd headers, forms and frames than `tests/functions/test_generated.py` sends."""

import asyncio

import httpx
import pytest

from infra.local.environment import Environment
from tests.support.campaign import Campaign
from tests.support.generated import (
    HEADERS,
    ODD_VALUES,
    OPERATIONS,
    SOCKETS,
    UPLOADING,
    credentials,
    drive,
    send_odd_forms,
    send_odd_frames,
    send_odd_values,
)


@pytest.fixture(scope="module")
async def callers(stack: Environment) -> dict[str, httpx.Headers]:
    return await credentials(stack)


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


async def test_each_odd_form_is_read_or_refused(
    stack: Environment, callers: dict[str, httpx.Headers], campaign: Campaign
):
    for api in UPLOADING.values():
        await send_odd_forms(api, stack, callers, share=campaign.rounds(4, 1))


async def test_each_odd_frame_is_answered_or_ends_its_own_socket_only(stack: Environment, campaign: Campaign):
    for path in SOCKETS:
        await send_odd_frames(path, stack, share=campaign.rounds(4, 1))
