"""Settings: keys of providers, defaults, the sandbox, values by key."""

import asyncio
from typing import Any
from urllib.parse import quote

import pytest

from functions.ownpilot.core import settings_store
from functions.ownpilot.core.owner import Person
from functions.ownpilot.settings.api_keys import ProviderKey, add_api_key
from functions.ownpilot.settings.values import NewValue, set_setting
from shared import sealing
from shared.http.errors import BadRequest
from tests.support.ownpilot import OwnPilot, refused

KEY = "sk-not-a-real-key-0123456789"


class TestKeys:
    @pytest.mark.parametrize("path", ["/settings/api-key/openai", "/settings/api-keys"])
    async def test_both_spellings_write_one_row_and_never_show_it(self, me: OwnPilot, path: str):
        shown = {"provider": "openai", "configured": True}
        assert await me.post(path, provider="openai", apiKey=KEY) == shown
        assert await me.get("/settings/api-key/openai") == shown
        overview = await me.send("GET", "/settings")
        assert overview.json()["data"]["configuredProviders"] == ["openai"]
        assert overview.json()["data"]["demoMode"] is False
        audit = await me.send("GET", "/audit")
        assert KEY not in overview.text + audit.text
        other = {"/settings/api-keys": "/settings/api-key/openai"}.get(path, "/settings/api-keys/openai")
        assert (await me.data("DELETE", other))["configured"] is False
        assert (await me.get("/settings"))["demoMode"] is True
        assert (await me.data("DELETE", other))["configured"] is False

    async def test_an_api_key_is_needed(self, me: OwnPilot):
        for members in ({}, {"apiKey": ""}, {"apiKey": " \n"}, {"apiKey": None}, {"apiKey": 7}):
            refused(await me.send("POST", "/settings/api-key/openai", json=members), 400, "INVALID_REQUEST")
        refused(await me.send("POST", "/settings/api-keys", json={"apiKey": KEY}), 400, "INVALID_REQUEST")
        for blank in ("%20", "%1C", "x" * 201):
            answer = await me.send("POST", f"/settings/api-key/{blank}", json={"apiKey": KEY})
            refused(answer, 400, "INVALID_REQUEST")

    @pytest.mark.usefixtures("app")
    async def test_it_is_sealed_where_it_is_stored_and_opens_for_the_app(self, me: OwnPilot):
        await me.post("/settings/api-keys", provider="openai", apiKey=KEY)
        rows = settings_store.stored_settings.of(me.user)
        stored = await rows.find("key", "api_key:openai")
        assert KEY not in stored.model_dump_json() and stored.value is None
        assert await settings_store.api_key_of(me.user, "openai") == KEY
        await rows.update(stored.id, lambda row: setattr(row, "sealed", f"old{row.sealed}"))
        assert (await sealing.reseal(rows)).broken == 1
        with pytest.raises(sealing.SealBroken):
            await settings_store.api_key_of(me.user, "openai")

    @pytest.mark.usefixtures("app")
    async def test_white_space_around_it_is_not_part_of_it(self, me: OwnPilot):
        await me.post("/settings/api-key/openai", apiKey=f" {KEY}\r\n")
        assert await settings_store.api_key_of(me.user, "openai") == KEY

    async def test_two_writers_at_once_leave_one_row(self, me: OwnPilot):
        await asyncio.gather(*(me.post("/settings/api-keys", provider="a", apiKey=f"k{n}") for n in range(6)))
        assert (await me.get("/settings"))["configuredProviders"] == ["a"]


class TestDefaults:
    async def test_a_provider_without_a_key_is_not_the_default(self, me: OwnPilot):
        assert (await me.post("/settings/default-provider", provider="anthropic")) == {"defaultProvider": "anthropic"}
        assert (await me.get("/settings"))["defaultProvider"] is None
        await me.post("/settings/api-keys", provider="openai", apiKey=KEY)
        assert (await me.get("/settings"))["defaultProvider"] == "openai"
        await me.post("/settings/api-keys", provider="anthropic", apiKey=KEY)
        assert (await me.get("/settings"))["defaultProvider"] == "anthropic"

    async def test_all_spellings_write_one_row(self, me: OwnPilot):
        await me.post("/settings/default-model", model="a")
        assert await me.post("/settings/defaults", defaultProvider="p", model="b") == {
            "defaultProvider": "p", "defaultModel": "b",
        }  # fmt: skip
        assert await me.data("POST", "/settings/defaults") == {"defaultProvider": "p", "defaultModel": "b"}
        assert await me.post("/settings/defaults", provider=None) == {"defaultProvider": None, "defaultModel": "b"}
        assert await me.get("/settings/default_model") == {"key": "default_model", "value": "b"}
        refused(await me.send("POST", "/settings/default-model", json={"model": " "}), 400, "INVALID_REQUEST")


class TestOverview:
    async def test_it_names_all_providers_and_the_models_that_are_used_by_default(self, me: OwnPilot):
        empty = await me.get("/settings")
        assert {"openai", "anthropic", "google", "groq", "openrouter"} <= set(empty["availableProviders"])
        assert (empty["configuredProviders"], empty["localProviders"], empty["demoMode"]) == ([], [], True)
        assert (empty["defaultProvider"], empty["defaultModel"]) == (None, None)
        await me.post("/settings/api-keys", provider="anthropic", apiKey=KEY)
        await me.post("/settings/api-keys", provider="openai", apiKey=KEY)
        [recommended] = [each["id"] for each in (await me.get("/models/anthropic"))["models"] if each["recommended"]]
        found = await me.get("/settings")
        assert (found["defaultProvider"], found["defaultModel"]) == ("anthropic", recommended), "of the oldest key"
        await me.post("/settings/defaults", provider="openai", model="gpt-4o")
        found = await me.get("/settings")
        assert (found["defaultProvider"], found["defaultModel"]) == ("openai", "gpt-4o")
        await me.data("PATCH", "/providers/openai/toggle", json={"enabled": False})
        found = await me.get("/settings")
        assert (found["defaultProvider"], found["defaultModel"]) == ("anthropic", recommended)

    async def test_local_providers_count_as_configured_while_they_are_enabled(self, me: OwnPilot):
        mine = await me.post("/local-providers", name="Mine", providerType="ollama", baseUrl="http://localhost:11434")
        await me.post(f"/local-providers/{mine['id']}/models", modelId="llama")
        found = await me.get("/settings")
        assert found["localProviders"] == [{"id": mine["id"], "name": "Mine", "type": "local"}]
        assert (found["configuredProviders"], found["demoMode"]) == ([mine["id"]], False)
        assert (found["defaultProvider"], found["defaultModel"]) == (mine["id"], "llama")
        assert mine["id"] in found["availableProviders"]
        await me.post("/settings/api-keys", provider="openai", apiKey=KEY)
        assert (await me.get("/settings"))["defaultProvider"] == "openai"
        await me.data("PATCH", f"/local-providers/{mine['id']}/set-default")
        assert (await me.get("/settings"))["defaultProvider"] == mine["id"]
        await me.data("PATCH", f"/local-providers/{mine['id']}/toggle", json={"enabled": False})
        found = await me.get("/settings")
        assert (found["localProviders"], found["configuredProviders"]) == ([], ["openai"])


class TestValues:
    @pytest.mark.parametrize("value", [{"a": [1, None]}, "text", 0, False, None, [], "x" * 70_000])
    async def test_any_value_comes_back(self, me: OwnPilot, value: Any):
        assert await me.post("/settings/theme", value=value) == {"key": "theme", "value": value}
        assert await me.get("/settings/theme") == {"key": "theme", "value": value}
        assert await me.data("DELETE", "/settings/theme") == {"key": "theme", "deleted": True}
        for method in ("GET", "DELETE"):
            refused(await me.send(method, "/settings/theme"), 404, "NOT_FOUND")

    @pytest.mark.parametrize(
        "key",
        ["api_key:openai", "API_KEY:openai", "%61pi_key:openai", " api_key:openai", "ａpi_key:openai", "gateway_key",
         "oauth_state:x", "google_oauth_client_secret", "Google_OAuth_Client_Secret", "internal:debug",
         "%2561pi_key:openai", "api%5fkey%3aopenai"],
    )  # fmt: skip
    async def test_what_holds_secrets_is_out_of_reach(self, me: OwnPilot, key: str):
        await me.post("/settings/api-keys", provider="openai", apiKey=KEY)
        for method in ("GET", "POST", "DELETE"):
            answer = await me.send(method, f"/settings/{quote(key, safe='')}", json={"value": 1})
            refused(answer, 403, "FORBIDDEN")
        assert (await me.get("/settings"))["configuredProviders"] == ["openai"]

    async def test_a_value_is_needed(self, me: OwnPilot):
        refused(await me.send("POST", "/settings/theme", json={}), 400, "INVALID_REQUEST")

    async def test_a_key_has_at_most_200_characters(self, me: OwnPilot):
        for method in ("GET", "POST", "DELETE"):
            refused(await me.send(method, f"/settings/{'x' * 201}", json={"value": 1}), 400, "INVALID_REQUEST")

    async def test_a_value_has_a_length_and_a_person_so_many_settings(
        self, me: OwnPilot, app: None, monkeypatch: pytest.MonkeyPatch
    ):
        await me.post("/settings/theme", value="x" * 99_998)
        refused(await me.send("POST", "/settings/theme", json={"value": "x" * 99_999}), 400, "INVALID_REQUEST")
        monkeypatch.setattr(settings_store, "MOST_SETTINGS", 1)
        person = Person(me.user)
        with pytest.raises(BadRequest) as refusal:
            await set_setting("color", NewValue(value=1), person)
        assert refusal.value.code == "LIMIT_REACHED"
        with pytest.raises(BadRequest):
            await add_api_key(ProviderKey(provider="openai", api_key=KEY), person)
        assert (await set_setting("theme", NewValue(value=1), person)).value == 1

    async def test_a_key_may_hold_a_slash(self, me: OwnPilot):
        await me.post("/settings/org%2Fmodel", value=1)
        assert (await me.get("/settings/org%2Fmodel"))["key"] == "org/model"


class TestSandbox:
    async def test_given_members_change_and_the_rest_stays(self, me: OwnPilot):
        changed = await me.post("/settings/sandbox", defaultMemoryMB=1024, unknown=1)
        assert (changed["updated"], changed["settings"]["defaultMemoryMB"]) == (["defaultMemoryMB"], 1024)
        changed = await me.post("/settings/sandbox", enabled=False)
        assert changed["settings"]["defaultMemoryMB"] == 1024
        shown = await me.get("/settings/sandbox")
        assert shown["settings"] == changed["settings"]
        assert shown["status"] == {"enabled": False, "ready": False, "message": "The sandbox is switched off"}

    @pytest.mark.parametrize(
        "members",
        [{"defaultMemoryMB": "512"}, {"defaultMemoryMB": 1}, {"enabled": "yes"}, {"defaultNetwork": "wild"},
         {"allowedImages": "one"}, {"pythonImage": None}, {"allowedImages": ["x"] * 101}, {"basePath": "x" * 201}],
    )  # fmt: skip
    async def test_a_value_of_another_type_is_refused(self, me: OwnPilot, members: dict[str, Any]):
        answer = await me.send("POST", "/settings/sandbox", json=members)
        assert next(iter(members)) in refused(answer, 400, "INVALID_VALUE")

    async def test_where_the_data_is_told_without_a_secret(self, me: OwnPilot):
        answer = await me.send("GET", "/settings/data-info")
        assert answer.json()["data"]["database"] == "azure-tables"
        assert "AccountKey" not in answer.text
