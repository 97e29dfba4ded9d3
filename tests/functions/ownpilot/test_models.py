"""Models that a person can call, the catalogue of all, and how a model is reached."""

import pytest

from functions.ownpilot.core import settings_store
from functions.ownpilot.core.catalogue import resolve
from functions.ownpilot.core.catalogue.resolve import Target
from shared.http.errors import ApiError
from tests.support.ownpilot import OwnPilot, refused

KEY = "sk-not-a-real-key-0123456789"
ROW = {"id", "name", "provider", "contextWindow", "inputPrice", "outputPrice", "capabilities", "recommended"}


async def configured(me: OwnPilot, *providers: str) -> None:
    for provider in providers:
        await me.post("/settings/api-keys", provider=provider, apiKey=KEY)


class TestList:
    async def test_without_a_key_there_are_none(self, me: OwnPilot):
        found = await me.get("/models")
        assert (found["models"], found["configuredProviders"], found["total"]) == ([], [], 0)
        assert {"openai", "anthropic"} <= set(found["availableProviders"])

    async def test_those_of_configured_and_of_local_providers(self, me: OwnPilot):
        await configured(me, "openai")
        local = await me.post("/local-providers", name="Mine", providerType="vllm", baseUrl="http://localhost:8000")
        await me.post(f"/local-providers/{local['id']}/models", modelId="org/model:7b")
        found = await me.get("/models")
        assert {each["provider"] for each in found["models"]} == {"openai", local["id"]}
        assert found["configuredProviders"] == [local["id"], "openai"], "by name"
        assert found["total"] == len(found["models"])
        assert all(ROW <= set(each) <= ROW | {"maxOutputTokens"} for each in found["models"])
        [recommended] = [each for each in found["models"] if each["recommended"] and each["provider"] == "openai"]
        assert recommended["contextWindow"] > 8192 and "chat" in recommended["capabilities"]

    async def test_what_is_switched_off_is_left_out_unless_all_are_asked_for(self, me: OwnPilot):
        await configured(me, "openai", "groq")
        every = (await me.get("/models"))["total"]
        await me.data("PATCH", "/model-configs/openai/gpt-4o/toggle", json={"enabled": False})
        found = await me.get("/models")
        assert found["total"] == every - 1 and "gpt-4o" not in [each["id"] for each in found["models"]]
        await me.data("PATCH", "/providers/groq/toggle", json={"enabled": False})
        found = await me.get("/models")
        assert "groq" in found["configuredProviders"] and "groq" not in {each["provider"] for each in found["models"]}
        assert (await me.get("/models", enabledOnly="false"))["total"] == every
        assert await me.get("/models", enabledOnly="") == found, "an empty filter is none"

    async def test_a_page_and_the_exact_total(self, me: OwnPilot):
        await configured(me, "openai")
        every = await me.get("/models")
        page = await me.get("/models", limit=3, offset=2)
        assert page["models"] == every["models"][2:5] and page["total"] == every["total"]
        assert (await me.get("/models", limit="x", offset=-1))["models"] == every["models"]

    async def test_a_key_that_is_deleted_takes_its_models_away_at_once(self, me: OwnPilot):
        await configured(me, "openai")
        assert (await me.get("/models"))["total"]
        await me.data("DELETE", "/settings/api-keys/openai")
        assert (await me.get("/models"))["total"] == 0


class TestCatalogue:
    async def test_it_asks_for_no_key(self, me: OwnPilot):
        found = await me.get("/models/catalog/all")
        assert sum(map(len, found.values())) > 2000
        assert all(set(each) >= ROW and each["provider"] == id_ for id_, rows in found.items() for each in rows)
        assert "fal" not in found, "an aggregator that is not enabled"

    async def test_one_provider(self, me: OwnPilot):
        found = await me.get("/models/anthropic")
        assert found == {
            **found, "provider": "anthropic", "providerName": "Anthropic", "isConfigured": False,
            "baseUrl": "https://api.anthropic.com/v1", "docsUrl": found["docsUrl"],
        }  # fmt: skip
        features = {"streaming", "toolUse", "vision", "jsonMode", "systemMessage"}
        assert set(found["features"]) == features and found["features"]["toolUse"] is True
        await configured(me, "anthropic")
        assert (await me.get("/models/anthropic"))["isConfigured"] is True
        refused(await me.send("GET", "/models/nobody"), 404, "UNKNOWN_PROVIDER")

    async def test_a_context_of_which_nothing_is_known_is_a_small_one(self, me: OwnPilot):
        await me.post("/model-configs", providerId="openai", modelId="mine")
        [mine] = [each for each in (await me.get("/models/openai"))["models"] if each["id"] == "mine"]
        assert mine == {
            "id": "mine", "name": "mine", "provider": "openai", "contextWindow": 8192, "inputPrice": 0,
            "outputPrice": 0, "capabilities": ["chat", "streaming"], "recommended": False,
        }  # fmt: skip


@pytest.mark.usefixtures("app")
class TestResolve:
    """The way to a model that the chat takes; there is no route for it."""

    async def reach(self, me: OwnPilot, *wanted: str) -> Target:
        settings_store.forget(me.user)  # as 5 seconds after the last request: this process is an instance of its own
        return await resolve.resolve(me.user, *wanted)

    async def code(self, me: OwnPilot, *wanted: str) -> tuple[int, str]:
        with pytest.raises(ApiError) as caught:
            await self.reach(me, *wanted)
        return caught.value.status, caught.value.code

    async def test_it_gives_wire_address_key_and_facts(self, me: OwnPilot):
        await configured(me, "openai", "anthropic", "google")
        found = await self.reach(me, "openai", "gpt-4o")
        assert (found.wire, found.base_url, found.api_key) == ("openai", "https://api.openai.com/v1", KEY)
        assert found.model.get("pricingInput") == 2.5 and KEY not in repr(found) and not found.is_local
        model = (await me.get("/models/anthropic"))["models"][0]["id"]
        assert (await self.reach(me, "anthropic", model)).wire == "anthropic"
        model = (await me.get("/models/google"))["models"][0]["id"]
        found = await self.reach(me, "google", model)
        assert (found.wire, found.base_url.endswith("/v1beta/openai")) == ("openai", True)

    async def test_another_address_and_type_take_effect(self, me: OwnPilot):
        await configured(me, "openai")
        changes = {"baseUrl": "https://proxy.example/v1/", "providerType": "anthropic"}
        await me.data("PUT", "/providers/openai/config", json=changes)
        found = await self.reach(me, "openai", "gpt-4o")
        assert (found.wire, found.base_url) == ("anthropic", "https://proxy.example/v1")

    async def test_a_local_provider_needs_no_key_and_speaks_below_v1(self, me: OwnPilot):
        for name, given in (("a", "http://localhost:1/"), ("b", "http://localhost:2/v1")):
            body = {"name": name, "providerType": "custom", "baseUrl": given, "apiKey": KEY if name == "b" else ""}
            local = await me.post("/local-providers", **body)
            await me.post(f"/local-providers/{local['id']}/models", modelId="m")
            found = await self.reach(me, local["id"], "m")
            expected = "http://localhost:1/v1" if name == "a" else given
            assert (found.base_url, found.is_local, found.api_key) == (expected, True, KEY if name == "b" else None)

    async def test_without_names_it_takes_the_defaults(self, me: OwnPilot):
        assert await self.code(me) == (400, "NO_PROVIDER")
        await configured(me, "groq", "openai")
        found = await self.reach(me)
        assert found.provider == "groq" and found.model["isDefault"]
        assert (await self.reach(me, "default", "default")).provider == "groq"
        await me.post("/settings/defaults", provider="openai", model="gpt-4o")
        found = await self.reach(me)
        assert (found.provider, found.model["modelId"]) == ("openai", "gpt-4o")
        found = await self.reach(me, "groq")
        assert (found.provider, found.model["isDefault"]) == ("groq", True), "the saved model is one of openai"

    async def test_it_says_why_a_model_cannot_be_called(self, me: OwnPilot):
        assert await self.code(me, "nobody", "x") == (404, "PROVIDER_NOT_FOUND")
        assert await self.code(me, "openai", "x") == (404, "MODEL_NOT_FOUND")
        assert await self.code(me, "openai", "gpt-4o") == (400, "NO_API_KEY")
        await configured(me, "openai", "azure")
        model = (await me.get("/models/azure"))["models"][0]["id"]
        assert await self.code(me, "azure", model) == (400, "NO_BASE_URL")
        await me.data("PATCH", "/model-configs/openai/gpt-4o/toggle", json={"enabled": False})
        assert await self.code(me, "openai", "gpt-4o") == (400, "MODEL_DISABLED")
        await me.data("PATCH", "/providers/openai/toggle", json={"enabled": False})
        assert await self.code(me, "openai", "gpt-4o") == (400, "PROVIDER_DISABLED")
        await me.post("/model-configs/providers", providerId="empty", displayName="Empty")
        assert await self.code(me, "empty") == (400, "NO_MODEL")

    async def test_a_key_that_does_not_open_is_as_good_as_none(self, me: OwnPilot):
        await configured(me, "openai")
        own = settings_store.stored_settings.of(me.user)
        stored = await own.find("key", "api_key:openai")
        await own.update(stored.id, lambda row: setattr(row, "sealed", f"old{row.sealed}"))
        assert await self.code(me, "openai", "gpt-4o") == (400, "NO_API_KEY")

    async def test_each_person_has_a_way_of_their_own(self, me: OwnPilot):
        await configured(me, "openai")
        other = OwnPilot(me.http)
        assert await self.code(other, "openai", "gpt-4o") == (400, "NO_API_KEY")
        await me.post("/model-configs", providerId="openai", modelId="mine")
        assert await self.code(other, "openai", "mine") == (404, "MODEL_NOT_FOUND")
        assert (await self.reach(me, "openai", "mine")).model["source"] == "custom"
