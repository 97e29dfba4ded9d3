"""The Function of deferred work: one queue for the short work of all slices."""

import azure.durable_functions as df
import azure.functions as func

from shared import deferred
from shared.workflows import WorkflowClient

bp = df.Blueprint()


@bp.queue_trigger(arg_name="message", queue_name=deferred.QUEUE, connection="AzureWebJobsStorage")
@bp.durable_client_input(client_name="client")
async def maintenance_deferred(message: func.QueueMessage, client: df.DurableOrchestrationClient) -> None:
    """Do the work of one message; see `shared/deferred.py`."""
    await deferred.perform(message.get_body(), WorkflowClient(client))
