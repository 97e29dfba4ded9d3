"""The Web PubSub event handler: checks that the service sent an event, and passes it to the dialogue of its hub."""

import hmac
from typing import Annotated

from fastapi import Header, Query, Request
from starlette.responses import JSONResponse, Response

from shared.http.api import Api
from shared.http.errors import BadRequest, NotFound, Unauthorized
from shared.http.routes import router
from shared.settings import settings
from shared.slices import Slice
from shared.sockets import Event, dialogues, encode_state, verify_signature
from shared.workflows import Workflows

routes = router("/{hub}/{event}", "realtime")


@routes.options("")
async def allow_events(
    hub: str, event: str, origin: Annotated[str, Header(alias="WebHook-Request-Origin")] = "*"
) -> Response:
    """Confirm that the service may send events here (abuse protection of CloudEvents)."""
    return Response(headers={"WebHook-Allowed-Origin": origin})


@routes.post("")
async def receive_event(
    hub: str,
    event: str,
    request: Request,
    workflows: Workflows,
    code: Annotated[str, Query()] = "",
) -> Response:
    """Handle one event of a connection and return the reply."""
    try:
        received = Event.parse(request.headers, await request.body())
    except ValueError as error:
        raise BadRequest(str(error)) from error
    if not _sent_by_service(received, request.headers.get("ce-signature", ""), code):
        raise Unauthorized("The event's code or signature does not prove that Web PubSub sent it")
    dialogue = dialogues.get(received.hub)
    if dialogue is None:
        raise NotFound(f"This app does not serve the hub {received.hub}")
    reply = await dialogue(received, workflows)
    headers = {} if reply.state is None else {"ce-connectionState": encode_state(reply.state)}
    if reply.message is None:
        return Response(status_code=204, headers=headers)
    return JSONResponse(reply.message, headers=headers)


def _sent_by_service(event: Event, signature: str, code: str) -> bool:
    """Return whether the service sent the event: by `code` when `events_code` is set, else by the signature."""
    secret = settings().events_code
    if secret:
        return hmac.compare_digest(secret.encode(), code.encode())
    return verify_signature(event.connection_id, signature)


api = Api("realtime", "Runyard real-time events", "1.0.0", [routes])
SLICE = Slice(api=api)
