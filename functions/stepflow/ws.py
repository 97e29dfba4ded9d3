"""StepFlow's WebSocket: a client receives the messages of all executions, or of those it has subscribed to."""

import hashlib
from datetime import UTC, datetime

from functions.stepflow.access import authenticate_socket
from functions.stepflow.records import Connection, ExecutionStatus
from functions.stepflow.store import connections, executions
from functions.stepflow.updates import EVERYTHING, HUB, Message, group_of, instant, message, step_shown
from shared import realtime, tables
from shared.http.sockets import socket_routes
from shared.sockets import Event, Reply
from shared.tables.ids import derived_id
from shared.workflows import WorkflowClient

MAX_SUBSCRIPTIONS = 100
"""Executions that one connection may subscribe to; Web PubSub sends their ids with each event of the connection."""

MAX_ID = 64
"""Characters of an execution's id in a message: names of groups are limited."""

STATUS_STEPS = 500
"""Steps in an `execution_status` message; the newest are shown."""

ID_TIME = datetime(2020, 1, 1, tzinfo=UTC)
"""The time in the id of every connection record: it is fixed, so that the id follows from the connection's name."""

routes = socket_routes(HUB, message="Upgrade Required: open a WebSocket at {url}")


async def handle_event(event: Event, workflows: WorkflowClient) -> Reply:
    """Handle one event of a connection and return the reply."""
    match event.type:
        case "connect":
            await authenticate_socket(event.json_object)
            return Reply({"groups": [EVERYTHING]})  # from the start, so that it misses no message
        case "connected":
            await _register_connection(event.connection_id)
        case "disconnected":
            await _delete_connection(event.connection_id)
        case "message":
            return await _handle_message(event)
        case _:
            pass
    return Reply()


async def _register_connection(connection_id: str) -> None:
    client_id = int.from_bytes(hashlib.sha256(connection_id.encode()).digest()[:6])
    connection = Connection(
        id=record_id(connection_id), created_at=ID_TIME, connection_id=connection_id, client_id=client_id
    )
    await connections.insert(connection)
    data = {
        "client_id": client_id,
        "server_time": instant(datetime.now(UTC)),
        "connected_clients": await connections.count(),
    }
    await realtime.publish(HUB, message("connection_established", data), connection=connection_id)


async def _delete_connection(connection_id: str) -> None:
    try:
        await connections.delete(record_id(connection_id))
    except tables.RecordNotFound:
        pass


def record_id(connection_id: str) -> str:
    """Return the id of a connection's record."""
    return derived_id(ID_TIME, connection_id)


async def _handle_message(event: Event) -> Reply:
    given = event.json_object
    data = given.get("data")
    data = data if isinstance(data, dict) else given  # the original StepFlow's web page sends the id beside the type
    execution_id = data.get("execution_id")
    if isinstance(execution_id, str) and len(execution_id) > MAX_ID:
        return Reply(_error("INVALID_MESSAGE", f"An execution_id has at most {MAX_ID} characters"))
    match given.get("type"):
        case "ping":
            return Reply(message("pong", {}))
        case "subscribe" | "subscribe_execution" if isinstance(execution_id, str):
            return await _subscribe(event, execution_id.lower())
        case "unsubscribe" | "unsubscribe_execution" if isinstance(execution_id, str):
            return await _unsubscribe(event, execution_id.lower())
        case "get_status" if execution_id is None:
            return Reply(await _server_status())
        case "get_status" if isinstance(execution_id, str):
            return Reply(await _execution_status(execution_id))
        case _:
            return Reply(_error("INVALID_MESSAGE", "Unknown or malformed message"))


async def _subscribe(event: Event, execution_id: str) -> Reply:
    subscriptions = _subscriptions(event)
    if execution_id not in subscriptions:
        if len(subscriptions) >= MAX_SUBSCRIPTIONS:
            text = f"A connection can subscribe to at most {MAX_SUBSCRIPTIONS} executions"
            return Reply(_error("TOO_MANY_SUBSCRIPTIONS", text, execution_id))
        subscriptions.append(execution_id)
    if not await realtime.add_to_group(HUB, group_of(execution_id), event.connection_id):
        return Reply(_error("SUBSCRIPTION_FAILED", "The subscription failed; try again", execution_id))
    await realtime.remove_from_group(HUB, EVERYTHING, event.connection_id)
    return Reply(message("subscribed", {"execution_id": execution_id}), {"subscriptions": subscriptions})


async def _unsubscribe(event: Event, execution_id: str) -> Reply:
    subscriptions = [each for each in _subscriptions(event) if each != execution_id]
    if not subscriptions and not await realtime.add_to_group(HUB, EVERYTHING, event.connection_id):
        return Reply(_error("SUBSCRIPTION_FAILED", "The subscription could not be ended; try again", execution_id))
    await realtime.remove_from_group(HUB, group_of(execution_id), event.connection_id)
    return Reply(message("unsubscribed", {"execution_id": execution_id}), {"subscriptions": subscriptions})


def _subscriptions(event: Event) -> list[str]:
    return [*event.state.get("subscriptions", [])]


async def _server_status() -> Message:
    totals = await executions.totals({})
    data = {
        "running": True,
        "running_executions": totals.by("status")[ExecutionStatus.RUNNING],
        "connected_clients": await connections.count(),
    }
    return message("server_status", data)


async def _execution_status(execution_id: str) -> Message:
    try:
        execution = await executions.get(execution_id)
    except tables.RecordNotFound:
        return _error("EXECUTION_NOT_FOUND", "Execution not found", execution_id)
    return message(
        "execution_status",
        {
            "execution_id": execution.id,
            "status": execution.status,
            "exit_code": execution.exit_code,
            "steps": [step_shown(execution, step) for step in execution.steps[-STATUS_STEPS:]],
            "total_steps": execution.total_steps,
            "completed_steps": execution.completed_steps,
            "progress": execution.progress_percentage,
        },
    )


def _error(code: str, text: str, execution_id: str | None = None) -> Message:
    data = {"execution_id": execution_id, "error_message": text, "error_code": code}
    return message("error", {**data, "timestamp": instant(datetime.now(UTC))})
