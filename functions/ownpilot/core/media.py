"""Who makes and reads images, speaks, listens and tells the weather: what there is, and what a person has chosen."""

import asyncio
from typing import Any, Literal, NamedTuple

from functions.ownpilot.core import settings_store
from functions.ownpilot.core.config_store import entries_of
from functions.ownpilot.core.entry import Entry
from shared.tables import Collection

MediaCapability = Literal["image_generation", "vision", "tts", "stt", "weather"]


class MediaModel(NamedTuple):
    """One model of a provider."""

    id: str
    name: str


class MediaProvider(NamedTuple):
    """A provider of one capability; the first of its models is its default. A provider may have no models to choose.

    `key_variable` is what its documentation calls the key.
    """

    id: str
    name: str
    key_variable: str
    models: tuple[MediaModel, ...] = ()

    @property
    def key_names(self) -> set[str]:
        """The settings that configure it when they have a value."""
        return {f"{self.id}_api_key", f"{settings_store.API_KEY}{self.id}"}

    @property
    def default_model(self) -> str | None:
        """The id of its default model."""
        return self.models[0].id if self.models else None


class MediaKind(NamedTuple):
    """A capability: its name, what it is, and its providers, the preferred one first."""

    name: str
    description: str
    providers: tuple[MediaProvider, ...]

    def provider(self, id_: str | None) -> MediaProvider | None:
        """Return one of its providers, None when it has no such one."""
        return next((each for each in self.providers if each.id == id_), None)


def _openai(*models: tuple[str, str]) -> MediaProvider:
    return MediaProvider("openai", "OpenAI", "OPENAI_API_KEY", tuple(MediaModel(*each) for each in models))


_FLUX = tuple(
    MediaModel(f"accounts/fireworks/models/{id_}", name)
    for id_, name in {
        "flux-1-schnell-fp8": "FLUX.1 schnell", "flux-1-dev-fp8": "FLUX.1 dev", "flux-kontext-pro": "FLUX Kontext",
    }.items()
)  # fmt: skip

KINDS: dict[MediaCapability, MediaKind] = {
    "image_generation": MediaKind("Image generation", "Makes images from a description", (
        _openai(("dall-e-3", "DALL-E 3"), ("dall-e-2", "DALL-E 2")),
        MediaProvider("fireworks", "Fireworks AI", "FIREWORKS_API_KEY", _FLUX),
        MediaProvider("replicate", "Replicate", "REPLICATE_API_TOKEN", (
            MediaModel("black-forest-labs/flux-schnell", "FLUX.1 schnell"),
            MediaModel("stability-ai/stable-diffusion-3.5-large", "Stable Diffusion 3.5 Large"),
        )),
    )),
    "vision": MediaKind("Vision", "Says what is in an image, and reads text in it", (
        _openai(("gpt-4o", "GPT-4o"), ("gpt-4o-mini", "GPT-4o mini")),
        MediaProvider("anthropic", "Anthropic", "ANTHROPIC_API_KEY", (
            MediaModel("claude-sonnet-4-5", "Claude Sonnet 4.5"), MediaModel("claude-haiku-4-5", "Claude Haiku 4.5"),
        )),
        MediaProvider("google", "Google", "GOOGLE_API_KEY", (
            MediaModel("gemini-2.5-flash", "Gemini 2.5 Flash"), MediaModel("gemini-2.5-pro", "Gemini 2.5 Pro"),
        )),
    )),
    "tts": MediaKind("Text to speech", "Reads a text aloud", (
        _openai(("tts-1", "TTS-1"), ("tts-1-hd", "TTS-1 HD")),
        MediaProvider("elevenlabs", "ElevenLabs", "ELEVENLABS_API_KEY", (
            MediaModel("eleven_multilingual_v2", "Multilingual v2"), MediaModel("eleven_turbo_v2_5", "Turbo v2.5"),
        )),
    )),
    "stt": MediaKind("Speech to text", "Writes down what is said", (
        _openai(("whisper-1", "Whisper")),
        MediaProvider("groq", "Groq", "GROQ_API_KEY", (
            MediaModel("whisper-large-v3-turbo", "Whisper Large v3 Turbo"),
            MediaModel("whisper-large-v3", "Whisper Large v3"),
        )),
        MediaProvider("deepgram", "Deepgram", "DEEPGRAM_API_KEY", (
            MediaModel("nova-3", "Nova-3"), MediaModel("nova-2", "Nova-2"),
        )),
    )),
    "weather": MediaKind("Weather", "Tells the weather now and in the next days", (
        MediaProvider("openweathermap", "OpenWeatherMap", "OPENWEATHERMAP_API_KEY"),
        MediaProvider("weatherapi", "WeatherAPI", "WEATHERAPI_API_KEY"),
    )),
}  # fmt: skip


class MediaChoice(Entry):
    """What a person has chosen for a capability."""

    capability: MediaCapability
    provider: str
    model: str | None = None
    config: dict[str, Any] = {}


media_choices = Collection("OwnpilotMedia", MediaChoice, plain=True, unique=["capability"])


class Media(NamedTuple):
    """What a person has chosen, by capability, and the ids of the providers that the person has configured."""

    choices: dict[MediaCapability, MediaChoice]
    configured: frozenset[str]

    def choice(self, capability: MediaCapability) -> MediaChoice | None:
        """Return what serves a capability: the choice, else the first configured provider, None when there is none."""
        if chosen := self.choices.get(capability):
            return chosen
        providers = KINDS[capability].providers
        default = next((each for each in providers if each.id in self.configured), None)
        if default is None:
            return None
        return MediaChoice(capability=capability, provider=default.id, model=default.default_model)


async def media_of(owner: str) -> Media:
    """Return all that a person has chosen and configured. 3 queries at once.

    A provider is configured by its API key, by a setting such as `openai_api_key`, or by an active entry of the config
    service of its name.
    """
    chosen, rows, entries = await asyncio.gather(_choices(owner), settings_store.all_of(owner), entries_of(owner))
    keys = {key for key, row in rows.items() if row.sealed or (isinstance(row.value, str) and row.value.strip())}
    services = {entry.service_name for entry in entries if entry.is_active and entry.has_values}
    configured = {
        each.id for kind in KINDS.values() for each in kind.providers if each.key_names & keys or each.id in services
    }
    return Media({choice.capability: choice for choice in chosen}, frozenset(configured))


async def _choices(owner: str) -> list[MediaChoice]:
    return [choice async for choice in media_choices.of(owner).all()]
