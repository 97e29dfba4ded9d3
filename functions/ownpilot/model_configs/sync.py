"""Comparing the catalogue with models.dev, and bringing it up to date."""

from typing import Annotated

from fastapi import Query, Request

from functions.ownpilot.core.audit_log import record_change
from functions.ownpilot.core.catalogue import rows, sync
from functions.ownpilot.core.catalogue.resolve import provider_of
from functions.ownpilot.core.catalogue.rows import ProviderRow
from functions.ownpilot.core.catalogue.sync import Applied
from functions.ownpilot.core.entry import Shown
from functions.ownpilot.core.envelope import beside_data
from functions.ownpilot.core.owner import Owner, routes_for
from shared.http.errors import NotFound

routes = routes_for("model-configs/sync")


class ComparedStats(Shown):
    """What a sync would bring."""

    providers: int
    total_models: int
    new_models: int
    updated_pricing: int


class ComparedShown(Shown):
    """What a sync would bring, and in words."""

    stats: ComparedStats
    message: str


class AppliedStats(Shown):
    """What a sync has brought: providers, those that cannot be read, and the models of the former."""

    providers: int
    failed: int
    total: int
    synced_providers: list[str]
    failed_providers: list[str]


class AppliedShown(Shown):
    """What a sync has brought, and in words."""

    stats: AppliedStats
    message: str


class ClearedRows(Shown):
    """How many changes of models and providers were deleted; the person's own ones are among them."""

    model_configs: int
    provider_configs: int


class ResetStats(Shown):
    """What a reset has deleted, and what the sync after it has brought.

    `deleted_files_list` are the providers that the catalogue no longer has.
    """

    deleted_files: int
    deleted_files_list: list[str]
    database: ClearedRows
    synced: int
    synced_providers: list[str]
    failed: int


class ResetShown(Shown):
    """What a reset has done, and in words."""

    stats: ResetStats
    message: str


class SyncResult(Shown):
    """The providers that were synced, cannot be read, and do not exist."""

    synced: list[str]
    failed: list[str]
    not_found: list[str]


class ProviderRemoved(Shown):
    """Whether a provider was deleted, and whether it is back with what models.dev says now."""

    provider_id: str
    deleted: bool
    resynced: bool
    sync_result: SyncResult | None


def _beside(request: Request, shown: ComparedShown | AppliedShown | ResetShown) -> None:
    beside_data(request, stats=shown.stats.model_dump(by_alias=True), message=shown.message)


@routes.post("")
async def compare_catalogue(request: Request, owner: Owner) -> ComparedShown:
    """Say what a sync would bring, and change nothing."""
    found = await sync.compare()
    shown = ComparedShown(
        stats=ComparedStats.model_validate(found),
        message=f"{found.new_models} models are new, and {found.updated_pricing} have another price",
    )
    _beside(request, shown)
    return shown


@routes.post("/apply")
async def apply_catalogue(request: Request, owner: Owner) -> AppliedShown:
    """Take over all that models.dev says now. What you have changed stays."""
    done = await sync.apply(owner.id)
    await record_change(owner, "catalogue", "models.dev", "sync")
    stats = AppliedStats(
        providers=len(done.synced), failed=len(done.failed), total=done.total, synced_providers=done.synced,
        failed_providers=done.failed,
    )  # fmt: skip
    shown = AppliedShown(stats=stats, message=f"{stats.providers} providers with {done.total} models were synced")
    _beside(request, shown)
    return shown


@routes.post("/reset")
async def reset_catalogue(request: Request, owner: Owner) -> ResetShown:
    """Begin anew: the catalogue that the app ships, a sync, and nothing of your own but keys and local providers.

    While models.dev does not answer, everything stays as it is.
    """
    done = await sync.apply(owner.id, anew=True)
    models, providers = await rows.clear(owner.id)
    await record_change(owner, "catalogue", "models.dev", "reset")
    stats = ResetStats(
        deleted_files=len(done.dropped), deleted_files_list=done.dropped,
        database=ClearedRows(model_configs=models, provider_configs=providers), synced=len(done.synced),
        synced_providers=done.synced, failed=len(done.failed),
    )  # fmt: skip
    shown = ResetShown(
        stats=stats, message=f"{models + providers} changes were deleted, {stats.synced} providers synced"
    )
    _beside(request, shown)
    return shown


@routes.delete("/provider/{provider_id}")
async def delete_catalogue_provider(
    provider_id: str, owner: Owner, resync: Annotated[bool, Query()] = False
) -> ProviderRemoved:
    """Delete what you have changed of a provider of the catalogue, and hide it until the next sync.

    With `resync` that sync follows at once. Other users keep the provider.
    """
    found = await provider_of(owner.id, provider_id)
    if found.source != "builtin":
        raise NotFound(f"The catalogue has no provider {provider_id[:100]}", code="PROVIDER_NOT_FOUND")
    done: Applied | None = await sync.apply(owner.id, [provider_id]) if resync else None
    await rows.delete_provider(owner.id, provider_id, with_models=True)
    is_back = done is not None and provider_id in done.synced
    if not is_back:
        await rows.change_provider(owner.id, provider_id, _remove)
    await record_change(owner, "provider", provider_id, "delete from catalogue")
    result = SyncResult.model_validate(done) if done else None
    return ProviderRemoved(provider_id=provider_id, deleted=True, resynced=is_back, sync_result=result)


def _remove(row: ProviderRow) -> None:
    row.is_removed = True
