"""The workflow of an operation on all data of a person."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false

from typing import Any

import azure.durable_functions as df

from functions.ownpilot.core import database_operations
from functions.ownpilot.database import steps

bp = df.Blueprint()

STEPS = 20
"""Steps after which the workflow continues as new, so that its history stays short."""

RETRY = df.RetryOptions(first_retry_interval_in_milliseconds=2000, max_number_of_attempts=5)
FAILED = "It failed: the log of the service says why. What was done so far stands, and it can be started again"


@bp.orchestration_trigger(context_name="context")
def ownpilot_database(ctx: df.DurableOrchestrationContext):
    """Take the steps of an operation, `{"user": ..., "id": ...}`, until nothing is left to do."""
    order: Any = ctx.get_input()
    try:
        for _ in range(STEPS):
            more = yield ctx.call_activity_with_retry("ownpilot_database_step", RETRY, order)
            if not more:
                return
    except Exception:
        yield ctx.call_activity_with_retry("ownpilot_database_step", RETRY, {**order, "failed": True})
        return
    ctx.continue_as_new(order)


@bp.activity_trigger(input_name="order")
async def ownpilot_database_step(order: dict) -> bool:
    """Go on with an operation, or end it as a failure; return whether anything is left to do."""
    if order.get("failed"):
        await database_operations.end(order["user"], order["id"], FAILED)
        return False
    return await steps.step(order["user"], order["id"])
