"""The Function of deferred work: one queue for the short work of all slices."""

import azure.durable_functions as df
import azure.functions as func

from shared import deferred

bp = df.Blueprint()


@bp.queue_trigger(arg_name="message", queue_name=deferred.QUEUE, connection="AzureWebJobsStorage")
async def maintenance_deferred(message: func.QueueMessage) -> None:
    """Do the work of one message; see `shared/deferred.py`."""
    await deferred.perform(message.get_body())
