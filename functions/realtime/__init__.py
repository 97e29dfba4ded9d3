"""The Web PubSub event handler: proves that the service sent an event, and hands it to the dialogue of its hub."""

import hmac
from typing import Annotated

from fastapi import Header, Query, Request
from starlette.responses import JSONResponse, Response

from shared.http.api import Api
from shared.http.errors import BadRequest, NotFound, Unauthorized
from shared.http.routes import router
from shared.realtime import Event, encode_state, verify_signature
from shared.settings import settings
from shared.slices import Slice
from shared.sockets import dialogues
from shared.workflows import Workflows

routes = router("/{hub}/{event}", "realtime")


@routes.options("")
async def allow_events(
    hub: str, event: str, origin: Annotated[str, Header(alias="WebHook-Request-Origin")] = "*"
) -> Response:
    """Answer the service's question whether it may send events here (abuse protection)."""
    return Response(headers={"WebHook-Allowed-Origin": origin})


@routes.post("")
async def take_event(
    hub: str,
    event: str,
    request: Request,
    workflows: Workflows,
    code: Annotated[str, Query()] = "",
) -> Response:
    """Take one event of a connection and answer it."""
    try:
        happened = Event.parse(request.headers, await request.body())
    except ValueError as error:
        raise BadRequest(str(error)) from error
    if not _proven(happened, request.headers.get("ce-signature", ""), code):
        raise Unauthorized("The event is not signed by the service")
    dialogue = dialogues.get(happened.hub)
    if dialogue is None:
        raise NotFound(f"No dialogue for hub {happened.hub}")
    reply = await dialogue(happened, workflows)
    headers = {} if reply.state is None else {"ce-connectionState": encode_state(reply.state)}
    if reply.message is None:
        return Response(status_code=204, headers=headers)
    return JSONResponse(reply.message, headers=headers)


def _proven(event: Event, signature: str, code: str) -> bool:
    """By the service's signature; without an access key, by the code in the handler's address."""
    secret = settings().events_code
    if secret:
        return hmac.compare_digest(secret.encode(), code.encode())
    return verify_signature(event.connection_id, signature)


api = Api("realtime", "Runyard real-time events", "1.0.0", [routes])
SLICE = Slice(api=api)
