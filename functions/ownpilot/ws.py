"""The WebSocket of a person: greets, then sends what happens; answers `ping`."""

from typing import Any, cast

from functions.ownpilot.core.live import HUB, group_of, message
from functions.ownpilot.core.owner import caller_of_socket
from shared import realtime
from shared.http.sockets import socket_routes
from shared.sockets import Event, Reply
from shared.workflows import WorkflowClient

routes = socket_routes(HUB, message="Upgrade Required: open a WebSocket at {url}")


async def handle_event(event: Event, workflows: WorkflowClient) -> Reply:
    """Handle one event of a connection and return the reply."""
    match event.type:
        case "connect":
            query = cast("dict[str, list[str]]", event.json_object.get("query") or {})
            owner = await caller_of_socket(query)
            return Reply({}, {"owner": owner.id})
        case "connected":
            await _greet(event.connection_id, event.state["owner"])
        case "message":
            return Reply(_answer(event.json_object))
        case _:
            pass
    return Reply()


async def _greet(connection_id: str, owner: str) -> None:
    """Send the greeting, and the messages of the person from then on: nothing comes before the greeting."""
    ready = message("connection:ready", {"connectionId": connection_id, "userId": owner})
    await realtime.publish(HUB, ready, connection=connection_id)
    await realtime.add_to_group(HUB, group_of(owner), connection_id)


def _answer(given: dict[str, Any]) -> dict[str, Any]:
    if given.get("type") == "ping":
        return message("pong", {})
    return message("error", {"code": "INVALID_MESSAGE", "message": "Only messages of type ping are understood"})
