"""The provider and the model that a person wants to be used when none is named."""

from functions.ownpilot.core import settings_store as store
from functions.ownpilot.core.audit_log import record_change
from functions.ownpilot.core.entry import Given, NotBlank, Shown
from functions.ownpilot.core.owner import Owner, Person, routes_for
from shared.http.bodies import example

routes = routes_for("settings")


class NewDefaults(Given):
    """The default provider and model, also as `defaultProvider` and `defaultModel`; null removes one."""

    model_config = example(provider="openai", model="gpt-4o")

    provider: NotBlank | None = None
    model: NotBlank | None = None
    default_provider: NotBlank | None = None
    default_model: NotBlank | None = None

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

    provider: NotBlank


class DefaultModel(Given):
    """The default model."""

    model_config = example(model="gpt-4o")

    model: NotBlank


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


@routes.get("/defaults")
async def get_defaults(owner: Owner) -> Defaults:
    """The default provider and model."""
    rows = await store.all_of(owner.id)
    return Defaults(
        default_provider=store.text(rows, store.DEFAULT_PROVIDER), default_model=store.text(rows, store.DEFAULT_MODEL)
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
    await record_change(owner, "setting", key, "set" if value else "delete")
