"""Bringing the catalogue up to date with models.dev: one sync at a time; it takes effect as a whole or not at all."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from functions.ownpilot.core.catalogue import rows, stored
from functions.ownpilot.core.catalogue.facts import Catalogue
from functions.ownpilot.core.catalogue.models_dev import Mapped, mapped
from shared import outbound
from shared.http.errors import BadGateway, Conflict
from shared.settings import settings
from shared.tables import Collection, Record, StorageUnavailable

LIMIT = 16_000_000
"""Bytes of the document, several times what it has."""

SECONDS = 60
"""What a sync may take."""

CLAIM = timedelta(seconds=2 * SECONDS)
"""How long a sync whose host was killed keeps others from running."""


class SyncClaim(Record):
    """Who syncs, until when: one row for all instances."""

    name: str
    holder: str | None = None
    until: datetime


claims = Collection("OwnpilotSyncs", SyncClaim, plain=True, unique=["name"])


@dataclass(frozen=True)
class Compared:
    """What a sync would bring: providers and models of models.dev, models that are new, and those with new prices."""

    providers: int
    total_models: int
    new_models: int
    updated_pricing: int


@dataclass(frozen=True)
class Applied:
    """What a sync has brought; `total` counts the models of the providers that were synced.

    `failed` are providers that cannot be read, `not_found` are those that models.dev does not have, and `dropped` are
    those that the catalogue no longer has.
    """

    synced: list[str]
    failed: list[str]
    not_found: list[str]
    dropped: list[str]
    total: int


async def fetch() -> Mapped:
    """Return what models.dev says now. `BadGateway` FETCH_ERROR says why there is no usable answer."""
    url = settings().models_dev_url
    try:
        async with asyncio.timeout(SECONDS), outbound.request("GET", url, limit=LIMIT) as answer:
            if answer.status != 200:
                raise BadGateway(f"models.dev answers with the status {answer.status}", code="FETCH_ERROR")
            return mapped(await answer.json())
    except outbound.OutboundError as error:
        raise BadGateway(f"models.dev gives no usable answer: {error}", code="FETCH_ERROR") from error
    except TimeoutError as error:
        raise BadGateway(f"models.dev takes longer than {SECONDS} seconds", code="FETCH_ERROR") from error
    except ValueError as error:
        raise BadGateway(f"models.dev gives no catalogue: {error}", code="FETCH_ERROR") from error


async def compare() -> Compared:
    """Compare models.dev with the catalogue in use, and change nothing. `BadGateway`."""
    found, catalogue = (await fetch()).providers, await stored.current()
    known = {
        (provider.id, model.id): (model.input_price, model.output_price)
        for provider in catalogue.providers.values()
        for model in provider.models
    }
    offered = {
        (provider.id, model.id): (model.input_price, model.output_price)
        for provider in found
        for model in provider.models
    }
    return Compared(
        len(found), len(offered), len(offered.keys() - known.keys()),
        sum(offered[each] != known[each] for each in offered.keys() & known.keys()),
    )  # fmt: skip


async def apply(owner: str, chosen: Sequence[str] | None = None, *, anew: bool = False) -> Applied:
    """Take over the providers of models.dev, or the chosen ones, and show them to the person again who removed them.

    Providers that models.dev does not have stay. `anew` begins with the catalogue that the app ships, so that those
    stay which it has. `Conflict` SYNC_IN_PROGRESS; `BadGateway` FETCH_ERROR, and then nothing has changed.
    """
    async with _alone():
        found = await fetch()
        wanted = [each for each in found.providers if chosen is None or each.id in chosen]
        before = await stored.current(fresh=True)  # another instance may have just synced other providers
        after = (stored.shipped() if anew else before).with_providers(wanted)
        if wanted or anew:
            await stored.replace(after)
    synced = [each.id for each in wanted]
    await _restore(owner, synced)
    known = {*synced, *found.failed}
    return Applied(
        synced,
        [each for each in found.failed if chosen is None or each in chosen],
        [each for each in dict.fromkeys(chosen or ()) if each not in known],
        [each for each in before.providers if each not in after.providers],
        Catalogue(wanted).size,
    )


async def _restore(owner: str, providers: Sequence[str]) -> None:
    for row in (await rows.rows_of(owner, fresh=True)).providers:
        if row.is_removed and row.provider_id in providers:
            await rows.delete_provider(owner, row.provider_id)


@asynccontextmanager
async def _alone() -> AsyncIterator[None]:
    """Hold the one claim. `Conflict` while another sync holds it; one that was killed loses it after `CLAIM`."""
    now = datetime.now(UTC)
    holder = SyncClaim.new_id()

    def take(claim: SyncClaim) -> None:
        if claim.holder and claim.holder != holder and claim.until > now:
            raise Conflict("Another sync is running", code="SYNC_IN_PROGRESS")
        claim.holder, claim.until = holder, now + CLAIM

    def release(claim: SyncClaim) -> None:
        if claim.holder == holder:
            claim.holder = None

    taken = await claims.put("name", "catalogue", take, lambda: SyncClaim(name="catalogue", until=now))
    try:
        yield
    finally:
        with suppress(StorageUnavailable):  # then it ends by itself
            await claims.update(taken.id, release)
