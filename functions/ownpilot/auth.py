"""Connecting an account at Google: the way to its page of consent and back, and the client that is used for it."""

import contextlib
import re
from typing import Annotated, Any, Literal
from urllib.parse import parse_qsl, urlencode, urlsplit

from fastapi import Depends, Query, Request
from pydantic import AfterValidator, StringConstraints
from starlette.responses import PlainTextResponse

from functions.ownpilot.core import google, integration_store, settings_store
from functions.ownpilot.core.audit_log import record_change
from functions.ownpilot.core.entry import Given, iso
from functions.ownpilot.core.google import GoogleFailed
from functions.ownpilot.core.owner import DEFAULT, Owner, Person, UserId, current_caller, routes_for
from shared.api_keys import key_of
from shared.http.bodies import example
from shared.http.errors import BadRequest, Forbidden
from shared.settings import settings

routes = routes_for("auth")

RETURN = "/settings"
"""Where people are sent back to when nothing else is said."""

_ADDRESS = re.compile(r"[!-~]{1,2000}")
_WORD = re.compile(r"[A-Za-z0-9_.-]{1,60}")

ClientText = Annotated[str, StringConstraints(pattern=r"^[!-~]{1,500}$")]


def _redirect_uri(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.fragment or "@" in parts.netloc:
        raise ValueError("must be an address that begins with http:// or https://, without a fragment")
    return text


class GoogleConfig(Given):
    """The client of this app at Google; without `redirectUri` it is the callback of this app."""

    model_config = example(
        clientId="xxx.apps.googleusercontent.com", clientSecret="GOCSPX-xxx",
        redirectUri="http://localhost:8080/api/v1/auth/google/callback",
    )  # fmt: skip

    client_id: ClientText
    client_secret: ClientText
    redirect_uri: Annotated[ClientText, AfterValidator(_redirect_uri)] | None = None


class IntegrationNamed(Given):
    """Which integration is meant."""

    model_config = example(integrationId="0190f7a2-0000-7000-8000-000000000000")

    integration_id: Annotated[str, StringConstraints(min_length=1, max_length=200)]


async def _browser(request: Request, user_id: UserId = None) -> Person:
    """Return for whom an account is connected. A browser sends no header, so nobody is asked for a credential.

    Without one, an address may name another user only where nobody is asked anyway.
    """
    if settings().ownpilot_auth == "none" or key_of(request):
        caller = await current_caller(request)
        return Person(user_id or caller.id or DEFAULT)
    if user_id not in (None, DEFAULT):
        raise Forbidden("Only with a credential may the address name another user in userId")
    return Person(DEFAULT)


@routes.get("/status")
async def get_auth_status(owner: Owner) -> dict[str, Any]:
    """Whether Google can be connected, and the address that must be registered there. 2 point reads."""
    client = await google.client_of(owner.id)
    return {
        "google": {
            "configured": client is not None, "clientId": client.id if client else None,
            "redirectUri": client.redirect_uri if client else google.default_redirect_uri(),
            "services": [*google.SCOPES],
        }
    }  # fmt: skip


@routes.post("/config/google")
async def set_google_config(body: GoogleConfig, owner: Owner) -> dict[str, Any]:
    """Store the client of this app at Google. Its secret is sealed and never shown."""
    await google.save_client(owner.id, body.client_id, body.client_secret, body.redirect_uri)
    await record_change(owner, "google_oauth", "client", "set")
    return {"configured": True, "message": "Google can be connected now"}


@routes.delete("/config/google")
async def delete_google_config(owner: Owner) -> dict[str, Any]:
    """Forget the client: id, secret and address. What is connected stays, until its tokens run out."""
    await settings_store.remove(owner.id, google.SETTING)
    await record_change(owner, "google_oauth", "client", "delete")
    return {"configured": False, "message": "The Google client is forgotten"}


@routes.get("/google/start", status_code=302, response_class=PlainTextResponse)
async def start_google(
    owner: Annotated[Person, Depends(_browser)],
    service: Literal["gmail", "calendar", "drive"] = "gmail",
    return_url: Annotated[str, Query(alias="returnUrl")] = RETURN,
) -> PlainTextResponse:
    """Send the browser to Google's page of consent.

    It comes back to `returnUrl`: a path of this server, or an address of an origin that `RUNYARD_CORS_ORIGINS` names.
    """
    _check_return(return_url or RETURN)
    client = await google.needed_client(owner.id)
    state, verifier = await integration_store.begin(owner.id, service, return_url or RETURN, client.redirect_uri)
    return _redirect(google.consent_url(client, service, state, verifier))


@routes.get("/google/callback", status_code=302, response_class=PlainTextResponse)
async def finish_google(
    code: str = "", state: str = "", error: str = "", error_description: str = ""
) -> PlainTextResponse:
    """Take the browser back from Google, and connect the account. `oauth_success` or `oauth_error` says how it ended.

    The state is good for one callback within ten minutes.
    """
    redeemed = await integration_store.redeem(state) if state else None
    if error:
        return _back(redeemed[0].return_url if redeemed else RETURN, oauth_error=_word(error))
    if redeemed is None:
        return _back(RETURN, oauth_error="invalid_or_expired_state")
    kept, verifier = redeemed
    if not code:
        return _back(kept.return_url, oauth_error="missing_code")
    owner = Person(kept.user_id)
    try:
        client = await google.needed_client(owner.id)
        tokens = await google.exchange(client, code, verifier, kept.redirect_uri)
    except (GoogleFailed, BadRequest) as failed:
        return _back(kept.return_url, oauth_error=failed.code.lower())
    email = None
    with contextlib.suppress(GoogleFailed):  # the next sync asks again
        email = await google.email_of(tokens.access)
    connected = await integration_store.connect(owner.id, kept.service, tokens, email)
    await record_change(owner, "integration", connected.id, "connect")
    if connected.status == "error":
        return _back(kept.return_url, oauth_error="scope_not_granted")
    return _back(kept.return_url, oauth_success=kept.service)


@routes.post("/google/refresh")
async def refresh_google(body: IntegrationNamed, owner: Owner) -> dict[str, Any]:
    """Renew the access token of an integration now."""
    found = await integration_store.renewed(owner.id, body.integration_id)
    return {"message": "The token is renewed", "expiresAt": iso(found.expires_at)}


@routes.post("/google/revoke")
async def revoke_google(body: IntegrationNamed, owner: Owner) -> dict[str, Any]:
    """Disconnect an account: the token is revoked at Google, and the integration is deleted even if that fails."""
    found = await integration_store.disconnect(owner.id, body.integration_id)
    await record_change(owner, "integration", found.id, "revoke")
    return {"message": f"{found.service} is disconnected", "deleted": True}


def _check_return(address: str) -> None:
    """`BadRequest` for an address that leads away: only paths of this server and allowed origins are taken."""
    refusal = BadRequest(
        "returnUrl: must be a path such as /settings, or an address of an allowed origin", code="INVALID_REQUEST"
    )
    # Browsers read `\` as `/`, and `//host` as another server.
    if not _ADDRESS.fullmatch(address) or "\\" in address or address.startswith("//"):
        raise refusal
    if address.startswith("/"):
        return
    try:
        parts = urlsplit(address)
    except ValueError:
        raise refusal from None
    allowed = {origin.strip().rstrip("/") for origin in settings().cors_origins.split(",")} | {settings().base_url}
    if parts.scheme not in ("http", "https") or f"{parts.scheme}://{parts.netloc}" not in allowed:
        raise refusal


def _word(error: str) -> str:
    """Return Google's word for an error, if it is one."""
    return error if _WORD.fullmatch(error) else "unknown_error"


def _back(address: str, **result: str) -> PlainTextResponse:
    parts = urlsplit(address)
    query = urlencode([*parse_qsl(parts.query, keep_blank_values=True), *result.items()])
    return _redirect(parts._replace(query=query).geturl())


def _redirect(address: str) -> PlainTextResponse:
    headers = {"Location": address, "Cache-Control": "no-store"}
    return PlainTextResponse("Go on at the address in the header Location.\n", 302, headers)
