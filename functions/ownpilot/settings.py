"""Settings: keys of providers, the default provider and model, the sandbox, and values by key."""

import asyncio
from typing import Annotated, Any, Literal

from fastapi import Body, Path
from pydantic import BeforeValidator, Field, StringConstraints, ValidationError

from functions.ownpilot.core import settings_store as store
from functions.ownpilot.core.audit_log import Subject, record_event
from functions.ownpilot.core.entry import Given, Shown
from functions.ownpilot.core.owner import Owner, Person, routes_for
from shared.health import CONTAINERS, Checks
from shared.http.bodies import example
from shared.http.errors import BadRequest, Forbidden, NotFound, invalid_request
from shared.http.json import not_blank
from shared.settings import settings

routes = routes_for("settings")
checks = Checks({"docker": CONTAINERS})

SANDBOX = f"{store.INTERNAL}sandbox"

Name = Annotated[
    str, StringConstraints(max_length=200), BeforeValidator(lambda it: not_blank(it) if isinstance(it, str) else it)
]
Secret = Annotated[str, StringConstraints(min_length=1, max_length=10_000)]


class Overview(Shown):
    """The settings at a glance; in demo mode no provider has a key."""

    configured_providers: list[str]
    local_providers: list[dict[str, str]]
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


class ApiKey(Given):
    """The API key of a provider."""

    model_config = example(apiKey="sk-an-example-only")

    api_key: Secret


class ProviderKey(Given):
    """A provider and its API key."""

    model_config = example(provider="openai", apiKey="sk-an-example-only")

    provider: Name
    api_key: Secret


class Configured(Shown):
    """Whether a provider has a key; the key itself is never shown."""

    provider: str
    configured: bool


class NewDefaults(Given):
    """The default provider and model, also as `defaultProvider` and `defaultModel`; null removes one."""

    model_config = example(provider="openai", model="gpt-4o")

    provider: Name | None = None
    model: Name | None = None
    default_provider: Name | None = None
    default_model: Name | None = None

    def values(self) -> dict[str, str | None]:
        """Return the rows that are given."""
        found: dict[str, str | None] = {}
        for row, names in (
            (store.DEFAULT_PROVIDER, ("provider", "default_provider")),
            (store.DEFAULT_MODEL, ("model", "default_model")),
        ):
            given = [getattr(self, name) for name in names if name in self.model_fields_set]
            if given:
                found[row] = given[0]
        return found


class DefaultProvider(Given):
    """The default provider."""

    model_config = example(provider="openai")

    provider: Name


class DefaultModel(Given):
    """The default model."""

    model_config = example(model="gpt-4o")

    model: Name


class Defaults(Shown):
    """The default provider and model, null when none is set."""

    default_provider: str | None
    default_model: str | None


class DefaultProviderShown(Shown):
    """The default provider."""

    default_provider: str


class DefaultModelShown(Shown):
    """The default model."""

    default_model: str


class SandboxSettings(Given):
    """How code is run."""

    model_config = {**example(defaultMemoryMB=512, defaultNetwork="none"), "strict": True}

    enabled: bool = True
    base_path: str = "/workspaces"
    default_memory_mb: int = Field(default=512, ge=64, le=16_384, alias="defaultMemoryMB")
    default_cpu_cores: float = Field(default=0.5, gt=0, le=4)
    default_timeout_ms: int = Field(default=30_000, ge=100, le=300_000)
    default_network: Literal["none", "restricted", "egress", "full"] = "none"
    max_workspaces_per_user: int = Field(default=5, ge=1, le=100)
    max_storage_per_user_gb: float = Field(default=2, gt=0, le=100, alias="maxStoragePerUserGB")
    allowed_images: list[str] = ["python:3.11-slim", "node:20-slim", "alpine:latest"]
    python_image: str = "python:3.11-slim"
    node_image: str = "node:20-slim"
    shell_image: str = "alpine:latest"


class SandboxStatus(Shown):
    """Whether code can be run now, and if not, why."""

    enabled: bool
    ready: bool
    message: str


class SandboxShown(Shown):
    """The settings, and whether containers can be started."""

    settings: SandboxSettings
    docker_available: bool
    status: SandboxStatus


class SandboxChanged(Shown):
    """The names that were given, and all settings after the change."""

    updated: list[str]
    settings: SandboxSettings


class NewValue(Given):
    """Any JSON value."""

    model_config = example(value={"theme": "dark"})

    value: Any


class ValueShown(Shown):
    """A value by its key."""

    key: str
    value: Any


class ValueDeleted(Shown):
    """The value was deleted."""

    key: str
    deleted: bool = True


async def _audit(owner: Person, key: str, action: str) -> None:
    resource = Subject("setting", key)
    await record_event(owner.id, "config.change", resource, details={"action": action}, correlation_id=owner.request_id)


def _text(rows: dict[str, store.Setting], key: str) -> str | None:
    value = rows[key].value if key in rows else None
    return value if isinstance(value, str) else None


@routes.get("")
async def get_settings(owner: Owner) -> Overview:
    """Which providers have keys, and the defaults."""
    rows = await store.all_of(owner.id)
    configured = [
        key.removeprefix(store.API_KEY) for key, row in rows.items() if key.startswith(store.API_KEY) and row.sealed
    ]
    saved = _text(rows, store.DEFAULT_PROVIDER)
    return Overview(
        configured_providers=configured,
        local_providers=[],
        demo_mode=not configured,
        default_provider=saved if saved in configured else next(iter(configured), None),
        default_model=_text(rows, store.DEFAULT_MODEL),
        available_providers=[],
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


@routes.get("/api-key/{provider}")
async def get_api_key(provider: str, owner: Owner) -> Configured:
    """Whether a provider has a key."""
    return Configured(provider=provider, configured=await store.has_key(owner.id, provider))


@routes.post("/api-key/{provider}")
async def set_api_key(provider: Annotated[str, Path(max_length=200)], body: ApiKey, owner: Owner) -> Configured:
    """Store the key of a provider, sealed."""
    return await add_api_key(ProviderKey(provider=provider, api_key=body.api_key), owner)


@routes.delete("/api-key/{provider}")
async def delete_api_key(provider: str, owner: Owner) -> Configured:
    """Delete the key of a provider."""
    if await store.remove(owner.id, store.API_KEY + provider):
        await _audit(owner, store.API_KEY + provider, "delete")
    return Configured(provider=provider, configured=False)


@routes.post("/api-keys")
async def add_api_key(body: ProviderKey, owner: Owner) -> Configured:
    """Store the key of a provider, sealed."""
    await store.seal_key(owner.id, body.provider, body.api_key)
    await _audit(owner, store.API_KEY + body.provider, "set")
    return Configured(provider=body.provider, configured=True)


@routes.delete("/api-keys/{provider}")
async def remove_api_key(provider: str, owner: Owner) -> Configured:
    """Delete the key of a provider."""
    return await delete_api_key(provider, owner)


@routes.get("/defaults")
async def get_defaults(owner: Owner) -> Defaults:
    """The default provider and model."""
    rows = await store.all_of(owner.id)
    return Defaults(
        default_provider=_text(rows, store.DEFAULT_PROVIDER), default_model=_text(rows, store.DEFAULT_MODEL)
    )


@routes.post("/defaults")
async def set_defaults(body: NewDefaults, owner: Owner) -> Defaults:
    """Set the default provider, the default model, or both."""
    for key, value in body.values().items():
        await _set_default(owner, key, value)
    return await get_defaults(owner)


@routes.post("/default-provider")
async def set_default_provider(body: DefaultProvider, owner: Owner) -> DefaultProviderShown:
    """Set the default provider."""
    await _set_default(owner, store.DEFAULT_PROVIDER, body.provider)
    return DefaultProviderShown(default_provider=body.provider)


@routes.post("/default-model")
async def set_default_model(body: DefaultModel, owner: Owner) -> DefaultModelShown:
    """Set the default model."""
    await _set_default(owner, store.DEFAULT_MODEL, body.model)
    return DefaultModelShown(default_model=body.model)


async def _set_default(owner: Person, key: str, value: str | None) -> None:
    if value is None:
        await store.remove(owner.id, key)
    else:
        await store.write(owner.id, key, value)
    await _audit(owner, key, "set" if value else "delete")


@routes.get("/sandbox")
async def get_sandbox_settings(owner: Owner) -> SandboxShown:
    """How code is run, and whether it can be."""
    stored, passed = await asyncio.gather(store.read(owner.id, SANDBOX), checks.results())
    found = SandboxSettings.model_validate(stored or {})
    ready = found.enabled and passed["docker"]
    message = "Ready" if ready else "Containers cannot be started" if found.enabled else "The sandbox is switched off"
    status = SandboxStatus(enabled=found.enabled, ready=ready, message=message)
    return SandboxShown(settings=found, docker_available=passed["docker"], status=status)


@routes.post("/sandbox")
async def set_sandbox_settings(
    body: Annotated[dict[str, Any], Body(examples=[{"defaultMemoryMB": 512}])], owner: Owner
) -> SandboxChanged:
    """Change the given settings of the sandbox."""
    try:
        given = SandboxSettings.model_validate(body)
    except ValidationError as error:
        refusal = invalid_request([{**each, "loc": ("body", *each["loc"])} for each in error.errors()])
        raise BadRequest(refusal.message, code="INVALID_VALUE", details=refusal.details) from error
    changed = given.model_dump(exclude_unset=True, by_alias=True)
    after = SandboxSettings()

    def merge(setting: store.Setting) -> None:
        nonlocal after
        setting.value = {**(setting.value or {}), **changed}
        after = SandboxSettings.model_validate(setting.value)

    await store.change(owner.id, SANDBOX, merge)
    await _audit(owner, "sandbox", f"set {', '.join(changed)}")
    return SandboxChanged(updated=[*changed], settings=after)


def _open(key: str) -> str:
    """Return the key. `Forbidden` for one that holds secrets or the app's own rows."""
    if store.is_reserved(key):
        raise Forbidden("Settings with this name cannot be read or written here")
    return key


@routes.get("/{key}")
async def get_setting(key: str, owner: Owner) -> ValueShown:
    """A value by its key."""
    found = await store.stored_settings.of(owner.id).find("key", _open(key))
    return ValueShown(key=key, value=found.value)


@routes.post("/{key}")
async def set_setting(key: Annotated[str, Path(max_length=200)], body: NewValue, owner: Owner) -> ValueShown:
    """Set the value of a key."""
    await store.write(owner.id, _open(key), body.value)
    await _audit(owner, key, "set")
    return ValueShown(key=key, value=body.value)


@routes.delete("/{key}")
async def delete_setting(key: str, owner: Owner) -> ValueDeleted:
    """Delete a value."""
    if not await store.remove(owner.id, _open(key)):
        raise NotFound("Setting not found")
    await _audit(owner, key, "delete")
    return ValueDeleted(key=key)
