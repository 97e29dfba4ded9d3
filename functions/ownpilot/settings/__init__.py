"""Settings at a glance, and where the data is."""

from functions.ownpilot.core.catalogue.resolve import defaults_of, view_of
from functions.ownpilot.core.entry import Shown
from functions.ownpilot.core.owner import Owner, routes_for
from functions.ownpilot.core.settings_store import key_holders
from shared.settings import settings

routes = routes_for("settings")


class LocalProviderName(Shown):
    """A local provider that is enabled."""

    id: str
    name: str
    type: str = "local"


class Overview(Shown):
    """The settings at a glance. In demo mode no provider has a key and no local one is enabled.

    `default_provider` and `default_model` are those that are used when none is named; `available_providers` are all.
    """

    configured_providers: list[str]
    local_providers: list[LocalProviderName]
    demo_mode: bool
    default_provider: str | None
    default_model: str | None
    available_providers: list[str]


class DataInfo(Shown):
    """Where the data is."""

    data_directory: str
    database: str
    workspace: str
    credentials: str
    platform: str
    is_default_location: bool
    migration: dict[str, bool]


@routes.get("")
async def get_settings(owner: Owner) -> Overview:
    """Which providers there are and which have keys, and what is used by default."""
    view = await view_of(owner.id)
    local = [each for each in view.providers.values() if each.source == "local" and each.is_enabled]
    configured = [*await key_holders(owner.id), *(each.id for each in local)]
    defaults = await defaults_of(owner.id, view)
    return Overview(
        configured_providers=configured,
        local_providers=[LocalProviderName(id=each.id, name=each.name) for each in local],
        demo_mode=not configured,
        default_provider=defaults.provider,
        default_model=defaults.model,
        available_providers=[*view.providers],
    )


@routes.get("/data-info")
async def get_data_info(owner: Owner) -> DataInfo:
    """Where records, files and keys are kept."""
    account = settings().account
    return DataInfo(
        data_directory=account.name, database="azure-tables", workspace="azure-blobs",
        credentials="azure-tables, sealed", platform="azure-functions", is_default_location=True,
        migration={"needsMigration": False},
    )  # fmt: skip
