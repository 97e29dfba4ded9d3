"""The merged view of models and providers, what a person adds and changes, and what providers list themselves."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from functions.ownpilot.core.catalogue import rows
from infra.emulator.providers import KEY as STAND_IN_KEY
from infra.local.environment import Environment
from shared.http.errors import BadRequest
from tests.support.environments import connected
from tests.support.ownpilot import OwnPilot, refused

KEY = "sk-not-a-real-key-0123456789"
ROW = {
    "providerId", "providerName", "modelId", "displayName", "capabilities", "isEnabled", "isCustom", "hasOverride",
    "isConfigured", "source",
}  # fmt: skip
ODD_IDS = ["org/model:7b", "v1.5/x..y", "a b", "100%", "ä+b", "providers"]


async def envelope(me: OwnPilot, path: str, method: str = "GET", **options: Any) -> dict[str, Any]:
    """The whole answer, with what is beside the data."""
    answer = await me.send(method, path, **options)
    assert answer.status_code in (200, 201), answer.text
    return answer.json()


def given(members: dict[str, Any]) -> dict[str, Any]:
    """The members of a body that are not None."""
    return {name: value for name, value in members.items() if value is not None}


class TestList:
    async def test_all_models_once_and_configured_ones_first(self, me: OwnPilot):
        await me.post("/settings/api-keys", provider="openai", apiKey=KEY)
        found = await envelope(me, "/model-configs")
        rows = found["data"]
        assert found["count"] == len(rows) == len({(row["providerId"], row["modelId"]) for row in rows}) > 2000
        assert all(set(row) >= ROW for row in rows)
        first = [row["providerId"] for row in rows].index("openai")
        assert first == 0 and [row["isConfigured"] for row in rows] == sorted(
            (row["isConfigured"] for row in rows), reverse=True
        )
        assert {row["source"] for row in rows} == {"builtin"}

    async def test_filters_and_pages(self, me: OwnPilot):
        every = await me.get("/model-configs", provider="openai")
        assert {row["providerId"] for row in every} == {"openai"}
        seeing = await envelope(me, "/model-configs", params={"provider": "openai", "capability": "vision"})
        assert seeing["data"] == [row for row in every if "vision" in row["capabilities"]]
        assert seeing["count"] == len(seeing["data"]) < len(every)
        await me.data("PATCH", "/model-configs/openai/gpt-4o/toggle", json={"enabled": False})
        on = await me.get("/model-configs", provider="openai", enabled="true")
        assert [row["modelId"] for row in on] == [row["modelId"] for row in every if row["modelId"] != "gpt-4o"]
        page = await envelope(me, "/model-configs", params={"provider": "openai", "limit": 2, "offset": 1})
        assert [row["modelId"] for row in page["data"]] == [row["modelId"] for row in every[1:3]]
        assert page["count"] == len(every)
        assert await me.get("/model-configs", provider="nobody") == []
        refused(await me.send("GET", "/model-configs", params={"capability": "flying"}), 400, "INVALID_REQUEST")

    async def test_an_empty_filter_is_none(self, me: OwnPilot):
        every = await envelope(me, "/model-configs", params={"limit": 2})
        unset = {"provider": "", "capability": "", "enabled": "", "limit": 2}
        found = await envelope(me, "/model-configs", params=unset)
        assert (found["data"], found["count"]) == (every["data"], every["count"])
        listed = await me.get("/model-configs/providers/list", type="")
        assert listed == await me.get("/model-configs/providers/list")

    async def test_one_provider_and_one_model(self, me: OwnPilot):
        found = await envelope(me, "/model-configs/openai")
        assert found["count"] == len(found["data"])
        assert found["data"] == await me.get("/model-configs", provider="openai")
        part = await envelope(me, "/model-configs/openai", params={"limit": 1})
        assert (part["data"], part["count"]) == (found["data"][:1], found["count"])
        for row in found["data"][:2]:
            assert await me.get(f"/model-configs/openai/{row['modelId']}") == row
        refused(await me.send("GET", "/model-configs/nobody"), 404, "PROVIDER_NOT_FOUND")
        refused(await me.send("GET", "/model-configs/nobody/x"), 404, "PROVIDER_NOT_FOUND")
        refused(await me.send("GET", "/model-configs/openai/x"), 404, "MODEL_NOT_FOUND")

    async def test_what_models_can_do(self, me: OwnPilot):
        found = await me.get("/model-configs/capabilities/list")
        assert [each["id"] for each in found] == [
            "chat", "code", "vision", "function_calling", "json_mode", "streaming", "embeddings", "image_generation",
            "audio", "reasoning",
        ]  # fmt: skip
        assert all(each["name"] and each["description"] for each in found)


class TestModels:
    @pytest.mark.parametrize("id_", ODD_IDS)
    async def test_one_of_your_own_whatever_its_id_is(self, me: OwnPilot, id_: str):
        await me.post("/model-configs/providers", providerId="org/p:1.0", displayName="Mine")
        path = f"/model-configs/org%2Fp:1.0/{quote(id_, safe='')}"
        made = await me.post(
            "/model-configs", providerId="org/p:1.0", modelId=id_, displayName="M", capabilities=["code"],
            pricingInput=1.5, contextWindow=1000, config={"a": 1},
        )  # fmt: skip
        assert made == {
            "id": made["id"], "userId": me.user, "providerId": "org/p:1.0", "modelId": id_, "displayName": "M",
            "capabilities": ["code"], "pricingInput": 1.5, "contextWindow": 1000, "isEnabled": True, "isCustom": True,
            "config": {"a": 1}, "createdAt": made["createdAt"], "updatedAt": made["updatedAt"],
        }  # fmt: skip
        shown = await me.get(path)
        assert (shown["source"], shown["isCustom"], shown["hasOverride"]) == ("custom", True, False)
        assert (shown["providerName"], shown["displayName"], shown["pricingInput"]) == ("Mine", "M", 1.5)
        await me.data("PATCH", f"{path}/toggle", json={"enabled": False})
        assert (await me.get(path))["isEnabled"] is False
        changed = await me.data("PUT", path, json={"displayName": None, "maxOutput": 10})
        assert (changed.get("displayName"), changed["maxOutput"], changed["isEnabled"]) == (None, 10, False)
        assert (await me.get(path))["displayName"] == id_
        deleted = await envelope(me, path, "DELETE")
        assert deleted["data"] == {"message": deleted["message"], "deleted": True}
        refused(await me.send("GET", path), 404)
        refused(await me.send("DELETE", path), 404)

    async def test_a_second_post_of_the_same_one_changes_it(self, me: OwnPilot):
        first = await me.post("/model-configs", providerId="openai", modelId="mine", displayName="A")
        again = await me.post("/model-configs", providerId="openai", modelId="mine", maxOutput=5)
        assert (again["id"], again["displayName"], again["maxOutput"]) == (first["id"], "A", 5)

    async def test_two_at_the_same_moment_make_one(self, me: OwnPilot):
        bodies = [{"pricingInput": 1}, {"pricingOutput": 2}, {"contextWindow": 3}, {"maxOutput": 4}]
        made = await asyncio.gather(
            *(me.post("/model-configs", providerId="openai", modelId="mine", **body) for body in bodies)
        )
        assert len({each["id"] for each in made}) == 1
        shown = await me.get("/model-configs/openai/mine")
        assert [shown[name] for body in bodies for name in body] == [1, 2, 3, 4]

    async def test_of_several_who_delete_one_at_once_the_others_find_none(self, me: OwnPilot):
        await me.post("/model-configs", providerId="openai", modelId="mine")
        all_ = await asyncio.gather(*(me.send("DELETE", "/model-configs/openai/mine") for _ in range(4)))
        assert sorted(answer.status_code for answer in all_) == [200, 404, 404, 404]

    async def test_an_override_is_laid_over_the_catalogue_and_a_delete_takes_it_away(self, me: OwnPilot):
        path = "/model-configs/openai/gpt-4o"
        before = await me.get(path)
        refused(await me.send("DELETE", path), 400, "NO_OVERRIDE")
        changed = await me.data("PUT", path, json={"displayName": "Best", "pricingInput": 0, "capabilities": []})
        assert (changed["isCustom"], changed["capabilities"]) == (False, [])
        assert await me.get(path) == {
            **before, "displayName": "Best", "pricingInput": 0, "capabilities": [], "hasOverride": True,
        }  # fmt: skip
        await me.data("PUT", path, json={"capabilities": None, "pricingInput": None})
        assert (await me.get(path))["capabilities"] == before["capabilities"]
        await me.data("DELETE", path)
        assert await me.get(path) == before
        await me.post("/model-configs", providerId="openai", modelId="gpt-4o", displayName="Mine")
        shown = await me.get(path)
        assert (shown["source"], shown["isCustom"], shown["hasOverride"]) == ("builtin", False, True)

    @pytest.mark.parametrize(
        "members",
        [{"providerId": None}, {"modelId": None}, {"modelId": ""}, {"modelId": "a\nb"}, {"modelId": "x" * 201},
         {"capabilities": ["flying"]}, {"pricingInput": -1}, {"contextWindow": 0}, {"displayName": " "},
         {"isEnabled": "maybe"}, {"config": {"a": "x" * 10_001}}],
    )  # fmt: skip
    async def test_what_makes_no_sense_is_refused(self, me: OwnPilot, members: dict[str, Any]):
        body = {"providerId": "openai", "modelId": "mine", **members}
        answer = await me.send(
            "POST", "/model-configs", json={k: v for k, v in body.items() if v is not None or k == "isEnabled"}
        )
        assert next(iter(members)) in refused(answer, 400, "INVALID_REQUEST")

    async def test_a_model_of_no_provider_is_404_and_a_toggle_needs_a_boolean(self, me: OwnPilot):
        answer = await me.send("POST", "/model-configs", json={"providerId": "nobody", "modelId": "m"})
        refused(answer, 404, "PROVIDER_NOT_FOUND")
        for body in ({}, {"enabled": "yes"}):
            refused(await me.send("PATCH", "/model-configs/openai/gpt-4o/toggle", json=body), 400, "INVALID_REQUEST")
        for path in ("/model-configs/openai/x", "/model-configs/nobody/x"):
            refused(await me.send("PUT", path, json={}), 404)
            refused(await me.send("DELETE", path), 404)
            refused(await me.send("PATCH", f"{path}/toggle", json={"enabled": True}), 404)
        toggled = await envelope(me, "/model-configs/openai/gpt-4o/toggle", "PATCH", json={"enabled": True})
        assert toggled["data"] == {"enabled": toggled["enabled"], "message": toggled["message"]}

    @pytest.mark.usefixtures("app")
    async def test_there_is_a_limit(self, me: OwnPilot, stack: Environment):
        async with connected(**stack.app_settings, RUNYARD_MAX_RECORDS="2"):
            await rows.add_models(me.user, "openai", ["a", "b"], {})
            for adding in (
                rows.add_models(me.user, "openai", ["c"], {}),
                rows.change_model(me.user, "openai", "c", lambda row: None),
            ):
                with pytest.raises(BadRequest, match="2"):
                    await adding
            await rows.change_model(me.user, "openai", "a", lambda row: setattr(row, "max_output", 7))


class TestProviders:
    async def test_the_list_says_where_each_is_from(self, me: OwnPilot):
        local = await me.post("/local-providers", name="Mine", providerType="ollama", baseUrl="http://localhost:1")
        await me.post("/model-configs/providers", providerId="own", displayName="Own")
        found = await envelope(me, "/model-configs/providers/list")
        assert found["count"] == len(found["data"]) == len({each["id"] for each in found["data"]})
        kinds = {each["id"]: each["type"] for each in found["data"]}
        assert (kinds["openai"], kinds["fal"], kinds["own"], kinds[local["id"]]) == (
            "builtin",
            "aggregator",
            "custom",
            "local",
        )
        for kind in ("aggregator", "custom", "local"):
            only = await envelope(me, "/model-configs/providers/list", params={"type": kind})
            assert {each["type"] for each in only["data"]} == {kind} and only["count"] == len(only["data"])
        part = await envelope(me, "/model-configs/providers/list", params={"limit": 1, "offset": 1})
        assert (part["data"], part["count"]) == (found["data"][1:2], found["count"])

    async def test_what_can_be_added(self, me: OwnPilot):
        before = await envelope(me, "/model-configs/providers/available")
        known = {each["id"]: each for each in before["data"]}
        assert {"openai", "fal", "together", "fireworks"} <= set(known) and not known["fal"]["isEnabled"]
        builtin = sum(each["type"] == "builtin" for each in before["data"])
        assert before["counts"] == {
            "builtin": builtin, "aggregator": len(known) - builtin, "total": len(known),
        }  # fmt: skip
        await me.post("/settings/api-keys", provider="openai", apiKey=KEY)
        await me.data("PUT", "/model-configs/providers/fal", json={})
        await me.post("/settings/api-keys", provider="fal", apiKey=KEY)
        after = {each["id"] for each in await me.get("/model-configs/providers/available")}
        assert set(known) - after == {"openai", "fal"}

    async def test_an_aggregator_takes_part_once_it_is_enabled(self, me: OwnPilot):
        assert await me.get("/model-configs", provider="together") == []
        made = await me.data("PUT", "/model-configs/providers/together", json={"apiBaseUrl": "https://t.example/v1"})
        assert (made["providerId"], made["displayName"], made["isEnabled"]) == ("together", "Together AI", True)
        found = await me.get("/model-configs", provider="together")
        like = await me.get("/model-configs", provider="togetherai")
        assert {row["source"] for row in found} == {"aggregator"}
        assert [row["modelId"] for row in found] == [row["modelId"] for row in like]
        await me.data("PATCH", "/model-configs/providers/together/toggle", json={"enabled": False})
        assert await me.get("/model-configs", provider="together") == []
        await me.post("/model-configs/providers", providerId="together", displayName="T")
        shown = await me.get("/model-configs/providers/together")
        assert (shown["isEnabled"], shown["name"], shown["modelCount"]) == (True, "T", len(shown["models"]))
        assert (await me.data("DELETE", "/model-configs/providers/together"))["deleted"] is True
        assert (await me.get("/model-configs/providers/together"))["isEnabled"] is False

    async def test_one_of_your_own_from_beginning_to_end(self, me: OwnPilot):
        body = {"providerId": "own", "displayName": "Own", "apiBaseUrl": "https://own.example/v1/", "config": {"a": 1}}
        made = await me.post("/model-configs/providers", **body)
        assert made == {
            "id": made["id"], "userId": me.user, "providerId": "own", "displayName": "Own",
            "apiBaseUrl": "https://own.example/v1", "providerType": "openai-compatible", "isEnabled": True,
            "config": {"a": 1}, "createdAt": made["createdAt"], "updatedAt": made["updatedAt"],
        }  # fmt: skip
        await me.post("/model-configs", providerId="own", modelId="m")
        changed = await me.data("PUT", "/model-configs/providers/own", json={"displayName": "New"})
        assert (changed["displayName"], changed["apiBaseUrl"]) == ("New", "https://own.example/v1")
        shown = await me.get("/model-configs/providers/own")
        assert (shown["name"], shown["type"], shown["modelCount"]) == ("New", "custom", 1)
        assert shown["models"][0]["providerName"] == "New"
        toggled = await envelope(me, "/model-configs/providers/own/toggle", "PATCH", json={"enabled": False})
        assert (toggled["enabled"], toggled["data"]["enabled"]) == (False, False)
        deleted = await envelope(me, "/model-configs/providers/own", "DELETE")
        assert deleted["data"] == {"message": deleted["message"], "deleted": True}
        for method, path in (("GET", "own"), ("PUT", "own"), ("DELETE", "own"), ("PATCH", "own/toggle")):
            json = {"json": {"enabled": True}} if method in ("PUT", "PATCH") else {}
            refused(await me.send(method, f"/model-configs/providers/{path}", **json), 404, "PROVIDER_NOT_FOUND")
        await me.post("/model-configs/providers", **body)
        assert await me.get("/model-configs/own") == [], "its models went with it"

    async def test_the_key_of_one_of_your_own_goes_with_it(self, me: OwnPilot):
        body = {"providerId": "own", "displayName": "Own", "apiBaseUrl": "https://own.example/v1"}
        await me.post("/model-configs/providers", **body)
        await me.post("/settings/api-key/own", apiKey=KEY)
        await me.data("DELETE", "/model-configs/providers/own")
        settings = await me.get("/settings")
        assert (settings["configuredProviders"], settings["demoMode"]) == ([], True)
        await me.post("/model-configs/providers", **body | {"apiBaseUrl": "https://other.example/v1"})
        assert (await me.get("/model-configs/providers/own"))["isConfigured"] is False
        await me.post("/settings/api-key/together", apiKey=KEY)
        await me.data("DELETE", "/model-configs/providers/together")
        assert (await me.get("/settings"))["configuredProviders"] == ["together"], "an aggregator is there still"

    async def test_one_that_is_built_in_can_be_changed_but_not_deleted(self, me: OwnPilot):
        refused(await me.send("DELETE", "/model-configs/providers/openai"), 400, "BAD_REQUEST")
        await me.post("/model-configs/providers", providerId="openai", displayName="Mine")
        found = [each for each in await me.get("/model-configs/providers/list") if each["id"] == "openai"]
        assert [(each["type"], each["name"]) for each in found] == [("builtin", "Mine")]
        await me.data("PATCH", "/model-configs/providers/openai/toggle", json={"enabled": False})
        assert [each["id"] for each in await me.get("/model-configs/providers/list")].count("openai") == 1
        assert (await me.get("/providers/openai"))["isEnabled"] is False

    async def test_local_ones_have_a_place_of_their_own(self, me: OwnPilot):
        local = await me.post("/local-providers", name="Mine", providerType="ollama", baseUrl="http://localhost:1")
        at = f"/model-configs/providers/{local['id']}"
        assert (await me.get(at))["type"] == "local"
        for method, path in (("PUT", at), ("DELETE", at), ("PATCH", f"{at}/toggle"), ("POST", f"{at}/discover-models")):
            answer = await me.send(method, path, json={"enabled": True})
            assert "/local-providers" in refused(answer, 400, "BAD_REQUEST")
        answer = await me.send("POST", "/model-configs/providers", json={"providerId": local["id"], "displayName": "x"})
        refused(answer, 400, "BAD_REQUEST")

    @pytest.mark.parametrize(
        "members",
        [{"providerId": None}, {"displayName": None}, {"displayName": ""}, {"providerId": "a b"},
         {"providerId": "LIST"}, {"providerId": "sync"},
         {"providerId": "/a"}, {"apiBaseUrl": "a.example"}, {"providerType": "local"}],
    )  # fmt: skip
    async def test_what_cannot_be_one_is_refused(self, me: OwnPilot, members: dict[str, Any]):
        body = {"providerId": "own", "displayName": "Own", **members}
        answer = await me.send(
            "POST", "/model-configs/providers", json={k: v for k, v in body.items() if v is not None}
        )
        assert next(iter(members)) in refused(answer, 400, "INVALID_REQUEST")


@pytest.fixture
async def stand_in(stack: Environment) -> AsyncIterator[str]:
    """The address of a server that lists models; what a test has made it answer is taken back."""
    url = f"http://127.0.0.1:{stack.ports['providers']}"
    yield url
    async with httpx.AsyncClient(trust_env=False) as client:
        assert (await client.put(f"{url}/local/answers", json={})).status_code == 204


async def answers(stand_in: str, **paths: Any) -> None:
    """Make paths of the server answer something else."""
    async with httpx.AsyncClient(trust_env=False) as client:
        set_ = await client.put(f"{stand_in}/local/answers", json={f"/{path}": each for path, each in paths.items()})
        assert set_.status_code == 204


class TestDiscovery:
    async def own(self, me: OwnPilot, base_url: str) -> str:
        await me.post("/model-configs/providers", providerId="own", displayName="Own", apiBaseUrl=base_url)
        return "/model-configs/providers/own/discover-models"

    async def test_what_a_provider_lists_is_added_and_what_was_switched_off_stays_off(
        self, me: OwnPilot, stand_in: str
    ):
        path = await self.own(me, f"{stand_in}/v1")
        await me.post("/settings/api-keys", provider="own", apiKey=STAND_IN_KEY)
        found = await me.post(path)
        models = await me.get("/model-configs/own")
        ids = {each["modelId"] for each in models}
        assert "org/stand-in:7b" in ids and {each["modelId"] for each in found["models"]} == ids
        assert found == {
            "provider": "own", "providerName": "Own", "sourceUrl": f"{stand_in}/v1/models", "models": found["models"],
            "newModels": len(ids), "existingModels": 0,
        }  # fmt: skip
        assert models[0] == {
            **models[0], "contextWindow": 32_768, "maxOutput": 4096, "pricingInput": 0, "pricingOutput": 0,
            "capabilities": ["chat", "streaming"], "source": "custom", "isEnabled": True, "isConfigured": True,
        }  # fmt: skip
        await me.data("PATCH", "/model-configs/own/org%2Fstand-in:7b/toggle", json={"enabled": False})
        again = await me.post(path)
        assert (again["newModels"], again["existingModels"]) == (0, len(ids))
        assert (await me.get("/model-configs/own/org%2Fstand-in:7b"))["isEnabled"] is False

    async def test_one_that_speaks_anthropics_protocol_is_asked_as_that_wants_it(self, me: OwnPilot, stand_in: str):
        path = await self.own(me, stand_in)
        await me.send("PUT", "/model-configs/providers/own", json={"providerType": "anthropic"})
        refused(await me.send("POST", path), 502, "BAD_GATEWAY")
        await me.post("/settings/api-keys", provider="own", apiKey=STAND_IN_KEY)
        assert "org/stand-in:7b" in {each["modelId"] for each in (await me.post(path))["models"]}

    async def test_two_at_once_add_each_model_once(self, me: OwnPilot, stand_in: str):
        path = await self.own(me, stand_in)
        await asyncio.gather(*(me.post(path) for _ in range(3)))
        models = [each["modelId"] for each in await me.get("/model-configs/own")]
        assert len(models) == len({*models}) > 0

    async def test_without_a_list_the_addresses_are_told_and_no_key(self, me: OwnPilot, stand_in: str):
        path = await self.own(me, f"{stand_in}/nothing")
        await me.post("/settings/api-keys", provider="own", apiKey=KEY)
        answer = await me.send("POST", path)
        refused(answer, 502, "BAD_GATEWAY")
        tried = answer.json()["error"]["details"]["triedUrls"]
        assert tried == [f"{stand_in}/nothing{each}" for each in ("/v1/models", "/api/v1/models", "/models")]
        assert KEY not in answer.text

    @pytest.mark.parametrize("size", [0, 6_000_000])
    async def test_a_list_that_is_none_or_too_long_is_502(self, me: OwnPilot, stand_in: str, size: int):
        path = await self.own(me, stand_in)
        await answers(stand_in, **{"v1/models": {"text": '{"data": 7}', "size": size}})
        refused(await me.send("POST", path), 502, "BAD_GATEWAY")
        assert await me.get("/model-configs/own") == []

    @pytest.mark.parametrize("base_url", ["http://169.254.169.254", "http://127.0.0.1:1", "http://[::1]:1"])
    async def test_a_private_address_is_not_asked(self, me: OwnPilot, base_url: str):
        path = await self.own(me, base_url)
        answer = await me.send("POST", path)
        refused(answer, 502, "BAD_GATEWAY")
        assert all("not public" in each for each in answer.json()["error"]["details"]["reasons"])

    async def test_without_an_address_there_is_nobody_to_ask(self, me: OwnPilot):
        await me.post("/model-configs/providers", providerId="own", displayName="Own")
        refused(await me.send("POST", "/model-configs/providers/own/discover-models"), 400, "NO_BASE_URL")
        refused(await me.send("POST", "/model-configs/providers/nobody/discover-models"), 404, "PROVIDER_NOT_FOUND")
