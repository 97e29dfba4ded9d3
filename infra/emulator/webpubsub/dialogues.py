"""What a frame of a client does: an event for plain clients, a request for clients of the JSON subprotocol."""

import logging
from typing import Any

import orjson

from infra.emulator.webpubsub.messages import Malformed, OutgoingMessage, Payload, control
from infra.emulator.webpubsub.state import HubConnection
from infra.emulator.webpubsub.upstream import DeliveryFailed, Upstream

log = logging.getLogger(__name__)


class Declined(Exception):
    """The request is not carried out; `name` is the error name in its ack."""

    def __init__(self, name: str, message: str):
        super().__init__(message)
        self.name = name


async def plain(upstream: Upstream, connection: HubConnection, data: bytes, binary: bool) -> None:
    """Deliver the frame as a `message` event and send the handler's reply to the client.

    Raises:
        DeliveryFailed: no handler took the event; the caller drops the connection.
    """
    reply = await upstream.user_event(connection, "message", Payload("binary" if binary else "text", data))
    if reply is not None:
        connection.send(OutgoingMessage(reply))


async def subprotocol(upstream: Upstream, connection: HubConnection, data: bytes, binary: bool) -> None:
    """Carry out a request, and ack it when it has an `ackId`.

    The caller drops the connection on each of these errors.

    Raises:
        Declined: a request without an `ackId` failed, which no ack can report.
        Malformed: the frame is not a valid request.
    """
    try:
        request = orjson.loads(data)
    except ValueError:
        raise Malformed("not JSON") from None
    if not isinstance(request, dict):
        raise Malformed("not a JSON object")
    if request.get("type") == "ping":
        return connection.put(control({"type": "pong"}))
    ack = request.get("ackId")
    if ack is None:
        return await _carry_out(upstream, connection, request)
    if type(ack) is not int:
        raise Malformed("ackId must be a whole number")
    answer: dict[str, Any] = {"type": "ack", "ackId": ack, "success": True}
    try:
        if ack in connection.acks:
            raise Declined("Duplicate", f"The request with ackId {ack} was already carried out")
        await _carry_out(upstream, connection, request)
        connection.acks.add(ack)
    except Declined as error:
        answer |= {"success": False, "error": {"name": error.name, "message": str(error)}}
    return connection.put(control(answer))


async def _carry_out(upstream: Upstream, connection: HubConnection, request: dict[str, Any]) -> None:
    hub = connection.hub
    match request.get("type"):
        case "joinGroup":
            hub.join(connection, _permitted(connection, request, "joinLeaveGroup"))
        case "leaveGroup":
            hub.leave(connection, _permitted(connection, request, "joinLeaveGroup"))
        case "sendToGroup":
            group = _permitted(connection, request, "sendToGroup")
            message = OutgoingMessage(Payload.of_request(request), group=group, from_user=connection.user_id)
            for member in list(hub.groups.get(group, {}).values()):
                if not (request.get("noEcho") and member is connection):
                    member.send(message)
        case "event":
            event = _name(request, "event")
            payload = Payload.of_request(request)
            try:
                reply = await upstream.user_event(connection, event, payload)
            except DeliveryFailed as error:
                log.error("event %s of %s: %s", event, connection.id, error)
                raise Declined("InvocationFailed", "The event handler is missing or failed") from None
            if reply is not None:
                connection.send(OutgoingMessage(reply))
        case other:
            raise Malformed(f"unknown type {other!r}")


def _permitted(connection: HubConnection, request: dict[str, Any], permission: str) -> str:
    """The group that the request names. Raises Declined when the client has no permission for it."""
    group = _name(request, "group")
    if not connection.may(permission, group):
        raise Declined("Forbidden", f"The client has no {permission} permission for the group {group}")
    return group


def _name(request: dict[str, Any], member: str) -> str:
    value = request.get(member)
    if not (isinstance(value, str) and value.strip()):
        raise Malformed(f"{member} must be a name")
    return value
