"""Services that a person configures, and their entries."""

import asyncio
from typing import Any

import pytest

from functions.ownpilot import config_services as config_services_routes
from functions.ownpilot.config_services import entries
from functions.ownpilot.config_services.bodies import EntryChange, NewService, ServiceChange
from functions.ownpilot.core.config_records import config_entries, config_services, mask
from functions.ownpilot.core.owner import Person
from shared.http.errors import BadRequest
from shared.http.operations import MAX_CHARACTERS
from shared.tables.client import client
from tests.support.failing import Failing, Killed
from tests.support.ownpilot import OwnPilot, refused

SCHEMA: list[dict[str, Any]] = [
    {"name": "key", "label": "Key", "type": "secret", "required": True},
    {"name": "url", "label": "URL", "type": "url"},
    {"name": "count", "label": "Count", "type": "number"},
    {"name": "on", "label": "On", "type": "boolean"},
    {"name": "kind", "label": "Kind", "type": "select", "options": [{"value": "a", "label": "A"}]},
    {"name": "more", "label": "More", "type": "json"},
    {"name": "place", "label": "Place", "type": "string", "required": True, "defaultValue": "here"},
]
SECRET = "0123456789abcdef"
SHOWN = "0123...cdef"


async def service(me: OwnPilot, name: str = "mine", **members: Any) -> str:
    body = {"name": name, "displayName": "Mine", "category": "other", "configSchema": SCHEMA, "multiEntry": True}
    await me.post("/config-services", **{**body, **members})
    return f"/config-services/{name}/entries"


class TestServices:
    async def test_those_of_the_start_are_there_and_sorted(self, me: OwnPilot):
        found = await me.get("/config-services")
        assert found["count"] == 13 == len(found["services"])
        assert [each["name"] for each in found["services"] if each["category"] == "email"] == ["imap", "smtp"]
        mail = await me.get("/config-services", category="email")
        assert (mail["count"], mail["services"][0]["multiEntry"]) == (2, True)
        assert "weather" in (await me.get("/config-services/categories"))["categories"]

    async def test_one_of_the_start_is_changed_deleted_and_stays_deleted(self, me: OwnPilot):
        changed = await me.data("PUT", "/config-services/deepl", json={"displayName": "D", "name": "other"})
        assert (changed["displayName"], changed["name"], len(changed["configSchema"])) == ("D", "deepl", 2)
        await me.post("/config-services/deepl/entries", data={"api_key": SECRET})
        assert await me.data("DELETE", "/config-services/deepl") == {"deleted": True}
        for method in ("GET", "DELETE", "PUT"):
            refused(await me.send(method, "/config-services/deepl"), 404, "NOT_FOUND")
        assert (await me.get("/config-services"))["count"] == 12
        again = await me.post("/config-services", name="deepl", displayName="D", category="c")
        assert (again["entryCount"], again["configSchema"]) == (0, [])

    @pytest.mark.parametrize(
        "members",
        [{"name": "A"}, {"name": "1a"}, {"name": "a-b"}, {"name": ""}, {"displayName": ""}, {"category": None},
         {"configSchema": [{"name": "a", "type": "colour"}]}, {"configSchema": [{"type": "string"}]},
         {"requiredBy": [{"type": "tool"}]}],
    )  # fmt: skip
    async def test_a_malformed_service_is_refused(self, me: OwnPilot, members: dict[str, Any]):
        body = {"name": "mine", "displayName": "Mine", "category": "c"}
        refused(await me.send("POST", "/config-services", json={**body, **members}), 400, "INVALID_REQUEST")

    async def test_a_name_is_taken_once_by_two_at_the_same_moment(self, me: OwnPilot):
        body = {"name": "mine", "displayName": "Mine", "category": "c"}
        both = await asyncio.gather(*(me.send("POST", "/config-services", json=body) for _ in range(4)))
        assert sorted(answer.status_code for answer in both) == [201, 409, 409, 409]
        refused(await me.send("POST", "/config-services", json={**body, "name": "smtp"}), 409, "CONFLICT")

    async def test_the_numbers(self, me: OwnPilot):
        tool = {"type": "tool", "name": "Weather", "id": "weather"}
        path = await service(me, requiredBy=[tool], isActive=False)
        stats = await me.get("/config-services/stats")
        assert {name: stats[name] for name in stats if name != "categories"} == {
            "total": 14, "active": 13, "configured": 0, "neededByTools": 1, "neededButUnconfigured": 1,
        }  # fmt: skip
        await me.post(path, data={"key": SECRET})
        stats = await me.get("/config-services/stats")
        assert (stats["configured"], stats["neededButUnconfigured"]) == (1, 0)

    async def test_a_deleted_service_takes_its_entries_along(self, me: OwnPilot):
        path = await service(me)
        await me.post(path, data={"key": SECRET})
        await me.data("DELETE", "/config-services/mine")
        assert (await me.get((await service(me)).removesuffix("/entries")))["entries"] == []


class TestEntries:
    async def test_secrets_are_masked_and_sealed(self, me: OwnPilot, app: None):
        path = await service(me)
        made = await me.send("POST", path, json={"data": {"key": SECRET, "url": "https://a.example"}})
        entry = made.json()["data"]
        assert entry["data"] == {"key": SHOWN, "url": "https://a.example"}
        assert (entry["hasSecrets"], entry["secretFields"], entry["label"]) == (True, ["key"], "Default")
        texts = [made.text] + [
            (await me.send("GET", target)).text
            for target in (path, f"{path}/{entry['id']}", "/config-services", "/config-services/mine", "/audit")
        ]
        assert not any(SECRET in text for text in texts)
        stored = await config_entries.of(me.user).get(entry["id"])
        assert SECRET not in stored.model_dump_json() and stored.secrets() == {"key": SECRET}

    async def test_a_mask_that_comes_back_leaves_the_secret(self, me: OwnPilot, app: None):
        path = await service(me)
        entry = await me.post(path, data={"key": SECRET, "count": 1})
        target = f"{path}/{entry['id']}"
        await me.data("PUT", target, json={"data": {**entry["data"], "count": 2}, "label": "L"})
        stored = await config_entries.of(me.user).get(entry["id"])
        assert (stored.secrets(), stored.data, stored.label) == ({"key": SECRET}, {"count": 2}, "L")
        changed = await me.data("PUT", target, json={"data": {"key": "short", "count": None}})
        assert changed["data"] == {"key": "****"}
        await me.data("PUT", target, json={"data": {"key": "****"}})
        assert (await config_entries.of(me.user).get(entry["id"])).secrets() == {"key": "short"}

    @pytest.mark.parametrize(
        ("secret", "shown"), [(SECRET, SHOWN), ("12345678", "1234...5678"), ("1234567", "****"), ("", "")]
    )
    def test_the_mask(self, secret: str, shown: str):
        assert mask(secret) == shown

    @pytest.mark.parametrize(
        ("data", "field"),
        [({}, "key"), ({"key": ""}, "key"), ({"key": 7}, "key"), ({"url": "ftp://a"}, "url"), ({"count": "1"}, "count"),
         ({"count": True}, "count"), ({"on": "true"}, "on"), ({"kind": "b"}, "kind"), ({"nothing": 1}, "nothing")],
    )  # fmt: skip
    async def test_data_must_suit_the_schema(self, me: OwnPilot, data: dict[str, Any], field: str):
        path = await service(me)
        body = {"data": data if field == "key" else {"key": SECRET, **data}}
        assert f"data.{field}" in refused(await me.send("POST", path, json=body), 400, "INVALID_REQUEST")

    async def test_a_required_value_cannot_be_removed(self, me: OwnPilot):
        path = await service(me)
        entry = await me.post(path, data={"key": SECRET, "kind": "a", "more": [1]})
        refused(await me.send("PUT", f"{path}/{entry['id']}", json={"data": {"key": None}}), 400, "INVALID_REQUEST")

    async def test_an_entry_without_a_value_that_is_not_empty_configures_nothing(self, me: OwnPilot):
        schema = [{"name": "key", "type": "secret"}, {"name": "place", "type": "string"}]
        path = await service(me, configSchema=schema)
        entry = await me.post(path, data={"key": "", "place": ""})
        assert (entry["hasSecrets"], entry["secretFields"]) == (False, [])
        assert (await me.get("/config-services/mine"))["isConfigured"] is False
        await me.data("PUT", f"{path}/{entry['id']}", json={"data": {"key": SECRET}})
        assert (await me.get("/config-services/mine"))["isConfigured"] is True
        emptied = await me.data("PUT", f"{path}/{entry['id']}", json={"data": {"key": ""}})
        assert (emptied["data"], emptied["hasSecrets"]) == ({"place": ""}, False)
        assert (await me.get("/config-services/mine"))["isConfigured"] is False

    async def test_a_field_that_becomes_secret_is_sealed(self, me: OwnPilot, app: None):
        path = await service(me, configSchema=[{"name": "a", "type": "string"}])
        entry = await me.post(path, data={"a": SECRET})
        schema = [{"name": "a", "type": "secret"}]
        changed = await me.data("PUT", "/config-services/mine", json={"configSchema": schema})
        assert changed["entries"][0]["data"] == {"a": SHOWN}
        stored = await config_entries.of(me.user).get(entry["id"])
        assert (stored.data, stored.secrets()) == ({}, {"a": SECRET})

    async def test_a_field_becomes_secret_only_after_its_values_are_sealed(
        self, me: OwnPilot, app: None, monkeypatch: pytest.MonkeyPatch
    ):
        path = await service(me, configSchema=[{"name": "a", "type": "string"}])
        entry = await me.post(path, data={"a": SECRET})
        change = ServiceChange.model_validate({"configSchema": [{"name": "a", "type": "secret"}]})
        with monkeypatch.context() as patch:
            patch.setattr(client().wire, "transport", Failing(client().wire.transport, config_services.table, Killed()))
            with pytest.raises(Killed):
                await config_services_routes.update_config_service("mine", change, Person(me.user))
        stored = await config_entries.of(me.user).get(entry["id"])
        assert (stored.data, stored.secrets()) == ({}, {"a": SECRET})

    async def test_secrets_that_do_not_open_are_entered_again(self, me: OwnPilot, app: None):
        path = await service(me)
        entry = await me.post(path, data={"key": SECRET, "count": 1})
        target, broken = f"{path}/{entry['id']}", "lost:AAAA"
        await config_entries.of(me.user).update(entry["id"], lambda it: setattr(it, "sealed", broken))
        shown = await me.get(target)
        assert (shown["data"], shown["hasSecrets"]) == ({"count": 1}, False)
        assert (await me.get("/config-services"))["count"] == 14
        refused(await me.send("PUT", target, json={"data": {"count": 2}}), 400, "INVALID_REQUEST")
        assert (await config_entries.of(me.user).get(entry["id"])).sealed == broken
        assert (await me.data("PUT", target, json={"data": {"key": SECRET}}))["data"] == {"key": SHOWN, "count": 1}

    async def test_there_are_so_many_services_and_entries(
        self, me: OwnPilot, app: None, monkeypatch: pytest.MonkeyPatch
    ):
        path, person = await service(me), Person(me.user)
        await me.post(path, data={"key": SECRET})
        monkeypatch.setattr(config_services_routes, "MAX_SERVICES", 1)
        with pytest.raises(BadRequest, match="delete some first") as refusal:
            new = NewService.model_validate({"name": "more", "displayName": "M", "category": "c"})
            await config_services_routes.create_config_service(new, person)
        assert refusal.value.code == "LIMIT_REACHED"
        monkeypatch.setattr(entries, "MAX_ENTRIES", 1)
        with pytest.raises(BadRequest, match="delete some first") as refusal:
            await entries.create_config_entry("mine", EntryChange(data={"key": SECRET}), person)
        assert refusal.value.code == "LIMIT_REACHED"

    async def test_a_service_and_an_entry_have_as_many_characters_as_any_record(self, me: OwnPilot):
        long = "x" * (MAX_CHARACTERS + 1)
        body = {"name": "mine", "displayName": "Mine", "category": "c"}
        for members in ({"description": long}, {"configSchema": [{"name": "a", "type": "string", "label": long}]}):
            refused(await me.send("POST", "/config-services", json=body | members), 400, "LIMIT_REACHED")
            refused(await me.send("PUT", "/config-services/deepl", json=members), 400, "LIMIT_REACHED")
        path = await service(me)
        refused(await me.send("POST", path, json={"data": {"key": long}}), 400, "LIMIT_REACHED")
        entry = await me.post(path, data={"key": SECRET, "more": "x" * (MAX_CHARACTERS // 2)})
        target = f"{path}/{entry['id']}"
        refused(await me.send("PUT", target, json={"data": {"place": long}}), 400, "LIMIT_REACHED")
        assert await me.get(target) == entry

    async def test_a_service_with_one_entry_refuses_a_second_one_also_at_the_same_moment(self, me: OwnPilot):
        path = await service(me, multiEntry=False)
        body = {"data": {"key": SECRET}}
        both = await asyncio.gather(*(me.send("POST", path, json=body) for _ in range(4)))
        assert sorted(answer.status_code for answer in both) == [201, 409, 409, 409]
        refused(await me.send("POST", path, json=body), 409, "CONFLICT")
        entry = (await me.get(path))["entries"][0]
        await me.data("DELETE", f"{path}/{entry['id']}")
        await me.post(path, **body)

    async def test_one_entry_is_the_default_at_every_moment(self, me: OwnPilot):
        path = await service(me)
        first, second, third = [await me.post(path, data={"key": SECRET}, label=label) for label in "abc"]

        async def defaults() -> list[str]:
            return [entry["label"] for entry in (await me.get(path))["entries"] if entry["isDefault"]]

        assert (first["isDefault"], second["isDefault"], await defaults()) == (True, False, ["a"])
        answer = await me.data("PUT", f"{path}/{second['id']}/default")
        assert (answer["entry"]["isDefault"], await defaults()) == (True, ["b"])
        await me.data("PUT", f"{path}/{third['id']}", json={"isDefault": True})
        assert await defaults() == ["c"]
        await asyncio.gather(*(me.data("PUT", f"{path}/{each['id']}/default") for each in (first, second, third) * 2))
        assert len(await defaults()) == 1
        await me.data("PUT", f"{path}/{third['id']}/default")
        await me.data("DELETE", f"{path}/{third['id']}")
        assert await defaults() == ["a"]

    async def test_an_entry_of_another_service_is_not_found(self, me: OwnPilot):
        path, other = await service(me), await service(me, "other")
        entry = await me.post(path, data={"key": SECRET})
        for method, target in (("GET", ""), ("PUT", ""), ("DELETE", ""), ("PUT", "/default")):
            refused(await me.send(method, f"{other}/{entry['id']}{target}", json={}), 404, "NOT_FOUND")
        refused(await me.send("GET", "/config-services/nothing/entries"), 404, "NOT_FOUND")
        assert (await me.get(path))["count"] == 1
