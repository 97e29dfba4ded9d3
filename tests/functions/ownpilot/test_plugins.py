"""Plugins: listed, switched, restricted and set up, each for one person."""

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from functions.ownpilot.core import plugin_state
from functions.ownpilot.core.tool_context import ToolContext
from functions.ownpilot.plugins import manifests as module
from functions.ownpilot.plugins.manifests import known_plugins, read_manifests
from functions.ownpilot.tools.registry import built_in, members_of
from functions.ownpilot.tools.use import use_tool
from shared.recent import RecentValues
from tests.support.ownpilot import OwnPilot, data_of, refused
from tests.support.waiting import eventually

IDS = [
    "weather", "news-rss", "code-assistant", "reminder", "clipboard-manager", "advanced-calculator", "expense-tracker",
    "email-assistant", "translation", "web-search", "text-utils", "pomodoro",
]  # fmt: skip


async def names_of_tools(me: OwnPilot) -> set[str]:
    return {each["name"] for each in await me.get("/tools")}


async def execute(me: OwnPilot, name: str, **arguments: Any) -> dict[str, Any]:
    return await me.post(f"/tools/{name}/execute", arguments=arguments)


class TestManifests:
    def test_the_tools_of_the_manifests_are_the_tools_that_there_are(self):
        assert [*known_plugins()] == IDS
        listed = {name: each.id for each in known_plugins().values() for name in each.tools}
        assert listed == {name: each.plugin for name, each in built_in().items() if each.plugin}
        assert len(listed) == 34 == sum(each.category == "plugins" for each in built_in().values())

    def test_some_groups_of_an_agent_are_the_tools_of_a_plugin(self):
        assert members_of(["weather", "webFetch"]) == [
            "weather_current", "weather_forecast", "web_search", "web_extract",
        ]  # fmt: skip
        assert len(members_of(["email", "translation"])) == 7 and len(members_of(["plugins"])) == 34

    def test_a_file_that_cannot_be_read_changes_nothing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        known = dict(known_plugins())
        broken = tmp_path / "manifests.json"
        monkeypatch.setattr(module, "_FILE", broken)
        for text in ("[{", '[{"id": "x"}]'):
            broken.write_text(text)
            with pytest.raises((ValueError, TypeError, KeyError)):
                read_manifests()
            assert dict(known_plugins()) == known


class TestLists:
    async def test_all_are_there_and_switched_on_with_what_they_ask_for(self, me: OwnPilot):
        found = {each["id"]: each for each in await me.get("/plugins")}
        assert [*found] == IDS
        for each in found.values():
            assert each["status"] == "enabled" and each["grantedPermissions"] == each["permissions"]
            assert each["toolCount"] == len(each["tools"]) and each["handlerCount"] == 0
            assert each["hasSettings"] is bool(each["pluginConfigSchema"]) is bool(each["settings"])
        weather = found["weather"]
        assert weather["permissions"] == ["network"] and weather["settings"]["units"] == "metric"
        assert weather["requiredServices"] == [
            {"name": "openweathermap", "displayName": "OpenWeatherMap", "isConfigured": False},
            {"name": "weatherapi", "displayName": "WeatherAPI", "isConfigured": False},
        ]
        assert {name for name, each in found.items() if each["hasUnconfiguredServices"]} == {
            "weather", "email-assistant", "translation", "web-search",
        }  # fmt: skip

    async def test_lists_are_filtered_by_status_and_capability(self, me: OwnPilot):
        await me.post("/plugins/pomodoro/disable")
        for status in ("enabled", "active"):
            assert {each["id"] for each in await me.get("/plugins", status=status)} == {*IDS} - {"pomodoro"}
        assert [each["id"] for each in await me.get("/plugins", status="disabled")] == ["pomodoro"]
        assert await me.get("/plugins", status="error") == []
        assert len(await me.get("/plugins", status="", capability="")) == 12
        assert "weather" in {each["id"] for each in await me.get("/plugins", capability="integrations")}
        assert await me.get("/plugins", capability="unheard of") == []
        refused(await me.send("GET", "/plugins", params={"status": "sleepy"}), 400, "INVALID_REQUEST")

    async def test_one_plugin_is_shown_with_its_tools(self, me: OwnPilot):
        shown = await me.get("/plugins/news-rss")
        assert [each["name"] for each in shown["toolsDetailed"]] == shown["tools"] == [
            "news_add_feed", "news_list_feeds", "news_get_latest",
        ]  # fmt: skip
        assert shown["toolsDetailed"][0]["parameters"]["required"] == ["url"]
        assert shown["config"] == {
            "enabled": True, "grantedPermissions": ["network", "storage"], "settings": {"itemsPerFeed": 10},
        }  # fmt: skip
        assert shown["configSchema"] == shown["pluginConfigSchema"] and shown["handlersInfo"] == []

    async def test_numbers(self, me: OwnPilot):
        await me.post("/plugins/weather/disable")
        stats = await me.get("/plugins/stats")
        assert {name: stats[name] for name in ("total", "enabled", "disabled", "error", "totalTools")} == {
            "total": 12, "enabled": 11, "disabled": 1, "error": 0, "totalTools": 34,
        }  # fmt: skip
        assert stats["byCapability"]["tools"] == 12 and stats["byPermission"]["network"] == 5

    @pytest.mark.parametrize(
        ("method", "path", "body"),
        [("GET", "", None), ("POST", "/enable", {}), ("POST", "/disable", {}), ("GET", "/settings", None),
         ("POST", "/permissions", {"permissions": []}), ("PUT", "/settings", {"settings": {}})],
    )  # fmt: skip
    async def test_an_unknown_plugin_is_not_found(self, me: OwnPilot, method: str, path: str, body: Any):
        refused(await me.send(method, f"/plugins/nothing{path}", json=body), 404, "NOT_FOUND")


class TestSwitch:
    async def test_tools_of_a_switched_off_plugin_vanish_and_come_back(self, me: OwnPilot, http: httpx.AsyncClient):
        assert (await execute(me, "text_encode", text="a", encoding="hex"))["result"] == "61"
        answer = await me.post("/plugins/text-utils/disable")
        assert (answer["plugin"]["id"], answer["plugin"]["status"]) == ("text-utils", "disabled")
        assert "text_encode" not in await names_of_tools(me)
        refused(await me.send("GET", "/tools/text_encode"), 404)
        refused(await me.send("POST", "/tools/text_encode/execute", json={"arguments": {}}), 404)
        batch = await me.post("/tools/batch", executions=[{"tool": "text_encode", "arguments": {"text": "a"}}])
        assert batch["failureCount"] == 1
        assert "text_encode" in await names_of_tools(OwnPilot(http))  # another person's choice is that person's
        assert (await me.post("/plugins/text-utils/enable"))["plugin"]["status"] == "enabled"
        assert (await me.post("/plugins/text-utils/enable"))["plugin"]["status"] == "enabled"
        assert (await execute(me, "text_encode", text="a", encoding="hex"))["result"] == "61"

    @pytest.mark.usefixtures("app")
    async def test_a_model_in_another_process_loses_them_after_a_moment(
        self, me: OwnPilot, monkeypatch: pytest.MonkeyPatch
    ):
        assert plugin_state._recent._seconds <= 5
        monkeypatch.setattr(plugin_state, "_recent", RecentValues(seconds=0.2))
        context = ToolContext(me.user, source="chat")
        assert not (await use_tool(context, "text_count", {"text": "a"})).is_error
        await me.post("/plugins/text-utils/disable")

        async def is_gone() -> bool:
            return "no tool named" in (await use_tool(context, "text_count", {"text": "a"})).content

        await eventually(is_gone)

    async def test_changes_are_audited(self, me: OwnPilot):
        await me.post("/plugins/weather/disable")
        await me.post("/plugins/weather/enable")
        await me.post("/plugins/weather/permissions", permissions=[])
        await me.data("PUT", "/plugins/weather/settings", json={"settings": {"units": "imperial"}})
        events = (await me.get("/audit", limit=10))["events"]
        assert [(each["type"], each["resource"]["id"]) for each in events[::-1]] == [
            (f"plugin.{action}", "weather") for action in ("disable", "enable", "permissions", "settings")
        ]


class TestPermissions:
    async def test_a_tool_without_a_permission_refuses_and_says_which(self, me: OwnPilot):
        assert (await execute(me, "reminder_list"))["isError"] is False
        assert (await me.post("/plugins/reminder/permissions", permissions=[]))["grantedPermissions"] == []
        done = await execute(me, "reminder_list")
        assert done["isError"] is True and "'storage'" in done["result"], done
        answer = await me.post("/plugins/reminder/permissions", permissions=["storage", "storage"])
        assert answer["grantedPermissions"] == ["storage"]
        assert (await execute(me, "reminder_list"))["isError"] is False
        assert (await me.get("/plugins/reminder"))["config"]["grantedPermissions"] == ["storage"]

    async def test_tools_that_need_none_of_what_is_missing_work_on(self, me: OwnPilot):
        await me.post("/plugins/translation/permissions", permissions=[])
        assert (await execute(me, "detect_language", text="Where is the nearest station?"))["isError"] is False
        assert "'network'" in (await execute(me, "translate_text", text="a", target_lang="DE"))["result"]

    @pytest.mark.parametrize(
        ("body", "code"),
        [({"permissions": ["shell"]}, "BAD_REQUEST"), ({"permissions": "network"}, "INVALID_REQUEST"),
         ({"permissions": [1]}, "INVALID_REQUEST"), ({}, "INVALID_REQUEST"),
         ({"permissions": None}, "INVALID_REQUEST")],
    )  # fmt: skip
    async def test_only_what_a_plugin_asks_for_is_granted(self, me: OwnPilot, body: Any, code: str):
        refused(await me.send("POST", "/plugins/weather/permissions", json=body), 400, code)
        assert (await me.get("/plugins/weather"))["grantedPermissions"] == ["network"]


class TestSettings:
    async def test_settings_are_merged_and_null_brings_the_default_back(self, me: OwnPilot):
        shown = await me.get("/plugins/weather/settings")
        assert shown["pluginId"] == "weather"
        assert shown["settings"] == shown["defaultConfig"] == {"service": "automatic", "units": "metric"}
        assert [each["name"] for each in shown["pluginConfigSchema"]] == ["service", "units"]

        async def put(**settings: Any) -> dict[str, Any]:
            return (await me.data("PUT", "/plugins/weather/settings", json={"settings": settings}))["settings"]

        assert await put(units="imperial") == {"service": "automatic", "units": "imperial"}
        assert await put(service="weatherapi") == {"service": "weatherapi", "units": "imperial"}
        assert await put(units=None) == {"service": "weatherapi", "units": "metric"}
        assert await put() == (await me.get("/plugins/weather"))["settings"]

    @pytest.mark.parametrize(
        ("plugin", "body"),
        [("weather", {}), ("weather", {"settings": None}), ("weather", {"settings": []}),
         ("weather", {"settings": "x"}),
         ("weather", {"settings": {"units": "kelvin"}}), ("weather", {"settings": {"units": ["metric"]}}),
         ("weather", {"settings": {"colour": 1}}), ("news-rss", {"settings": {"itemsPerFeed": "3"}}),
         ("email-assistant", {"settings": {"signature": 3}}), ("pomodoro", {"settings": {"a": 1}})],
    )  # fmt: skip
    async def test_wrong_settings_are_refused(self, me: OwnPilot, plugin: str, body: Any):
        before = await me.get(f"/plugins/{plugin}/settings")
        refused(await me.send("PUT", f"/plugins/{plugin}/settings", json=body), 400, "INVALID_REQUEST")
        assert await me.get(f"/plugins/{plugin}/settings") == before

    async def test_two_changes_at_the_same_moment_are_both_kept(self, me: OwnPilot):
        changes = [{"units": "imperial"}, {"service": "weatherapi"}]
        put = (me.data("PUT", "/plugins/weather/settings", json={"settings": each}) for each in changes)
        await asyncio.gather(*put, me.post("/plugins/weather/disable"))
        shown = await me.get("/plugins/weather")
        assert (shown["settings"], shown["status"]) == ({"service": "weatherapi", "units": "imperial"}, "disabled")

    async def test_a_setting_counts_for_the_tools_at_once(self, me: OwnPilot):
        await me.data("PUT", "/plugins/code-assistant/settings", json={"settings": {"indent": 2}})
        done = await execute(me, "code_format", code="if 1:\n      pass", language="python")
        assert json.loads(done["result"])["code"] == "if 1:\n  pass\n"


class TestServices:
    async def test_one_of_services_that_stand_for_each_other_is_enough(self, me: OwnPilot):
        await me.post("/config-services/weatherapi/entries", data={"api_key": "some-key"})
        await me.post(
            "/config-services/smtp/entries",
            data={"host": "mail.example", "user": "me@mail.example", "password": "secret-word"},
        )
        found = {each["id"]: each for each in await me.get("/plugins")}
        assert [each["isConfigured"] for each in found["weather"]["requiredServices"]] == [False, True]
        assert found["weather"]["hasUnconfiguredServices"] is False
        assert [each["isConfigured"] for each in found["email-assistant"]["requiredServices"]] == [True, False]
        assert found["email-assistant"]["hasUnconfiguredServices"] is True
        assert "secret-word" not in json.dumps([*found.values()])

    async def test_all_are_read_again(self, me: OwnPilot):
        answer = data_of(await me.send("POST", "/plugins/reload"))
        assert answer["reloaded"] == 12 and answer["message"]
        assert len(await me.get("/plugins")) == 12
