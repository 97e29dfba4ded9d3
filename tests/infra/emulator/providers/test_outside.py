"""The services that tools ask, against what their documentation says of requests and answers."""

from typing import Any

import httpx
import pytest

from infra.emulator.providers import KEY
from infra.emulator.providers.outside import UNKNOWN

BEARER = {"Authorization": f"Bearer {KEY}"}


async def send(url: str, method: str, path: str, **options: Any) -> httpx.Response:
    async with httpx.AsyncClient(base_url=url, trust_env=False) as http:
        return await http.request(method, path, **options)


class TestWeather:
    async def test_open_weather_map(self, url: str):
        asked = {"q": "Bonn", "appid": KEY, "units": "metric"}
        now = (await send(url, "GET", "/data/2.5/weather", params=asked)).json()
        assert (now["name"], now["sys"]["country"], now["main"]["temp"]) == ("Bonn", "DE", 10.0)
        days = (await send(url, "GET", "/data/2.5/forecast", params=asked)).json()
        assert (len(days["list"]), days["city"]["timezone"]) == (40, 3600)
        for path in ("/data/2.5/weather", "/data/2.5/forecast"):
            assert (await send(url, "GET", path, params=asked | {"appid": "x"})).status_code == 401
            assert (await send(url, "GET", path, params=asked | {"q": UNKNOWN})).status_code == 404

    async def test_weather_api(self, url: str):
        asked = {"q": "Bonn", "key": KEY}
        now = (await send(url, "GET", "/v1/current.json", params=asked)).json()
        assert (now["location"]["name"], now["current"]["temp_f"]) == ("Bonn", 50.0)
        days = (await send(url, "GET", "/v1/forecast.json", params=asked | {"days": 2})).json()
        assert [each["date"] for each in days["forecast"]["forecastday"]] == ["2026-01-15", "2026-01-16"]
        assert (await send(url, "GET", "/v1/current.json", params=asked | {"key": "x"})).status_code == 401
        assert (await send(url, "GET", "/v1/current.json", params=asked | {"q": UNKNOWN})).status_code == 400


class TestSearch:
    @pytest.mark.parametrize(
        ("path", "headers", "body", "members"),
        [("/search", BEARER, {"query": "q", "max_results": 2, "search_depth": "basic"}, {"answer", "results"}),
         ("/search", {"X-API-KEY": KEY}, {"q": "q", "num": 2}, {"organic"}),
         ("/chat/completions", BEARER, {"model": "sonar", "messages": [{"role": "user", "content": "q"}]},
          {"choices", "search_results"})],
    )  # fmt: skip
    async def test_each_finds_something_and_wants_its_key(
        self, url: str, path: str, headers: dict[str, str], body: dict[str, Any], members: set[str]
    ):
        assert members <= {*(await send(url, "POST", path, json=body, headers=headers)).json()}
        assert (await send(url, "POST", path, json=body)).status_code == 401


class TestTranslation:
    async def test_a_text_is_marked_with_the_language(self, url: str):
        headers, body = {"Authorization": f"DeepL-Auth-Key {KEY}"}, {"text": ["Hello"], "target_lang": "DE"}
        made = (await send(url, "POST", "/v2/translate", json=body, headers=headers)).json()
        assert made == {"translations": [{"detected_source_language": "EN", "text": "[DE] Hello"}]}
        assert (await send(url, "POST", "/v2/translate", json=body)).status_code == 403
        wrong = body | {"target_lang": "XX"}
        assert (await send(url, "POST", "/v2/translate", json=wrong, headers=headers)).status_code == 400


class TestPages:
    async def test_a_feed_and_a_page(self, url: str):
        feed, page = await send(url, "GET", "/feed.xml"), await send(url, "GET", "/page")
        assert feed.headers["content-type"].startswith("application/rss+xml") and feed.text.count("<item>") == 3
        assert page.headers["content-type"].startswith("text/html")


async def test_a_set_answer_may_come_late(url: str):
    await send(url, "PUT", "/local/answers", json={"/page": {"text": "late", "pause": 0.2}})
    answer = await send(url, "GET", "/page")
    assert answer.text == "late" and answer.elapsed.total_seconds() >= 0.2
