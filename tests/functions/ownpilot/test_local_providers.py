"""Local providers, their models, and how both are found."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from functions.ownpilot.core import discovery, local_store
from functions.ownpilot.core.local_store import LocalProvider, local_providers
from infra.emulator.providers import KEY
from infra.emulator.providers.state import MODELS
from infra.local.environment import Environment
from shared import outbound
from shared.http.errors import BadGateway, BadRequest
from shared.tables import RecordNotFound
from tests.support.environments import ROOT_KEY, StrictHost
from tests.support.ownpilot import OwnPilot, refused

IDS = [model.id for model in MODELS]
SECRET = "sk-a-key-that-nobody-sees"


@pytest.fixture
def offers(stack: Environment) -> str:
    """The address of a server that offers models."""
    return f"http://127.0.0.1:{stack.ports['providers']}"


@pytest.fixture
async def answers(offers: str) -> AsyncIterator[Any]:
    """Sets what paths of that server answer, until the end of the test."""
    async with httpx.AsyncClient(base_url=offers, trust_env=False) as http:

        async def set_answers(answers: dict[str, Any]) -> None:
            assert (await http.put("/local/answers", json=answers)).status_code == 204

        yield set_answers
        await set_answers({})


async def add(me: OwnPilot, base_url: str = "http://127.0.0.1:1", kind: str = "ollama", **members: Any) -> str:
    """The path of a new provider."""
    body = {"name": "Mine", "providerType": kind, "baseUrl": base_url, **members}
    return f"/local-providers/{(await me.post('/local-providers', **body))['id']}"


class TestProviders:
    async def test_templates_name_the_usual_ports_and_where_models_are_listed(self, me: OwnPilot):
        found = {each["id"]: each for each in await me.get("/local-providers/templates")}
        assert {id_: each["baseUrl"].rpartition(":")[2] for id_, each in found.items()} == {
            "lmstudio": "1234", "ollama": "11434", "localai": "8080", "vllm": "8000", "custom": "8080",
        }  # fmt: skip
        assert {id_: each["discoveryEndpoint"] for id_, each in found.items() if id_ in ("ollama", "vllm")} == {
            "ollama": "/api/tags", "vllm": "/v1/models",
        }  # fmt: skip

    async def test_one_is_added_shown_and_listed_by_name(self, me: OwnPilot):
        path = await add(me, "http://127.0.0.1:1/v1/", name="b")
        await add(me, name="a")
        shown = await me.get(path)
        assert (shown["baseUrl"], shown["isEnabled"], shown["isDefault"]) == ("http://127.0.0.1:1/v1", True, False)
        assert (shown["models"], shown["hasApiKey"], "lastDiscoveredAt" in shown) == ([], False, False)
        await me.post(f"{path}/models", modelId="m")
        listed = await me.get("/local-providers")
        assert [(each["name"], each["modelCount"]) for each in listed] == [("a", 0), ("b", 1)]
        assert [each["name"] for each in await me.get("/local-providers", limit=1, offset=1)] == ["b"]

    async def test_its_key_is_sealed_and_never_shown(self, me: OwnPilot, app: None):
        path = await add(me, apiKey=SECRET)
        said = [
            (await me.send("GET", target)).text for target in (path, "/local-providers", "/audit", f"{path}/models")
        ]
        said.append((await me.send("PUT", path, json={"apiKey": SECRET, "name": "Other"})).text)
        assert not any(SECRET in text for text in said)
        assert (await me.get(path))["hasApiKey"] is True
        stored = await local_providers.of(me.user).get(path.rpartition("/")[2])
        assert SECRET not in stored.model_dump_json() and SECRET not in (stored.sealed_key or "")
        assert stored.api_key == SECRET

    async def test_white_space_around_its_key_is_not_part_of_it(self, me: OwnPilot, app: None):
        id_ = (await add(me, apiKey=f" {SECRET}\r\n")).rpartition("/")[2]
        assert (await local_providers.of(me.user).get(id_)).api_key == SECRET

    @pytest.mark.parametrize("none", [None, "", " "])
    async def test_its_members_change_one_by_one_and_its_key_is_removed(self, me: OwnPilot, none: str | None):
        path = await add(me, apiKey=SECRET, discoveryEndpoint="/list")
        changed = await me.data("PUT", path, json={"baseUrl": "https://models.example/", "unknown": 1})
        assert (changed["baseUrl"], changed["name"], changed["hasApiKey"]) == ("https://models.example", "Mine", True)
        changed = await me.data("PUT", path, json={"apiKey": none, "discoveryEndpoint": None})
        assert (changed["hasApiKey"], "discoveryEndpoint" in changed) == (False, False)

    @pytest.mark.parametrize(
        "members",
        [{"name": ""}, {"name": " "}, {"name": None}, {"providerType": "other"}, {"baseUrl": "ftp://a"},
         {"baseUrl": ""}, {"baseUrl": "http://"}, {"baseUrl": "http://user:word@host"}, {"baseUrl": "http://a?key=1"},
         {"baseUrl": "http://a#b"}, {"baseUrl": "http://a:99999"}, {"baseUrl": 7}, {"discoveryEndpoint": "v1/models"},
         {"discoveryEndpoint": "/a?b"}, {"metadata": []}, {"metadata": {"a": "x" * 10_000}}],
    )  # fmt: skip
    async def test_a_wrong_member_is_refused_by_name(self, me: OwnPilot, members: dict[str, Any]):
        path = await add(me)
        new = {"name": "Other", "providerType": "vllm", "baseUrl": "http://a", **members}
        for answer in (
            await me.send("POST", "/local-providers", json=new), await me.send("PUT", path, json=members)
        ):  # fmt: skip
            assert next(iter(members)) in refused(answer, 400, "INVALID_REQUEST")

    async def test_a_name_is_taken_once_by_several_at_the_same_moment(self, me: OwnPilot):
        body = {"name": "Mine", "providerType": "vllm", "baseUrl": "http://a"}
        all_ = await asyncio.gather(*(me.send("POST", "/local-providers", json=body) for _ in range(4)))
        assert sorted(answer.status_code for answer in all_) == [201, 409, 409, 409]
        other = await add(me, name="Other")
        refused(await me.send("PUT", other, json={"name": "Mine"}), 409, "CONFLICT")

    async def test_it_is_switched_by_a_body_and_flipped_without_one(self, me: OwnPilot):
        path = await add(me)
        given: list[dict[str, Any]] = [{}, {}, {"json": {"enabled": True}}, {"json": {"enabled": False}}, {"json": {}}]
        states = [(await me.data("PATCH", f"{path}/toggle", **each))["isEnabled"] for each in given]
        assert states == [False, True, True, False, True]
        refused(await me.send("PATCH", f"{path}/toggle", json={"enabled": "x"}), 400, "INVALID_REQUEST")

    async def test_one_is_the_default_whoever_else_tries(self, me: OwnPilot):
        paths = [await add(me, name=f"p{number}") for number in range(4)]
        await asyncio.gather(*(me.data("PATCH", f"{path}/set-default") for path in paths * 2))
        [default] = [each for each in await me.get("/local-providers") if each["isDefault"]]
        assert (await me.get(f"/local-providers/{default['id']}"))["isDefault"] is True
        await me.data("DELETE", f"/local-providers/{default['id']}")
        assert not any(each["isDefault"] for each in await me.get("/local-providers"))

    async def test_it_is_deleted_with_its_models_and_no_others(self, me: OwnPilot):
        path, other = await add(me), await add(me, name="Other")
        for each in (path, other):
            await me.post(f"{each}/models", modelId="m")
        gone = await me.data("DELETE", path)
        assert gone["deleted"] is True and gone["message"]
        for method, target in (("GET", path), ("PUT", path), ("DELETE", path), ("PATCH", f"{path}/toggle"),
                               ("PATCH", f"{path}/set-default"), ("POST", f"{path}/discover"),
                               ("GET", f"{path}/models"), ("DELETE", f"{path}/models/m")):  # fmt: skip
            refused(await me.send(method, target, **({"json": {}} if method == "PUT" else {})), 404, "NOT_FOUND")
        assert [each["modelId"] for each in await me.get(f"{other}/models")] == ["m"]

    async def test_another_person_sees_and_changes_none_of_it(self, me: OwnPilot, http: httpx.AsyncClient):
        path, other = await add(me), OwnPilot(http)
        assert await other.get("/local-providers") == []
        for method in ("GET", "DELETE"):
            refused(await other.send(method, path), 404, "NOT_FOUND")
        refused(await other.send("POST", f"{path}/models", json={"modelId": "m"}), 404, "NOT_FOUND")


class TestModels:
    async def test_one_is_added_by_hand_with_the_defaults(self, me: OwnPilot):
        path = await add(me)
        model = await me.post(f"{path}/models", modelId="org/m:7b")
        assert (model["displayName"], model["contextWindow"], model["maxOutput"]) == ("org/m:7b", 4096, 4096)
        assert (model["isEnabled"], model["localProviderId"]) == (True, path.rpartition("/")[2])
        assert model["capabilities"] == ["chat", "streaming"]

    async def test_a_provider_has_a_model_once_whoever_adds_it(self, me: OwnPilot):
        path = await add(me)
        body = {"modelId": "m", "displayName": "M"}
        all_ = await asyncio.gather(*(me.send("POST", f"{path}/models", json=body) for _ in range(3)))
        assert sorted(answer.status_code for answer in all_) == [201, 409, 409]
        assert len(await me.get(f"{path}/models")) == 1
        await me.post(f"{await add(me, name='Other')}/models", modelId="m")

    @pytest.mark.parametrize("by", ["modelId", "id"])
    async def test_it_is_switched_and_deleted_by_either_id(self, me: OwnPilot, by: str):
        path, other = await add(me), await add(me, name="Other")
        model = await me.post(f"{path}/models", modelId="org/m:7b.gguf")
        at, wrong = (f"{each}/models/{quote(model[by], safe='')}" for each in (path, other))
        assert (await me.data("PATCH", f"{at}/toggle"))["enabled"] is False
        assert (await me.data("PATCH", f"{at}/toggle", json={"enabled": False}))["enabled"] is False
        assert (await me.get(path))["models"][0]["isEnabled"] is False
        refused(await me.send("PATCH", f"{wrong}/toggle"), 404, "NOT_FOUND")
        refused(await me.send("DELETE", wrong), 404, "NOT_FOUND")
        assert await me.data("DELETE", at) == {"deleted": True}
        refused(await me.send("DELETE", at), 404, "NOT_FOUND")

    async def test_it_has_one_switch_whichever_address_turns_it(self, me: OwnPilot):
        path = await add(me)
        id_ = path.rpartition("/")[2]
        await me.post(f"{path}/models", modelId="on")
        await me.post(f"{path}/models", modelId="off", isEnabled=False)

        async def usable() -> list[str]:
            """The models that can be called, which are also those that the provider shows as enabled."""
            found = [model["id"] for model in (await me.get("/models"))["models"]]
            assert found == [each["modelId"] for each in await me.get(f"{path}/models") if each["isEnabled"]]
            return found

        renamed = await me.data("PUT", f"/model-configs/{id_}/off", json={"displayName": "Off"})
        assert (renamed["isEnabled"], await usable()) == (False, ["on"])
        await me.data("PATCH", f"/model-configs/{id_}/on/toggle", json={"enabled": False})
        assert await usable() == []
        await me.data("PATCH", f"{path}/models/off/toggle", json={"enabled": True})
        assert await usable() == ["off"]
        changed = await me.data("PUT", f"/model-configs/{id_}/off", json={"isEnabled": False})
        assert (changed["isEnabled"], await usable()) == (False, [])
        await me.post("/model-configs", providerId=id_, modelId="on", isEnabled=True)
        assert await usable() == ["on"]

    @pytest.mark.parametrize(
        "members",
        [{"modelId": ""}, {"modelId": "m" * 201}, {"contextWindow": 0}, {"maxOutput": "x"}, {"capabilities": "chat"},
         {"modelId": None}, {"metadata": {"a": "x" * 10_000}}],
    )  # fmt: skip
    async def test_a_wrong_member_is_refused_by_name(self, me: OwnPilot, members: dict[str, Any]):
        path = await add(me)
        answer = await me.send("POST", f"{path}/models", json={"modelId": "m", **members})
        assert next(iter(members)) in refused(answer, 400, "INVALID_REQUEST")

    async def test_a_page_of_them_is_listed_by_name(self, me: OwnPilot):
        path = await add(me)
        for name in ("c", "a", "b"):
            await me.post(f"{path}/models", modelId=name)
        assert [each["modelId"] for each in await me.get(f"{path}/models", limit=2, offset=1)] == ["b", "c"]


class TestLimits:
    async def test_a_person_has_a_hundred_providers_at_most(self, me: OwnPilot, app: None):
        new = [
            LocalProvider(user_id=me.user, name=f"p{number}", provider_type="vllm", base_url="http://a")
            for number in range(local_store.MOST_PROVIDERS)
        ]
        await asyncio.gather(*map(local_providers.of(me.user).insert, new))
        body = {"name": "one more", "providerType": "vllm", "baseUrl": "http://a"}
        refused(await me.send("POST", "/local-providers", json=body), 400, "LIMIT_REACHED")

    async def test_a_person_has_so_many_models_and_no_more(
        self, me: OwnPilot, app: None, offers: str, monkeypatch: pytest.MonkeyPatch
    ):
        path = await add(me, offers)
        await me.post(f"{path}/models", modelId="m")
        monkeypatch.setattr(local_store, "MOST_MODELS", 3)
        await local_store.check_room(me.user, 2)
        with pytest.raises(BadRequest) as full:
            await local_store.discover_models(me.user, path.rpartition("/")[2])
        assert full.value.code == "LIMIT_REACHED"


class TestDiscovery:
    @pytest.mark.parametrize(
        ("kind", "base", "source"),
        [("ollama", "", "/api/tags"), ("lmstudio", "", "/v1/models"), ("custom", "/v1", "/v1/models")],
    )
    async def test_models_are_added_once_and_stay_switched_off(
        self, me: OwnPilot, offers: str, kind: str, base: str, source: str
    ):
        path = await add(me, f"{offers}{base}", kind, apiKey=KEY)
        found = await me.data("POST", f"{path}/discover")
        assert (found["sourceUrl"], found["totalModels"]) == (f"{offers}{source}", 3)
        assert (found["newModels"], found["existingModels"]) == (3, 0)
        assert [model["modelId"] for model in found["models"]] == IDS
        await me.data("PATCH", f"{path}/models/{quote(IDS[2], safe='')}/toggle", json={"enabled": False})
        await me.data("DELETE", f"{path}/models/{IDS[0]}")
        again = await me.data("POST", f"{path}/discover")
        assert (again["newModels"], again["existingModels"]) == (1, 2)
        assert [model["isEnabled"] for model in again["models"]] == [True, True, False]
        assert (await me.get(path))["lastDiscoveredAt"].endswith("Z")

    async def test_two_at_once_add_each_model_once(self, me: OwnPilot, offers: str):
        path = await add(me, offers)
        both = await asyncio.gather(*(me.data("POST", f"{path}/discover") for _ in range(2)))
        assert sum(found["newModels"] for found in both) == 3 == len(await me.get(f"{path}/models"))

    async def test_the_next_address_is_asked_when_one_has_no_models(self, me: OwnPilot, offers: str, answers: Any):
        await answers(
            {"/list": {"text": "[]"}, "/v1/models": {"text": "<html>"}, "/api/v1/models": {"text": '["m", 7]'}}
        )
        path = await add(me, offers, discoveryEndpoint="/list")
        found = await me.data("POST", f"{path}/discover")
        assert (found["sourceUrl"], [model["modelId"] for model in found["models"]]) == (
            f"{offers}/api/v1/models",
            ["m"],
        )

    @pytest.mark.parametrize(
        "answer",
        [{"status": 500}, {"text": "{"}, {"text": '{"data": []}'}, {"text": '{"data": {"id": "m"}}'},
         {"text": '{"data": ["m"]}', "size": 6_000_000}, {"status": 302, "headers": {"Location": "http://169.254.169.254/"}}],
    )  # fmt: skip
    async def test_none_found_is_502_with_the_addresses_and_without_the_key(
        self, me: OwnPilot, offers: str, answers: Any, answer: dict[str, Any]
    ):
        paths = ["/v1/models", "/api/v1/models", "/models"]
        await answers(dict.fromkeys(paths, answer))
        provider = await add(me, offers, "vllm", apiKey=SECRET)
        said = await me.send("POST", f"{provider}/discover")
        refused(said, 502, "BAD_GATEWAY")
        assert said.json()["error"]["details"]["triedUrls"] == [f"{offers}{path}" for path in paths]
        assert SECRET not in said.text
        assert await me.get(f"{provider}/models") == []

    async def test_a_wrong_key_and_a_server_that_is_away_are_502(self, me: OwnPilot, offers: str, answers: Any):
        away = await add(me)
        refused(await me.send("POST", f"{away}/discover"), 502, "BAD_GATEWAY")
        wrong = await add(me, offers, "vllm", name="Other", apiKey=SECRET)
        said = await me.send("POST", f"{wrong}/discover")
        assert "status 401" in str(said.json()["error"]["details"]["reasons"]) and SECRET not in said.text

    async def test_where_it_is_not_allowed_a_private_address_is_not_asked(self, strict_host: StrictHost, offers: str):
        headers = {"X-API-Key": ROOT_KEY}
        strict = OwnPilot(strict_host.http)
        # The local environment lets everyone ask this port of 127.0.0.1, but not of localhost.
        body = {"name": "Mine", "providerType": "ollama", "baseUrl": offers.replace("127.0.0.1", "localhost")}
        made = await strict.data("POST", "/local-providers", headers=headers, json=body)
        said = await strict.send("POST", f"/local-providers/{made['id']}/discover", headers=headers)
        refused(said, 502, "BAD_GATEWAY")
        assert all("not public" in reason for reason in said.json()["error"]["details"]["reasons"])

    async def test_a_key_that_does_not_open_is_told(self, me: OwnPilot, app: None):
        path = await add(me, apiKey=SECRET)
        own = local_providers.of(me.user)
        await own.update(path.rpartition("/")[2], lambda it: setattr(it, "sealed_key", f"gone:{'A' * 60}"))
        refused(await me.send("POST", f"{path}/discover"), 400, "NO_API_KEY")

    async def test_a_provider_that_is_deleted_meanwhile_leaves_no_models(
        self, me: OwnPilot, app: None, monkeypatch: pytest.MonkeyPatch
    ):
        id_ = (await add(me)).rpartition("/")[2]

        async def deleted_meanwhile(*_: Any, **__: Any) -> discovery.Discovered:
            await local_store.delete_provider(me.user, id_)
            return discovery.Discovered("http://a", ["m1", "m2"])

        monkeypatch.setattr(local_store, "discover", deleted_meanwhile)
        with pytest.raises(RecordNotFound):
            await local_store.discover_models(me.user, id_)
        assert await local_store.models_of(me.user) == []

    async def test_an_address_that_never_answers_is_left(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(discovery, "SECONDS", 0.2)

        async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()

        server = await asyncio.start_server(silent, "127.0.0.1", 0)
        async with server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            with pytest.raises(BadGateway) as nothing:
                await discovery.discover(url, None, user_given=False)
        await outbound.close()
        assert [reason.rpartition(": ")[2] for reason in nothing.value.details["reasons"]] == [
            "no answer within 0.2 s"
        ] * 3
