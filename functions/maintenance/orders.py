"""What the messages to this slice's queues say."""

import json
from typing import Any

import azure.functions as func

from shared import tables


def collection_of(message: func.QueueMessage) -> tables.Collection[Any]:
    """The collection that a message names, `{"table": "GatewayRuns"}`; with `"tenant"`, that partition of it."""
    order = json.loads(message.get_body())
    collection = tables.collections[order["table"]]
    return collection if order.get("tenant") is None else collection.of(order["tenant"])
