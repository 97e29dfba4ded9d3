"""Google's OAuth: the page of consent, and tokens for it; with which client, each person sets."""

import asyncio
import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, cast
from urllib.parse import urlencode

import orjson

from functions.ownpilot.core import settings_store
from shared import outbound, tables
from shared.http.errors import BadRequest
from shared.sealing import SealBroken
from shared.settings import settings

SETTING = "google_oauth_client_secret"
"""The row of the client: its secret sealed, its id and address in clear."""

CALLBACK = "/ownpilot/api/v1/auth/google/callback"
PATIENCE = 20.0
"""Seconds that Google may take for one answer."""

LIMIT = 200_000
"""Bytes of an answer."""

_API = "https://www.googleapis.com/auth/"
EMAIL = f"{_API}userinfo.email"
SCOPES: Mapping[str, tuple[str, ...]] = {
    "gmail": (f"{_API}gmail.modify", f"{_API}gmail.send", EMAIL), "calendar": (f"{_API}calendar", EMAIL),
    "drive": (f"{_API}drive", EMAIL),
}  # fmt: skip
"""What each service needs to be allowed."""

_CODE = re.compile(r"[a-z_]{1,60}")


class GoogleFailed(Exception):
    """Google refuses, or does not answer; `code` is Google's own word for it, or one of ours, of `[a-z_]` only."""

    def __init__(self, code: str, message: str):
        super().__init__(message)
        self.code = code


class GoogleClient(NamedTuple):
    """The client with which a person has registered this app at Google."""

    id: str
    secret: str
    redirect_uri: str


@dataclass(frozen=True)
class GoogleTokens:
    """Tokens for a service; `refresh` is None when Google has sent no new one. `scopes` are those that were allowed."""

    access: str
    refresh: str | None
    expires_at: datetime
    scopes: list[str]


def default_redirect_uri() -> str:
    """Return the address of the callback."""
    return f"{settings().base_url}{CALLBACK}"


async def client_of(owner: str) -> GoogleClient | None:
    """Return the client of a person, None when there is none. `BadRequest` when its secret cannot be read.

    2 point reads.
    """
    try:
        row = await settings_store.stored_settings.of(owner).find("key", SETTING)
    except tables.RecordNotFound:
        return None
    try:
        secret = settings_store.unsealed(row)
    except SealBroken as error:
        message = "The secret of the Google client cannot be read: set it again"
        raise BadRequest(message, code="SECRETS_UNREADABLE") from error
    return GoogleClient(row.value["clientId"], secret, row.value.get("redirectUri") or default_redirect_uri())


async def needed_client(owner: str) -> GoogleClient:
    """Return the client of a person. `BadRequest` when there is none."""
    if found := await client_of(owner):
        return found
    raise BadRequest(
        "Google is not configured", code="NOT_CONFIGURED",
        details={"hint": "Set clientId and clientSecret first: POST /api/v1/auth/config/google"},
    )  # fmt: skip


async def save_client(owner: str, client_id: str, secret: str, redirect_uri: str | None) -> None:
    """Store the client of a person, in one row: id and secret always belong together."""
    await settings_store.write_sealed(owner, SETTING, secret, {"clientId": client_id, "redirectUri": redirect_uri})


def consent_url(client: GoogleClient, service: str, state: str, verifier: str) -> str:
    """Return the address of the page on which a person allows a service."""
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    query = urlencode({
        "client_id": client.id, "redirect_uri": client.redirect_uri, "response_type": "code",
        "scope": " ".join(SCOPES[service]), "state": state, "access_type": "offline", "prompt": "consent",
        "include_granted_scopes": "true", "code_challenge": challenge, "code_challenge_method": "S256",
    })  # fmt: skip
    return f"{settings().google_auth_url}?{query}"


async def exchange(client: GoogleClient, code: str, verifier: str, redirect_uri: str) -> GoogleTokens:
    """Return the tokens for the code that a person has brought back. `GoogleFailed`."""
    return await _tokens(client, {
        "grant_type": "authorization_code", "code": code, "code_verifier": verifier, "redirect_uri": redirect_uri,
    })  # fmt: skip


async def refresh(client: GoogleClient, token: str) -> GoogleTokens:
    """Return a new access token. `GoogleFailed`: `invalid_grant` when the person has withdrawn the permission."""
    return await _tokens(client, {"grant_type": "refresh_token", "refresh_token": token})


async def _tokens(client: GoogleClient, form: Mapping[str, str]) -> GoogleTokens:
    answer = await _ask(
        "POST", settings().google_token_url, form={**form, "client_id": client.id, "client_secret": client.secret}
    )
    access, seconds = answer.get("access_token"), answer.get("expires_in", 3600)
    if not isinstance(access, str) or not isinstance(seconds, int | float):
        raise GoogleFailed("no_token", "Google has sent no token")
    expires_at = datetime.now(UTC) + timedelta(seconds=min(max(float(seconds), 0), 10**8))
    again = answer.get("refresh_token")
    return GoogleTokens(
        access, again if isinstance(again, str) and again else None, expires_at,
        str(answer.get("scope") or "").split(),
    )  # fmt: skip


async def email_of(access_token: str) -> str | None:
    """Return the e-mail address of the account, if Google tells it. `GoogleFailed`."""
    found = (await _ask("GET", settings().google_userinfo_url, token=access_token)).get("email")
    return found if isinstance(found, str) else None


async def revoke(token: str) -> None:
    """Give a token back, and with it all that the person has allowed. `GoogleFailed`."""
    await _ask("POST", settings().google_revoke_url, form={"token": token})


async def _ask(method: str, url: str, *, form: Mapping[str, str] | None = None, token: str = "") -> dict[str, Any]:
    headers = {"Accept": "application/json"}
    headers |= {"Content-Type": "application/x-www-form-urlencoded"} if form else {}
    headers |= {"Authorization": f"Bearer {token}"} if token else {}
    try:
        async with (
            asyncio.timeout(PATIENCE),
            outbound.request(
                method, url, limit=LIMIT, headers=headers, body=urlencode(form).encode() if form else None,
                silence=PATIENCE,
            ) as answer,
        ):  # fmt: skip
            status, body = answer.status, await answer.read()
    except (outbound.OutboundError, TimeoutError) as error:
        raise GoogleFailed("no_answer", "Google does not answer") from error
    try:
        found: Any = orjson.loads(body) if body else {}
    except orjson.JSONDecodeError:
        found = None
    members = cast("dict[str, Any]", found) if isinstance(found, dict) else {}
    if status >= 300:
        said = members.get("error")
        code = said if isinstance(said, str) and _CODE.fullmatch(said) else "refused"
        raise GoogleFailed(code, f"Google refuses: {code} (status {status})")
    return members
