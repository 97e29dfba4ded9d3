"""Accounts at Google that a person has connected: their tokens, sealed; and the state of those that are being so."""

import asyncio
import contextlib
import hashlib
import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from functions.ownpilot.core import google
from functions.ownpilot.core.entry import Entry, Moment
from functions.ownpilot.core.google import GoogleFailed, GoogleTokens
from shared import sealing, tables
from shared.faults import Sweep
from shared.http.errors import ApiError, BadGateway, BadRequest, NotFound
from shared.sealing import Context, SealBroken
from shared.tables import Collection
from shared.workflows import WorkflowClient

PROVIDER = "google"
STATE_LIFE = timedelta(minutes=10)
LEASE = timedelta(seconds=30)
"""For how long one request may renew a token, while the others wait."""

_ORIGIN = datetime(2020, 1, 1, tzinfo=UTC)


class OauthState(Entry):
    """What is to be known when a person comes back from Google. Its id follows from the secret in the address."""

    service: str
    return_url: str
    redirect_uri: str
    verifier: str
    """The secret of PKCE, sealed."""


class Integration(Entry):
    """A service of Google that a person has connected; `sealed` are its tokens. There is one of each service.

    `refreshing_until`: a request renews the token. `refreshed_at` is when that was done last.
    """

    provider: str = PROVIDER
    service: str
    email: str | None = None
    status: Literal["active", "expired", "revoked", "error"] = "active"
    scopes: list[str] = []
    last_sync_at: Moment | None = None
    error_message: str | None = None
    expires_at: Moment
    sealed_access: str | None = None
    sealed_refresh: str | None = None
    refreshing_until: Moment | None = None
    refreshed_at: Moment | None = None

    def keep(self, tokens: GoogleTokens) -> None:
        """Take over new tokens. The old refresh token stays when there is no new one.

        Its status is `error` while it lacks a permission that the service needs.
        """
        self.sealed_access = sealing.seal(tokens.access, self._context("sealed_access"))
        if tokens.refresh:
            self.sealed_refresh = sealing.seal(tokens.refresh, self._context("sealed_refresh"))
        self.expires_at, self.refreshed_at, self.refreshing_until = tokens.expires_at, datetime.now(UTC), None
        self.scopes = tokens.scopes or self.scopes
        missing = [scope for scope in google.SCOPES[self.service] if scope not in self.scopes] if self.scopes else []
        self.status, self.error_message = "active", None
        if missing:
            self.status, self.error_message = "error", f"Not allowed: {', '.join(missing)}. Connect it again"

    def token(self, field: Literal["sealed_access", "sealed_refresh"]) -> str | None:
        """Return a token, None when there is none. `SealBroken`."""
        sealed: str | None = getattr(self, field)
        return sealing.unseal(sealed, self._context(field)) if sealed else None

    @property
    def shown_status(self) -> str:
        """Its status now: a token that has run out is renewed when it is needed, if there is one to renew it with."""
        is_over = self.status == "active" and not self.sealed_refresh and self.expires_at <= datetime.now(UTC)
        return "expired" if is_over else self.status

    def _context(self, field: str) -> Context:
        return Context(integrations.table, self.id, field)


states = Collection("OwnpilotOauthStates", OauthState, plain=True, spread=16)
integrations = Collection("OwnpilotIntegrations", Integration, plain=True)
sealing.declare(states, "verifier")
sealing.declare(integrations, "sealed_access", "sealed_refresh")


def id_of(service: str) -> str:
    """Return the id of the record of a service: so there is one."""
    return Integration.derived_id(_ORIGIN, f"{PROVIDER} {service}")


async def integration_of(owner: str, integration_id: str) -> Integration:
    """Return an integration. `NotFound`."""
    try:
        return await integrations.of(owner).get(integration_id)
    except tables.RecordNotFound:
        raise NotFound("There is no such integration") from None


async def begin(owner: str, service: str, return_url: str, redirect_uri: str) -> tuple[str, str]:
    """Store what is to be known when the person comes back; return the state and the verifier."""
    state, verifier = secrets.token_urlsafe(32), secrets.token_urlsafe(48)
    record = OauthState(
        id=_state_id(state), created_at=datetime.now(UTC), user_id=owner, service=service, return_url=return_url,
        redirect_uri=redirect_uri, verifier="",
    )  # fmt: skip
    record.verifier = sealing.seal(verifier, _verifier_context(record.id))
    await states.insert(record)
    return state, verifier


async def redeem(state: str) -> tuple[OauthState, str] | None:
    """Use up a state: return it and its verifier, or None for one that is unknown, too old, or used.

    Its deletion decides: of two requests with the same state, one gets it.
    """
    try:
        found = await states.get(_state_id(state))
        await states.delete(found.id, if_match=found.etag)
        verifier = sealing.unseal(found.verifier, _verifier_context(found.id))
    except (tables.RecordNotFound, tables.RecordChanged, SealBroken):
        return None
    return None if found.created_at + STATE_LIFE < datetime.now(UTC) else (found, verifier)


async def purge_oauth_states(workflows: WorkflowClient) -> str | None:
    """Every hour: delete the states of those who did not come back."""
    count, limit = 0, datetime.now(UTC) - STATE_LIFE
    async with Sweep("deleting old states of Google's consent") as sweep:
        async for state in states.all():
            if state.created_at < limit:
                with sweep.item(state.id), contextlib.suppress(tables.RecordNotFound):  # used at this moment
                    await states.delete(state.id)
                    count += 1
    return f"deleted {count} states of Google's consent" if count else None


def _state_id(state: str) -> str:
    return OauthState.derived_id(_ORIGIN, hashlib.sha256(state.encode("utf-8", "replace")).hexdigest())


def _verifier_context(record_id: str) -> Context:
    return Context(states.table, record_id, "verifier")


async def connect(owner: str, service: str, tokens: GoogleTokens, email: str | None) -> Integration:
    """Store the tokens of a service, in place of all that there is: it may be another account's."""
    own, id_ = integrations.of(owner), id_of(service)

    def change(stored: Integration) -> None:
        stored.email, stored.sealed_refresh, stored.last_sync_at, stored.scopes = email, None, None, []
        stored.keep(tokens)

    while True:
        try:
            return await own.update(id_, change)
        except tables.RecordNotFound:
            now = datetime.now(UTC)
            new = Integration(id=id_, created_at=now, user_id=owner, service=service, expires_at=tokens.expires_at)
            change(new)
        try:
            return await own.insert(new)
        except tables.RecordConflict:  # another request has just made it
            continue


async def renewed(owner: str, integration_id: str) -> Integration:
    """Renew the access token. Of requests side by side, one asks Google, and all get what it has got.

    `NotFound`; `BadRequest` without a refresh token, or when Google no longer takes it (the status is `expired` then);
    `BadGateway` when Google does not answer.
    """
    own, begun = integrations.of(owner), datetime.now(UTC)
    while True:
        found, now = await integration_of(owner, integration_id), datetime.now(UTC)
        if found.refreshed_at and found.refreshed_at > begun:
            return found
        if found.refreshing_until and found.refreshing_until > now:
            await asyncio.sleep(0.2)
            continue
        until = now + LEASE

        def take(stored: Integration, until: datetime = until) -> None:
            stored.refreshing_until = until

        try:
            found = await own.update(found, take, if_match=found.etag)
        except tables.RecordChanged:
            continue
        break
    try:
        client = await google.needed_client(owner)
        token = found.token("sealed_refresh")
        if not token:
            raise GoogleFailed("invalid_grant", "there is no refresh token")
        tokens = await google.refresh(client, token)
    except (GoogleFailed, SealBroken, ApiError) as error:
        is_over = isinstance(error, SealBroken) or (isinstance(error, GoogleFailed) and error.code == "invalid_grant")
        await own.update(found.id, _ending(is_over=is_over))
        if is_over:
            raise BadRequest("This integration has expired: connect it again", code="EXPIRED") from error
        if isinstance(error, ApiError):
            raise
        raise BadGateway(str(error), code="REFRESH_FAILED") from error

    def keep(stored: Integration) -> None:
        if stored.sealed_refresh == found.sealed_refresh:  # else another account was connected meanwhile
            stored.keep(tokens)

    return await own.update(found.id, keep)


def _ending(*, is_over: bool) -> Callable[[Integration], Any]:
    """Return the change after a renewal that has failed, for good if `is_over`."""

    def change(stored: Integration) -> None:
        stored.refreshing_until = None
        if is_over:
            stored.status, stored.error_message = "expired", "Google no longer takes the token: connect it again"

    return change


async def disconnect(owner: str, integration_id: str) -> Integration:
    """Give the tokens back to Google, and delete the integration even if Google does not answer. `NotFound`."""
    found = await integration_of(owner, integration_id)
    try:
        token = found.token("sealed_refresh") or found.token("sealed_access")
        if token:
            await google.revoke(token)
    except (GoogleFailed, SealBroken):
        pass  # the person wants it gone here; at Google it can be withdrawn on the page of the account
    try:
        await integrations.of(owner).delete(found.id)
    except tables.RecordNotFound:
        raise NotFound("There is no such integration") from None
    return found
