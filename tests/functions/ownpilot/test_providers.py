"""Providers: what they are, and what a person changes of them."""

from typing import Any

import pytest

from tests.support.ownpilot import OwnPilot, refused

PROXY = "https://my-proxy.example.com/v1"
NOTHING = {"baseUrl": None, "providerType": None, "isEnabled": True, "apiKeyEnv": None, "notes": None}


class TestList:
    async def test_all_providers_with_what_the_page_shows(self, me: OwnPilot):
        await me.post("/settings/api-keys", provider="openai", apiKey="sk-some-key")
        found = await me.get("/providers")
        assert found["total"] == len(found["providers"]) == len({each["id"] for each in found["providers"]})
        first = found["providers"][0]
        assert first == {
            **first, "id": "openai", "name": "OpenAI", "type": "openai", "baseUrl": "https://api.openai.com/v1",
            "apiKeyEnv": "OPENAI_API_KEY", "isConfigured": True, "isEnabled": True, "hasOverride": False,
            "configSource": "database", "color": "#10a37f", "apiKeyPlaceholder": "sk-...",
        }  # fmt: skip
        assert first["modelCount"] > 10
        rest = found["providers"][1:]
        assert {each["configSource"] for each in rest} == {None}
        assert [each["name"].casefold() for each in rest] == sorted(each["name"].casefold() for each in rest)
        known = {each["id"] for each in found["providers"]}
        assert len(found["categories"]) == 10 and all(set(ids) <= known for ids in found["categories"].values())
        page = await me.get("/providers", limit=2, offset=1)
        assert (page["providers"], page["total"]) == (rest[:2], found["total"])

    async def test_every_provider_has_a_category_or_is_named_as_one_without(self, me: OwnPilot):
        found = await me.get("/providers/categories")
        placed = [id_ for ids in found["categories"].values() for id_ in ids]
        known = {each["id"] for each in (await me.get("/providers"))["providers"]}
        assert {*placed} | {*found["uncategorized"]} == known and not {*placed} & {*found["uncategorized"]}
        assert len(placed) == len({*placed})

    async def test_local_and_own_providers_are_among_them(self, me: OwnPilot):
        local = await me.post("/local-providers", name="Mine", providerType="ollama", baseUrl="http://localhost:1")
        await me.post("/model-configs/providers", providerId="own", displayName="Own", providerType="anthropic")
        kinds = {each["id"]: each["type"] for each in (await me.get("/providers"))["providers"]}
        assert (kinds[local["id"]], kinds["own"]) == ("local", "anthropic")


class TestOne:
    async def test_it_has_its_models(self, me: OwnPilot):
        found = await me.get("/providers/openai")
        models = await me.get("/providers/openai/models")
        assert (found["userOverride"], found["models"]) == (None, models["models"])
        assert (models["provider"], models["providerName"], models["isConfigured"]) == ("openai", "OpenAI", False)
        [default] = [each for each in models["models"] if each.get("default")]
        assert {"id", "name", "contextWindow", "maxOutput", "inputPrice", "outputPrice", "releaseDate"} <= set(default)

    async def test_an_unknown_one_is_404_everywhere(self, me: OwnPilot):
        for method, path in (
            ("GET", ""), ("GET", "/models"), ("GET", "/config"), ("PUT", "/config"), ("DELETE", "/config"),
            ("PATCH", "/toggle"),
        ):  # fmt: skip
            body = {} if method == "GET" else {"json": {"enabled": True}}
            refused(await me.send(method, f"/providers/nobody{path}", **body), 404, "PROVIDER_NOT_FOUND")


class TestConfig:
    async def test_given_members_change_null_clears_and_a_delete_undoes_all(self, me: OwnPilot):
        before = await me.get("/providers/openai/config")
        assert before["userOverride"] is None and before["baseConfig"] == before["effectiveConfig"]
        given = {"baseUrl": PROXY, "providerType": "openai-compatible", "apiKeyEnv": "MINE", "notes": "Using a proxy"}
        changed = await me.data("PUT", "/providers/openai/config", json={**given, "unknown": 1})
        assert changed == {"providerId": "openai", "userOverride": {**given, "isEnabled": True}}
        await me.data("PUT", "/providers/openai/config", json={"notes": None, "isEnabled": False})
        found = await me.get("/providers/openai/config")
        assert found["userOverride"] == {**given, "notes": None, "isEnabled": False}
        assert found["baseConfig"] == before["baseConfig"]
        assert found["effectiveConfig"] == {
            "type": "openai-compatible", "baseUrl": PROXY, "apiKeyEnv": "MINE", "isEnabled": False,
            "docsUrl": before["baseConfig"]["docsUrl"],
        }  # fmt: skip
        shown = await me.get("/providers/openai")
        assert (shown["hasOverride"], shown["userOverride"], shown["baseUrl"]) == (True, found["userOverride"], PROXY)
        everything = await me.get("/providers/overrides/all")
        assert everything == {"overrides": [{"providerId": "openai", **found["userOverride"]}], "total": 1}
        for deleted in (True, False):
            assert await me.data("DELETE", "/providers/openai/config") == {"providerId": "openai", "deleted": deleted}
        assert await me.get("/providers/openai/config") == before
        assert (await me.get("/providers/overrides/all"))["total"] == 0

    @pytest.mark.parametrize(
        "members",
        [{"baseUrl": "no address"}, {"baseUrl": "ftp://a.example"}, {"baseUrl": "https://me:secret@a.example"},
         {"baseUrl": "https://a.example?key=secret"}, {"baseUrl": "https://a.example:99999"}, {"baseUrl": 7},
         {"providerType": "telepathy"}, {"isEnabled": None}, {"isEnabled": "maybe"}, {"notes": "x" * 201},
         {"apiKeyEnv": " "}],
    )  # fmt: skip
    async def test_what_cannot_be_used_is_refused(self, me: OwnPilot, members: dict[str, Any]):
        answer = await me.send("PUT", "/providers/openai/config", json=members)
        assert next(iter(members)) in refused(answer, 400, "INVALID_REQUEST") and "secret" not in answer.text

    async def test_a_toggle_needs_a_boolean(self, me: OwnPilot):
        for body in ({}, {"enabled": None}, {"enabled": "true"}, {"enabled": 1}):
            refused(await me.send("PATCH", "/providers/openai/toggle", json=body), 400, "INVALID_REQUEST")
        for enabled in (False, True):
            shown = await me.data("PATCH", "/providers/openai/toggle", json={"enabled": enabled})
            assert shown == {"providerId": "openai", "isEnabled": enabled}
            assert (await me.get("/providers/openai"))["isEnabled"] is enabled
        assert (await me.get("/providers"))["total"] == len((await me.get("/providers"))["providers"])

    async def test_local_and_own_providers_are_changed_at_their_own_places(self, me: OwnPilot):
        local = await me.post("/local-providers", name="Mine", providerType="ollama", baseUrl="http://localhost:1")
        await me.post("/model-configs/providers", providerId="own", displayName="Own")
        for id_, place in ((local["id"], "/local-providers"), ("own", "/model-configs/providers")):
            for method, path in (("PUT", "config"), ("DELETE", "config"), ("PATCH", "toggle")):
                answer = await me.send(method, f"/providers/{id_}/{path}", json={"enabled": True})
                assert place in refused(answer, 400, "BAD_REQUEST")
            assert (await me.get(f"/providers/{id_}/config"))["userOverride"] is None

    async def test_what_one_person_changes_no_other_sees(self, me: OwnPilot):
        await me.data("PUT", "/providers/openai/config", json={"baseUrl": PROXY})
        assert (await OwnPilot(me.http).get("/providers/openai"))["hasOverride"] is False

    async def test_changes_are_in_the_audit_log(self, me: OwnPilot):
        await me.data("PUT", "/providers/openai/config", json={"baseUrl": PROXY})
        await me.data("DELETE", "/providers/openai/config")
        found = (await me.get("/audit", resourceId="openai"))["events"]
        assert [each["details"]["action"] for each in found] == ["delete config", "change config"]
