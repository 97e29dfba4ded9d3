"""Media settings: which provider and model make and read images, speak, listen and tell the weather."""

from typing import Any

from functions.ownpilot.core.entry import Config, Given, Shown
from functions.ownpilot.core.media import (
    KINDS,
    Media,
    MediaCapability,
    MediaChoice,
    MediaProvider,
    media_choices,
    media_of,
)
from functions.ownpilot.core.owner import Owner, routes_for
from shared import tables
from shared.http.bodies import example
from shared.http.errors import BadRequest

routes = routes_for("media-settings")


class MediaModelShown(Shown):
    """A model; `default`: it is used when none is named."""

    id: str
    name: str
    default: bool


class MediaProviderShown(Shown):
    """A provider. `apiKeyName` is the setting, and `apiKeyEnv` what the provider calls the key that it needs."""

    provider: str
    display_name: str
    models: list[MediaModelShown] | None = None
    api_key_env: str
    requires_api_key: bool
    is_configured: bool
    api_key_name: str


class MediaSetting(Shown):
    """A capability, who serves it now (null when nobody does), and who could."""

    capability: MediaCapability
    name: str
    description: str
    current_provider: str | None
    current_model: str | None
    available_providers: list[MediaProviderShown]


class MediaSettingWhole(MediaSetting):
    """A capability with the options that were stored with its choice."""

    config: dict[str, Any]


class NewChoice(Given):
    """A provider, one of its models (by default its first), and options of its own."""

    model_config = example(provider="openai", model="dall-e-3")

    provider: str
    model: str | None = None
    config: Config | None = None


class Chosen(Shown):
    """What was chosen."""

    capability: MediaCapability
    provider: str
    model: str | None


class ChoiceRemoved(Shown):
    """The choice was removed."""

    capability: MediaCapability
    message: str


def _setting(capability: MediaCapability, media: Media) -> MediaSettingWhole:
    kind, choice = KINDS[capability], media.choice(capability)
    return MediaSettingWhole(
        capability=capability, name=kind.name, description=kind.description,
        current_provider=choice.provider if choice else None, current_model=choice.model if choice else None,
        available_providers=[_provider_shown(each, media) for each in kind.providers],
        config=choice.config if choice else {},
    )  # fmt: skip


def _provider_shown(provider: MediaProvider, media: Media) -> MediaProviderShown:
    models = [
        MediaModelShown(id=each.id, name=each.name, default=each.id == provider.default_model)
        for each in provider.models
    ]
    return MediaProviderShown(
        provider=provider.id, display_name=provider.name, models=models or None, api_key_env=provider.key_variable,
        requires_api_key=True, is_configured=provider.id in media.configured, api_key_name=f"{provider.id}_api_key",
    )  # fmt: skip


@routes.get("", response_model=list[MediaSetting])
async def list_media_settings(owner: Owner) -> list[MediaSettingWhole]:
    """All capabilities."""
    media = await media_of(owner.id)
    return [_setting(capability, media) for capability in KINDS]


@routes.get("/{capability}")
async def get_media_setting(capability: MediaCapability, owner: Owner) -> MediaSettingWhole:
    """One capability."""
    return _setting(capability, await media_of(owner.id))


@routes.post("/{capability}")
async def choose_media_provider(capability: MediaCapability, body: NewChoice, owner: Owner) -> Chosen:
    """Choose who serves a capability: a provider that it has, that is configured, and one of its models."""
    kind, media = KINDS[capability], await media_of(owner.id)
    provider = kind.provider(body.provider)
    if provider is None:
        names = [each.id for each in kind.providers]
        raise BadRequest(
            f"provider: must be one of {', '.join(names)}", code="INVALID_REQUEST", details={"validProviders": names}
        )
    if provider.id not in media.configured:
        hint = f"Set the API key of {provider.name} first: POST /api/v1/settings/api-keys"
        raise BadRequest(f"{provider.name} is not configured. {hint}", code="INVALID_REQUEST", details={"hint": hint})
    models, model = [each.id for each in provider.models], body.model or provider.default_model
    if model is not None and model not in models:
        raise BadRequest(
            f"model: {provider.name} has none of this name", code="INVALID_REQUEST", details={"validModels": models}
        )

    def choose(choice: MediaChoice) -> None:
        if body.config is not None:
            choice.config = body.config
        elif choice.provider != provider.id:  # its options are not those of this one
            choice.config = {}
        choice.provider, choice.model = provider.id, model

    def make() -> MediaChoice:
        return MediaChoice(user_id=owner.id, capability=capability, provider=provider.id)

    await media_choices.of(owner.id).put("capability", capability, choose, make)
    return Chosen(capability=capability, provider=provider.id, model=model)


@routes.delete("/{capability}")
async def reset_media_setting(capability: MediaCapability, owner: Owner) -> ChoiceRemoved:
    """Remove the choice of a capability: the first provider that is configured serves it then."""
    own = media_choices.of(owner.id)
    try:
        await own.delete((await own.find("capability", capability)).id)
    except tables.RecordNotFound:  # it has no choice, or another request removes it
        pass
    return ChoiceRemoved(capability=capability, message=f"{KINDS[capability].name} is back at its default")
