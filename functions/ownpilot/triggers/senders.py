"""Who may fire a trigger: its user, or a service outside that knows the secret of a webhook."""

import hmac
from ipaddress import ip_address, ip_network
from typing import Annotated

from fastapi import Depends, Request

from functions.ownpilot.core.owner import CALLERS, DEFAULT, Caller, Person, UserId, current_caller, current_owner
from functions.ownpilot.core.trigger_store import Trigger, TriggerType, stored_triggers
from shared import tables
from shared.http.admission import Guard
from shared.http.errors import Conflict, Forbidden, Unauthorized
from shared.http.ratelimit import address_of
from shared.sealing import SealBroken

HEADER = "X-Trigger-Secret"
MAX_NAME = 128


async def current_sender(request: Request) -> Caller:
    """Return who fires a trigger: nobody in particular with its secret. `Unauthorized`, and as `current_caller`."""
    given = request.headers.get(HEADER)
    if given is None:
        return await current_caller(request)
    if not hasattr(request.state, "trigger"):
        request.state.trigger = await _trigger_of(request, given)
    return Caller()


async def _trigger_of(request: Request, secret: str) -> Trigger:
    """Return the webhook that a request fires. `Unauthorized` whatever is wrong: nobody learns which triggers exist."""
    wrong = Unauthorized(f"{HEADER} is not the secret of this trigger")
    owner = request.query_params.get("userId") or DEFAULT
    try:
        trigger = await stored_triggers.of(owner[:MAX_NAME]).get(request.path_params["trigger_id"])
        known = (trigger.secret or "").encode()
    except (tables.RecordNotFound, SealBroken):
        raise wrong from None
    if not known or not hmac.compare_digest(known, secret.encode("latin-1")):  # as the bytes of a header are read
        raise wrong
    return trigger


async def sender_of(
    request: Request, caller: Annotated[Caller, Depends(current_sender)], user_id: UserId = None
) -> Person:
    """Return whose trigger is fired."""
    return await current_owner(request, caller, user_id)


Sender = Annotated[Person, Depends(sender_of)]
"""Parameter type of whose trigger is fired."""

SENDERS = Guard(
    current_sender,
    {**CALLERS.schemes, "triggerSecret": {"type": "apiKey", "in": "header", "name": HEADER}} if CALLERS.schemes else {},
)
"""The guard of the one route that the secret of a webhook opens."""


def check_sender(request: Request, trigger: Trigger) -> None:
    """`Forbidden` when a webhook is fired from an address that it does not allow; `Conflict` when it is switched off.

    Asked of those who are not known: who sends a secret, and everybody where nobody is asked who they are.
    """
    if hasattr(request.state, "trigger") and not trigger.enabled:
        raise Conflict("This trigger is switched off")
    caller: Caller | None = getattr(request.state, "caller", None)
    sources: list[str] = trigger.config.get("allowedSources") or []
    if trigger.type is not TriggerType.WEBHOOK or not sources or (caller and caller.id):
        return
    if not any(_is_in(address_of(request), source) for source in sources):
        raise Forbidden("This trigger may not be fired from this address")


def _is_in(address: str, source: str) -> bool:
    try:
        found = ip_address(address.strip("[]"))
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None)
    return (mapped or found) in ip_network(source, strict=False)
