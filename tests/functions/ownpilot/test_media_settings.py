"""Who makes and reads images, speaks, listens and tells the weather."""

from typing import Any

import pytest

from functions.ownpilot.core.media import KINDS
from tests.support.ownpilot import OwnPilot, refused


async def available(me: OwnPilot, capability: str) -> dict[str, Any]:
    """The providers of a capability by id."""
    found = await me.get(f"/media-settings/{capability}")
    return {each["provider"]: each for each in found["availableProviders"]}


async def test_all_five_capabilities_are_listed_with_their_providers(me: OwnPilot):
    listed = await me.get("/media-settings")
    assert [each["capability"] for each in listed] == ["image_generation", "vision", "tts", "stt", "weather"]
    assert {each["capability"]: [it["provider"] for it in each["availableProviders"]] for each in listed} == {
        "image_generation": ["openai", "fireworks", "replicate"], "vision": ["openai", "anthropic", "google"],
        "tts": ["openai", "elevenlabs"], "stt": ["openai", "groq", "deepgram"],
        "weather": ["openweathermap", "weatherapi"],
    }  # fmt: skip
    assert all((each["currentProvider"], each["currentModel"]) == (None, None) for each in listed)


async def test_one_shows_the_models_of_its_providers_and_which_is_the_default(me: OwnPilot):
    openai = (await available(me, "tts"))["openai"]
    assert openai == {
        "provider": "openai", "displayName": "OpenAI", "apiKeyEnv": "OPENAI_API_KEY", "requiresApiKey": True,
        "isConfigured": False, "apiKeyName": "openai_api_key",
        "models": [
            {"id": "tts-1", "name": "TTS-1", "default": True}, {"id": "tts-1-hd", "name": "TTS-1 HD", "default": False},
        ],
    }  # fmt: skip
    assert (await available(me, "weather"))["weatherapi"]["models"] is None
    assert (await me.get("/media-settings/tts"))["config"] == {}


@pytest.mark.parametrize(
    ("path", "body", "configured"),
    [("/settings/api-keys", {"provider": "groq", "apiKey": "gsk"}, "groq"),
     ("/settings/groq_api_key", {"value": "gsk"}, "groq"),
     ("/settings/groq_api_key", {"value": " "}, None),
     ("/config-services/deepgram/entries", {"data": {"api_key": "k"}}, "deepgram"),
     ("/config-services/deepgram/entries", {"data": {"api_key": "k"}, "isActive": False}, None)],
)  # fmt: skip
async def test_a_provider_is_configured_by_a_key_a_setting_or_a_config_service(
    me: OwnPilot, path: str, body: dict[str, Any], configured: str | None
):
    await me.post(path, **body)
    found = await available(me, "stt")
    assert [id_ for id_, each in found.items() if each["isConfigured"]] == ([configured] if configured else [])
    assert (await me.get("/media-settings/stt"))["currentProvider"] == configured


async def test_a_choice_is_kept_until_it_is_removed(me: OwnPilot):
    for provider in ("openai", "groq"):
        await me.post("/settings/api-keys", provider=provider, apiKey="k")
    assert (await me.get("/media-settings/stt"))["currentProvider"] == "openai"
    chosen = await me.post("/media-settings/stt", provider="groq", config={"language": "en"})
    assert chosen == {"capability": "stt", "provider": "groq", "model": "whisper-large-v3-turbo"}
    await me.post("/media-settings/stt", provider="groq", model="whisper-large-v3")
    found = await me.get("/media-settings/stt")
    assert (found["currentProvider"], found["currentModel"]) == ("groq", "whisper-large-v3")
    assert found["config"] == {"language": "en"}
    await me.post("/media-settings/stt", provider="openai")
    assert (await me.get("/media-settings/stt"))["config"] == {}, "these were options of the other provider"
    for _ in range(2):
        removed = await me.data("DELETE", "/media-settings/stt")
        assert removed["capability"] == "stt" and removed["message"]
    assert (await me.get("/media-settings/stt"))["currentModel"] == "whisper-1"


async def test_a_choice_must_exist_and_be_configured(me: OwnPilot):
    async def refusal(capability: str, **body: Any) -> Any:
        answer = await me.send("POST", f"/media-settings/{capability}", json=body)
        refused(answer, 400, "INVALID_REQUEST")
        return answer.json()["error"].get("details")

    assert await refusal("tts", provider="groq") == {"validProviders": ["openai", "elevenlabs"]}
    assert "API key of OpenAI" in (await refusal("tts", provider="openai"))["hint"]
    await me.post("/settings/api-keys", provider="openai", apiKey="k")
    assert await refusal("tts", provider="openai", model="dall-e-3") == {"validModels": ["tts-1", "tts-1-hd"]}
    await refusal("tts", provider="openai", config={"a": "x" * 10_000})
    await refusal("tts")
    await refusal("tts", provider=7)


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_an_unknown_capability_is_refused(me: OwnPilot, method: str):
    body = {"json": {"provider": "openai"}} if method == "POST" else {}
    refused(await me.send(method, "/media-settings/smell", **body), 400, "INVALID_REQUEST")


def test_no_provider_stands_twice_in_a_capability():
    for kind in KINDS.values():
        ids = [each.id for each in kind.providers]
        assert len(ids) == len(set(ids))
