"""The tools that ask the outside: what they answer, and what they say when something is wrong out there."""

import json
from typing import Any

import httpx
import pytest

from functions.ownpilot.core.plugin_state import plugin_items
from functions.ownpilot.core.tool_context import ToolContext
from functions.ownpilot.tools import feeds, outside
from functions.ownpilot.tools.page_text import page_text
from functions.ownpilot.tools.use import use_tool
from infra.emulator.providers import KEY
from infra.emulator.providers.outside import UNKNOWN
from infra.local.environment import Environment
from tests.support.outside import Outside, failed, run
from tests.support.ownpilot import OwnPilot

PRIVATE = ["http://127.0.0.1:9", "http://localhost:9", "http://169.254.169.254", "http://[::1]:9", "http://0x7f000001"]
"""Addresses that are refused."""


async def configure(me: OwnPilot, service: str, url: str | None, key: str = KEY) -> None:
    """Store a key and an address for a service."""
    data = {"api_key": key} | ({"base_url": url} if url else {})
    await me.post(f"/config-services/{service}/entries", data=data)


SERVICES: list[tuple[str, str, dict[str, Any], str]] = [
    ("openweathermap", "weather_current", {"city": "Bonn"}, "/data/2.5/weather"),
    ("openweathermap", "weather_forecast", {"city": "Bonn"}, "/data/2.5/forecast"),
    ("weatherapi", "weather_current", {"city": "Bonn"}, "/v1/current.json"),
    ("weatherapi", "weather_forecast", {"city": "Bonn"}, "/v1/forecast.json"),
    ("deepl", "translate_text", {"text": "Hello", "target_lang": "de"}, "/v2/translate"),
    ("tavily", "web_search", {"query": "frogs"}, "/search"),
    ("serper", "web_search", {"query": "frogs"}, "/search"),
    ("perplexity", "web_search", {"query": "frogs"}, "/chat/completions"),
]
"""Each tool with each of its services, and the path that it asks."""
NAMES = [f"{tool} of {service}" for service, tool, _, _ in SERVICES]


@pytest.mark.parametrize(("service", "tool", "arguments", "path"), SERVICES, ids=NAMES)
class TestServices:
    """What all tools have in common that ask a service."""

    async def test_it_answers_and_refusals_garbage_and_silence_are_told(
        self, me: OwnPilot, world: Outside, monkeypatch: pytest.MonkeyPatch,
        service: str, tool: str, arguments: dict[str, Any], path: str,
    ):  # fmt: skip
        told = await failed(me, tool, **arguments)
        assert "not configured" in told and service in told
        await configure(me, service, world.url)
        assert await run(me, tool, **arguments)
        for text in ("<html>", "[1]", "{}", '{"results": 3, "choices": [], "list": {}}'):
            await world.answers(path, text=text)
            told = await failed(me, tool, **arguments)
            assert "usable answer" in told or "not known" in told, told
        await world.answers(path, text="{}", size=outside.MAX_ANSWER)
        assert "longer than the limit" in await failed(me, tool, **arguments)
        for status, said in ((429, "too many requests"), (500, "status 500")):
            await world.answers(path, status=status)
            assert said in await failed(me, tool, **arguments)
        await world.answers(path, status=302, headers={"Location": "http://127.0.0.1:9/"})
        assert "not public" in await failed(me, tool, **arguments)
        monkeypatch.setattr(outside, "SILENCE", 0.2)
        await world.answers(path, text="{}", pause=5)
        assert "silent" in await failed(me, tool, **arguments)

    async def test_a_wrong_key_and_a_private_address_are_refused(
        self, me: OwnPilot, http: httpx.AsyncClient, world: Outside,
        service: str, tool: str, arguments: dict[str, Any], path: str,
    ):  # fmt: skip
        await configure(me, service, world.url, key="wrong-key-of-mine")
        told = await failed(me, tool, **arguments)
        assert "API key" in told and "wrong-key" not in told
        other = OwnPilot(http)
        await configure(other, service, PRIVATE[0])
        assert "not public" in await failed(other, tool, **arguments)


class TestWeather:
    @pytest.mark.parametrize("service", ["openweathermap", "weatherapi"])
    async def test_both_services_tell_the_same(self, me: OwnPilot, world: Outside, service: str):
        await configure(me, service, world.url)
        now = await run(me, "weather_current", city="Bonn")
        assert {name: now[name] for name in ("city", "temperature", "feelsLike", "humidity", "wind", "units")} == {
            "city": "Bonn", "temperature": 10, "feelsLike": 8, "humidity": 70, "wind": 18,
            "units": {"temperature": "°C", "wind": "km/h"},
        }  # fmt: skip
        other = await run(me, "weather_current", city="Bonn", units="imperial")
        assert (other["temperature"], other["wind"], other["units"]["temperature"]) == (50, 11.2, "°F")
        days = (await run(me, "weather_forecast", city="Bonn", days=2))["days"]
        assert [each["date"] for each in days] == ["2026-01-15", "2026-01-16"]
        assert (days[0]["low"], days[0]["wind"], days[0]["description"].lower()) == (9, 18, "light rain")
        assert "does not know this place" in await failed(me, "weather_current", city=UNKNOWN)
        assert "does not know this place" in await failed(me, "weather_forecast", city=UNKNOWN)

    async def test_the_settings_choose_service_and_units(self, me: OwnPilot, world: Outside):
        await configure(me, "openweathermap", world.url)
        await configure(me, "weatherapi", world.url)
        assert (await run(me, "weather_current", city="Bonn"))["source"] == "OpenWeatherMap"
        settings = {"service": "weatherapi", "units": "imperial"}
        other = OwnPilot(me.http)
        await configure(other, "openweathermap", world.url)
        await other.data("PUT", "/plugins/weather/settings", json={"settings": settings})
        assert "weatherapi, which is not configured" in await failed(other, "weather_current", city="Bonn")
        await configure(other, "weatherapi", world.url)
        now = await run(other, "weather_forecast", city="Bonn")
        assert (now["source"], now["units"]["wind"]) == ("WeatherAPI", "mph")

    async def test_an_entry_or_a_service_that_is_switched_off_is_not_used(self, me: OwnPilot, world: Outside):
        await configure(me, "openweathermap", world.url)
        await me.data("PUT", "/config-services/openweathermap", json={"isActive": False})
        assert "not configured" in await failed(me, "weather_current", city="Bonn")

    async def test_it_works_in_the_running_app(self, me: OwnPilot, stack: Environment):
        await configure(me, "weatherapi", f"http://127.0.0.1:{stack.ports['providers']}")
        done = await me.post("/tools/weather_current/execute", arguments={"city": "Bonn"})
        assert done["isError"] is False and json.loads(done["result"])["temperature"] == 10


class TestSearch:
    @pytest.mark.parametrize("service", ["perplexity", "serper", "tavily"])
    async def test_results_are_alike_whatever_service_finds_them(self, me: OwnPilot, world: Outside, service: str):
        for each in ("perplexity", "serper", "tavily"):
            await configure(me, each, world.url)
        await me.data("PUT", "/plugins/web-search/settings", json={"settings": {"service": service}})
        found = await run(me, "web_search", query="frogs", max_results=3)
        assert [each["url"] for each in found["results"]] == [f"https://found.example/{at}" for at in (1, 2, 3)]
        assert (found["query"], found["source"].lower()) == ("frogs", service)

    async def test_depth_and_numbers_are_passed_on(self, me: OwnPilot, world: Outside):
        await configure(me, "tavily", world.url)
        found = await run(me, "web_search", query="frogs", depth="advanced", max_results=100)
        assert (found["answer"], len(found["results"])) == ("advanced", 20)
        assert len((await run(me, "web_search", query="frogs"))["results"]) == 5


class TestPages:
    async def test_a_page_is_read_without_what_nobody_sees(self, me: OwnPilot, world: Outside):
        page = await run(me, "web_extract", url=f"{world.url}/page")
        assert (page["title"], page["description"]) == ("A page", "What it is about")
        assert page["text"].split("\n") == ["Heading", "One & two.", "First", "Second"]

    @pytest.mark.parametrize("url", [*PRIVATE, "ftp://example.com", "nothing", "http://", "file:///etc/passwd"])
    async def test_only_public_pages_are_read(self, me: OwnPilot, world: Outside, url: str):
        assert "The page cannot be read" in await failed(me, "web_extract", url=url)
        assert "no feed" in await failed(me, "news_add_feed", url=url)

    async def test_what_is_no_page_is_told(self, me: OwnPilot, world: Outside, monkeypatch: pytest.MonkeyPatch):
        kind = {"Content-Type": "text/html; charset=iso-8859-1"}
        for headers, expected in ((kind, "Ã¼"), ({"Content-Type": "text/plain"}, "ü")):
            await world.answers("/page", text="ü", headers=headers)
            assert (await run(me, "web_extract", url=f"{world.url}/page"))["text"] == expected
        await world.answers("/page", text="<meta charset='latin-1'>ü", headers={"Content-Type": "text/html"})
        assert (await run(me, "web_extract", url=f"{world.url}/page"))["text"] == "Ã¼"
        await world.answers("/page", text="x", headers={"Content-Type": "text/html; charset=unheard-of"})
        assert (await run(me, "web_extract", url=f"{world.url}/page"))["text"] == "x"
        await world.answers("/page", text="x", headers={"Content-Type": "image/png"})
        assert "image/png" in await failed(me, "web_extract", url=f"{world.url}/page")
        await world.answers("/page", status=404)
        assert "status 404" in await failed(me, "web_extract", url=f"{world.url}/page")
        await world.answers("/page", text="y " * 60_000, headers={"Content-Type": "text/plain"})
        assert (await run(me, "web_extract", url=f"{world.url}/page"))["charactersLeftOut"] == 70_000

    @pytest.mark.parametrize("charset", ["punycode", "idna", "undefined", "utf-7"])
    async def test_a_page_is_read_whatever_charset_it_names(self, me: OwnPilot, world: Outside, charset: str):
        await world.answers(
            "/page", text="-a" * 500 + "+2AA-", headers={"Content-Type": f"text/plain;charset={charset}"}
        )
        text = (await run(me, "web_extract", url=f"{world.url}/page"))["text"]
        assert text == "-a" * 500 + ("?" if charset == "utf-7" else "+2AA-")

    @pytest.mark.parametrize("part", ["<script", "<!--", "<a ", "<", "<a href='", "&#", "<title>", "<a =", "<p>"])
    def test_no_page_takes_long(self, part: str):
        """The standard library's parser needs minutes for some of these."""
        for end in ("", ">"):
            page_text(part * (300_000 // len(part)) + end)

    @pytest.mark.parametrize(
        ("page", "text"),
        [("a<script>" + "x" * 200_000 + "</SCRIPT >b<!-- <p> -->c", "abc"), ("1 < 2 and 3 > 2", "1 < 2 and 3 > 2"),
         ("a <b", "a <b"), ("<p>a&nbsp;&lt;b&gt;</p>", "a <b>"), ("one\n\ttwo<br>three", "one two\nthree"),
         ("<script>never closed", "never closed"), ("&#" + "9" * 5000 + ";", "&#" + "9" * 5000 + ";"),
         ("İ<SCRIPT>x</script>y", "İxy"), ("", "")],
        ids=range(9),
    )  # fmt: skip
    def test_a_page_is_read_as_far_as_it_goes(self, page: str, text: str):
        assert page_text(page).text == text

    def test_title_and_description_are_found_however_they_are_written(self):
        page = "<TITLE>A &amp; <b>b</TITLE><META CONTENT='What it &lt;is' PROPERTY=og:description>x"
        assert page_text(page)[:2] == ("A &", "What it <is")
        assert page_text('<meta name="description"><meta name=keywords content=a>').description == ""


class TestFeeds:
    async def test_feeds_are_kept_listed_and_read(self, me: OwnPilot, world: Outside):
        assert "add one" in await failed(me, "news_get_latest")
        made = await run(me, "news_add_feed", url=f"{world.url}/feed.xml", category="world")
        assert made == {
            "feed": {"url": f"{world.url}/feed.xml", "title": "Stand-in news", "category": "world"}, "items": 3,
        }  # fmt: skip
        assert await run(me, "news_add_feed", url=f" {world.url}/feed.xml", category="other") == made
        await run(me, "news_add_feed", url=f"{world.url}/feed.xml?second")
        listed = await run(me, "news_list_feeds")
        assert (listed["total"], [each.get("category") for each in listed["feeds"]]) == (2, ["world", None])
        latest = await run(me, "news_get_latest", limit=3)
        assert latest["total"] == 6 and "failed" not in latest
        assert [(each["title"], each["published"]) for each in latest["items"]] == [
            ("Second", "2026-01-15T10:00:00.000Z"), ("Second", "2026-01-15T10:00:00.000Z"),
            ("First", "2026-01-14T10:00:00.000Z"),
        ]  # fmt: skip
        assert latest["items"][0]["summary"] == "About Second" and latest["items"][0]["feed"] == "Stand-in news"
        undated = (await run(me, "news_get_latest"))["items"][-1]
        assert undated["title"] == "Undated" and "published" not in undated

    async def test_a_feed_that_fails_does_not_hide_the_others(self, me: OwnPilot, world: Outside):
        for path in ("/feed.xml", "/feed.xml?second"):
            await run(me, "news_add_feed", url=f"{world.url}{path}")
        await run(me, "news_get_latest")
        feed = (await plugin_items.of(me.user).page()).items[0]
        await plugin_items.of(me.user).update(feed.id, lambda it: setattr(it, "content", "http://127.0.0.1:9/x"))
        latest = await run(me, "news_get_latest")
        assert latest["total"] == 3 and "not public" in latest["failed"][0]["error"]

    @pytest.mark.parametrize(
        ("answer", "told"),
        [({"text": "<html><body>no"}, "neither RSS nor Atom"), ({"text": ""}, "neither RSS nor Atom"),
         ({"text": "\x00\x01"}, "neither RSS nor Atom"), ({"status": 404}, "status 404"),
         ({"text": "<rss>", "size": feeds.MAX_FEED}, "longer than the limit")],
    )  # fmt: skip
    async def test_what_is_no_feed_is_not_kept(self, me: OwnPilot, world: Outside, answer: dict[str, Any], told: str):
        await world.answers("/feed.xml", **answer)
        assert told in await failed(me, "news_add_feed", url=f"{world.url}/feed.xml")
        assert "user name" in await failed(me, "news_add_feed", url="https://me:secret@feeds.example/x")
        assert (await run(me, "news_list_feeds"))["total"] == 0

    @pytest.mark.parametrize("kind", ["text/xml; charset=punycode", "application/xml"])
    async def test_a_feed_is_not_decoded_from_punycode(self, me: OwnPilot, world: Outside, kind: str):
        text = f"<?xml version='1.0' encoding='punycode'?><rss version='2.0'><channel><title>Neüs</title>{' ' * 300}"
        await world.answers("/feed.xml", text=text.encode("punycode").decode(), headers={"Content-Type": kind})
        assert (await run(me, "news_add_feed", url=f"{world.url}/feed.xml"))["feed"]["title"] == "Nes"

    async def test_entities_of_a_feed_are_not_multiplied(self, me: OwnPilot, world: Outside):
        bomb = "<!DOCTYPE x [<!ENTITY a 'aaaaaaaaaa'>" + "".join(
            f"<!ENTITY {chr(98 + n)} '{f'&{chr(97 + n)};' * 10}'>" for n in range(9)
        )
        text = f"{bomb}]><rss version='2.0'><channel><title>&j;</title><item><title>t</title></item></channel></rss>"
        await world.answers("/feed.xml", text=text, headers={"Content-Type": "application/rss+xml"})
        result = await use_tool(ToolContext(me.user), "news_add_feed", {"url": f"{world.url}/feed.xml"})
        assert len(result.content) < 2000

    async def test_a_person_keeps_fifty_at_most_and_they_end_in_time(
        self, me: OwnPilot, world: Outside, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(feeds, "MAX_FEEDS", 2)
        for path in ("/feed.xml", "/feed.xml?second"):
            await run(me, "news_add_feed", url=f"{world.url}{path}")
        assert "2 feeds already" in await failed(me, "news_add_feed", url=f"{world.url}/feed.xml?third")
        monkeypatch.setattr(feeds, "_SECONDS", 0.3)
        await world.answers("/feed.xml", pause=5)
        latest = await run(me, "news_get_latest")
        assert [each["error"] for each in latest["failed"]] == ["it took too long"] * 2


class TestTranslation:
    async def test_texts_are_translated_and_the_manner_is_passed_on(self, me: OwnPilot, world: Outside):
        await configure(me, "deepl", world.url)
        await me.data("PUT", "/plugins/translation/settings", json={"settings": {"formality": "prefer_more"}})
        made = await run(me, "translate_text", text="Hello", target_lang="de")
        assert made == {"text": "[DE/prefer_more] Hello", "from": "EN", "to": "DE"}
        assert (await run(me, "translate_text", text="Hello", target_lang="PT-BR", source_lang="fr"))["from"] == "FR"
        assert "between these languages" in await failed(me, "translate_text", text="Hello", target_lang="xx")
        for wrong in ("", "German", "d\ne"):
            assert "target_lang" in await failed(me, "translate_text", text="Hello", target_lang=wrong)
        await world.answers("/v2/translate", status=456)
        assert "account allows" in await failed(me, "translate_text", text="Hello", target_lang="de")
