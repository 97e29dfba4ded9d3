"""The gateway's WebSocket: a client authenticates with its first message, then receives all updates."""

from datetime import timedelta

import azure.durable_functions as df

from functions.gateway.updates import CLIENTS, HUB, key_group
from shared import realtime
from shared.api_keys import INVALID, Client, client_of
from shared.http.sockets import socket_routes
from shared.settings import settings
from shared.sockets import Event, Reply
from shared.workflows import WorkflowClient

AUTHENTICATED = "authenticated"
REFUSAL = {"type": "error", "error": INVALID}

routes = socket_routes(HUB)
bp = df.Blueprint()


async def handle_event(event: Event, workflows: WorkflowClient) -> Reply:
    """Handle one event of a connection."""
    match event.type:
        case "connect":  # not "connected": the service does not wait for that one before it sends the first message
            watch = [event.connection_id, settings().socket_silence]
            await workflows.start("gateway_await_auth", _watch_id(event.connection_id), watch)
        case "message":
            return await _handle_message(event, workflows)
        case _:
            pass
    return Reply()


async def _handle_message(event: Event, workflows: WorkflowClient) -> Reply:
    message = event.json_object
    if "client_id" in event.state:
        return Reply({"type": "pong"}) if message.get("type") == "ping" else Reply()
    key = message.get("api_key") if message.get("type") == "auth" else None
    client = await _client_of(key) if isinstance(key, str) else None
    if client is not None and isinstance(key, str):
        if not await realtime.add_to_group(HUB, key_group(client.key_hash), event.connection_id):
            return await _close(event.connection_id)
        # A revocation since the first check closed the group before this connection was in it.
        client = await _client_of(key)
    if client is None:
        await refuse(event.connection_id)
        return Reply()
    await workflows.signal(_watch_id(event.connection_id), AUTHENTICATED)
    # Sent before the connection joins the group of the updates, so that no update precedes it.
    await realtime.publish(HUB, {"type": "auth_success", "client_id": client.id}, connection=event.connection_id)
    if not await realtime.add_to_group(HUB, CLIENTS, event.connection_id):
        return await _close(event.connection_id)
    return Reply(state={"client_id": client.id})


async def _close(connection_id: str) -> Reply:
    """Close a connection that would be authenticated but receive no updates."""
    await realtime.close_connection(HUB, connection_id, "Could not subscribe to updates; try again")
    return Reply()


async def _client_of(key: str) -> Client | None:
    client = await client_of(key, fresh=True)
    return client if client and client.opens(HUB) else None


async def refuse(connection_id: str) -> None:
    """Send the error for a missing or invalid key, then close the connection."""
    await realtime.publish(HUB, REFUSAL, connection=connection_id)
    await realtime.close_connection(HUB, connection_id, INVALID)


def _watch_id(connection_id: str) -> str:
    return f"socket-{connection_id}"


@bp.orchestration_trigger(context_name="context")
def gateway_await_auth(ctx: df.DurableOrchestrationContext):
    """Close a connection that does not authenticate in time; a durable timer, so that a restart cannot lose it."""
    given = ctx.get_input()
    connection, silence = given if isinstance(given, list) else (given, 10)  # the id alone: an older instance
    timeout = ctx.create_timer(ctx.current_utc_datetime + timedelta(seconds=silence))
    authenticated = ctx.wait_for_external_event(AUTHENTICATED)
    if (yield ctx.task_any([authenticated, timeout])) == timeout:
        yield ctx.call_activity("gateway_refuse_socket", connection)
    else:
        timeout.cancel()  # pyright: ignore[reportAttributeAccessIssue]


@bp.activity_trigger(input_name="connection")
async def gateway_refuse_socket(connection: str) -> None:
    """Close a connection that did not authenticate in time."""
    await refuse(connection)
