"""What the messages to this slice's queues say."""

import base64
import json
from typing import Any

import azure.functions as func

from shared import tables


async def collections_of(message: func.QueueMessage) -> list[tables.Collection[Any]]:
    """The partitions that a message names: `{"table": "GatewayRuns"}` all of that table, with `"tenant"` one of them.

    `"partition"` stands for `"tenant"` in a message that `order_for` has made.
    """
    order = json.loads(message.get_body())
    collection = tables.collections[order["table"]]
    if order.get("partition") is not None:
        return [collection.at(order["partition"])]
    if order.get("tenant") is not None:
        return [collection.of(order["tenant"])]
    return [each async for each in collection.partitions()]


def order_for(collection: tables.Collection[Any]) -> str:
    """The message that names this partition of a collection."""
    order = {"table": collection.table, "partition": collection.partition}
    return base64.b64encode(json.dumps(order).encode()).decode()
