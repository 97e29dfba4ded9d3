"""Google's OAuth, below `/google`: the page of consent, at which everybody agrees, tokens, and whose they are."""

import base64
import hashlib
import secrets
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from aiohttp import web

SECRET = "stand-in-secret"  # published: it opens nothing but what is here
EMAIL = "person@example.com"
SECONDS = 3599

_NEEDED = ("client_id", "redirect_uri", "response_type", "scope")


@dataclass
class Grant:
    """What a person has agreed to."""

    client: str
    redirect_uri: str
    scope: str
    challenge: str


class ConsentState:
    """The codes and tokens that are valid, and how often tokens were given."""

    def __init__(self) -> None:
        self.codes: dict[str, Grant] = {}
        self.refresh_tokens: dict[str, Grant] = {}
        self.access_tokens: dict[str, Grant] = {}
        self.given = 0


CONSENT = web.AppKey("consent", ConsentState)


async def agree(request: web.Request) -> web.Response:
    """GET /google/o/oauth2/v2/auth: a person agrees at once, and the browser goes back with a code."""
    query = request.query
    if missing := [name for name in _NEEDED if not query.get(name)]:
        return web.Response(status=400, text=f"Required parameter is missing: {missing[0]}\n")
    if query["response_type"] != "code":
        return web.Response(status=400, text="unsupported_response_type\n")
    code = f"4/{secrets.token_urlsafe(16)}"
    request.app[CONSENT].codes[code] = Grant(
        query["client_id"], query["redirect_uri"], query["scope"], query.get("code_challenge", "")
    )
    back = urlencode({"state": query.get("state", ""), "code": code, "scope": query["scope"]})
    return web.Response(status=302, headers={"Location": f"{query['redirect_uri']}?{back}"})


async def give_tokens(request: web.Request) -> web.Response:
    """POST /google/token: for a code, which is good once, or a refresh token."""
    form, state = await request.post(), request.app[CONSENT]
    if form.get("client_secret") != SECRET:
        return _error(401, "invalid_client", "The provided client secret is invalid.")
    again: dict[str, Any] = {}
    if form.get("grant_type") == "authorization_code":
        grant = state.codes.pop(str(form.get("code")), None)
        if grant is None or grant.client != form.get("client_id") or not _is_proven(grant, str(form["code_verifier"])):
            return _error(400, "invalid_grant", "Bad Request")
        if grant.redirect_uri != form.get("redirect_uri"):
            return _error(400, "redirect_uri_mismatch", "Bad Request")
        again = {"refresh_token": f"1//{secrets.token_urlsafe(24)}"}
        state.refresh_tokens[again["refresh_token"]] = grant
    elif form.get("grant_type") == "refresh_token":
        grant = state.refresh_tokens.get(str(form.get("refresh_token")))
        if grant is None:
            return _error(400, "invalid_grant", "Token has been expired or revoked.")
    else:
        return _error(400, "unsupported_grant_type", "Invalid grant_type")
    access = f"ya29.{secrets.token_urlsafe(24)}"
    state.access_tokens[access] = grant
    state.given += 1
    answer = {"access_token": access, "expires_in": SECONDS, "scope": grant.scope, "token_type": "Bearer", **again}
    return web.json_response(answer)


def _is_proven(grant: Grant, verifier: str) -> bool:
    digest = hashlib.sha256(verifier.encode()).digest()
    return not grant.challenge or base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == grant.challenge


async def show_user(request: web.Request) -> web.Response:
    """GET /google/v1/userinfo."""
    token = request.headers.get("Authorization", "").removeprefix("Bearer ")
    if token not in request.app[CONSENT].access_tokens:
        return _error(401, "invalid_request", "Invalid Credentials")
    return web.json_response({"sub": "108", "email": EMAIL, "email_verified": True})


async def revoke(request: web.Request) -> web.Response:
    """POST /google/revoke: ends a grant with all of its tokens."""
    state, token = request.app[CONSENT], str((await request.post()).get("token"))
    grant = state.refresh_tokens.get(token) or state.access_tokens.get(token)
    if grant is None:
        return _error(400, "invalid_token", "Token expired or revoked")
    for tokens in (state.refresh_tokens, state.access_tokens):
        for name in [name for name, each in tokens.items() if each is grant]:
            del tokens[name]
    return web.json_response({})


async def count_tokens(request: web.Request) -> web.Response:
    """GET /google/local/given: how often tokens were given."""
    return web.json_response({"given": request.app[CONSENT].given})


def _error(status: int, word: str, description: str) -> web.Response:
    return web.json_response({"error": word, "error_description": description}, status=status)
