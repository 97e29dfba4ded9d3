"""OwnPilot's channels: what a webhook costs until it is answered."""

import itertools
import json
from typing import Any
from unittest.mock import AsyncMock, patch

from starlette.requests import Request

from bench.figures import Figure
from bench.growth import Timed, measured
from functions.ownpilot.channels import webhook
from functions.ownpilot.channels.configs import configure
from functions.ownpilot.channels.records import Channel, channels
from functions.ownpilot.core.owner import Person

OWNER, ID, SECRET = "bench", "bot", "a-secret-of-the-benchmark"


async def figures(timed: Timed) -> list[Figure]:
    """Measure messages of Telegram; the message to the queue, a call more, is left out."""
    channel = Channel(id=Channel.id_of(ID), user_id=OWNER, channel_id=ID, type="telegram", name="n")
    configure(channel, {"botToken": "1:a", "webhookSecret": SECRET})
    await channels.of(OWNER).insert(channel)
    numbers = itertools.count()

    async def receive() -> None:
        sender = {"id": 42, "first_name": "Ann"}
        message = {"message_id": 1, "date": 1_768_435_200, "text": "Good morning", "chat": {"id": 42}, "from": sender}
        body = json.dumps({"update_id": next(numbers), "message": message}).encode()

        async def body_of() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        headers = [(b"x-telegram-bot-api-secret-token", SECRET.encode())]
        await webhook.receive_message(ID, Person(OWNER), Request({"type": "http", "headers": headers}, body_of))

    with patch.object(webhook, "defer", AsyncMock()):
        found = await measured("a webhook of Telegram", receive, timed)
    by_unit = {figure.unit: figure for figure in found}
    by_unit["calls"].at_most, by_unit["ms"].at_most = 2, 30
    return found
