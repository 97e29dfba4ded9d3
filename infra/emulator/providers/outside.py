"""Services that tools of an assistant ask: weather, search, translation; and a feed and a page to read.

Each asks for its key, `KEY`, where the real one does. The place `Nowhere` is one that no weather service knows.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

from aiohttp import web

from infra.emulator.providers import KEY

UNKNOWN = "Nowhere"
NOON = datetime(2026, 1, 15, 12, tzinfo=UTC)
"""The time of all weather."""


def routes() -> list[web.AbstractRouteDef]:
    """The operations of these services."""
    return [
        web.get("/data/2.5/weather", map_weather),
        web.get("/data/2.5/forecast", map_forecast),
        web.get("/v1/current.json", api_weather),
        web.get("/v1/forecast.json", api_weather),
        web.post("/v2/translate", translate),
        web.post("/search", search),
        web.post("/chat/completions", search_and_answer),
        web.get("/feed.xml", feed),
        web.get("/page", page),
    ]


def _map_refusal(request: web.Request) -> web.Response | None:
    if request.query.get("appid") != KEY:
        return web.json_response({"cod": 401, "message": "Invalid API key."}, status=401)
    if request.query.get("q") == UNKNOWN:
        return web.json_response({"cod": "404", "message": "city not found"}, status=404)
    return None


def _map_moment(request: web.Request, at: datetime, warmer: int) -> dict[str, Any]:
    is_metric = request.query.get("units") == "metric"
    degrees = 10.0 + warmer if is_metric else 50.0 + 2 * warmer
    main = {"temp": degrees, "feels_like": degrees - 2, "temp_min": degrees - 1, "temp_max": degrees + 1}
    return {
        "dt": int(at.timestamp()), "main": {**main, "pressure": 1015, "humidity": 70},
        "weather": [{"id": 500, "main": "Rain", "description": "light rain", "icon": "10d"}],
        "wind": {"speed": 5.0 if is_metric else 11.2, "deg": 240}, "clouds": {"all": 75},
    }  # fmt: skip


async def map_weather(request: web.Request) -> web.Response:
    """GET /data/2.5/weather of OpenWeatherMap."""
    place = {"id": 1, "name": request.query.get("q", ""), "sys": {"country": "DE"}, "timezone": 3600, "cod": 200}
    return _map_refusal(request) or web.json_response({**_map_moment(request, NOON, 0), **place})


async def map_forecast(request: web.Request) -> web.Response:
    """GET /data/2.5/forecast of OpenWeatherMap: five days in parts of three hours."""
    parts = [
        {**_map_moment(request, NOON + timedelta(hours=3 * place), place % 8), "pop": 0.1 * (place % 8)}
        for place in range(40)
    ]
    city = {"id": 1, "name": request.query.get("q", ""), "country": "DE", "timezone": 3600}
    return _map_refusal(request) or web.json_response({"cod": "200", "cnt": 40, "list": parts, "city": city})


async def api_weather(request: web.Request) -> web.Response:
    """GET /v1/current.json and /v1/forecast.json of WeatherAPI."""
    query = request.query
    if query.get("key") != KEY:
        return web.json_response({"error": {"code": 2006, "message": "API key is invalid."}}, status=401)
    if query.get("q") == UNKNOWN:
        return web.json_response({"error": {"code": 1006, "message": "No matching location found."}}, status=400)
    words = {"text": "Light rain", "icon": "//cdn.example/296.png", "code": 1183}
    now = {
        "temp_c": 10.0, "temp_f": 50.0, "feelslike_c": 8.0, "feelslike_f": 46.4, "wind_kph": 18.0, "wind_mph": 11.2,
        "humidity": 70, "pressure_mb": 1015.0, "condition": words,
    }  # fmt: skip
    answer: dict[str, Any] = {"location": {"name": query.get("q"), "country": "Germany"}, "current": now}
    if request.path.endswith("forecast.json"):
        day = {
            "mintemp_c": 9.0, "mintemp_f": 48.2, "maxtemp_c": 11.0, "maxtemp_f": 51.8, "maxwind_kph": 18.0,
            "maxwind_mph": 11.2, "daily_chance_of_rain": 70, "condition": words,
        }  # fmt: skip
        dates = [(NOON + timedelta(days=each)).date().isoformat() for each in range(int(query.get("days", "1")))]
        answer["forecast"] = {"forecastday": [{"date": each, "day": day} for each in dates]}
    return web.json_response(answer)


async def translate(request: web.Request) -> web.Response:
    """POST /v2/translate of DeepL; what is translated is marked with the language."""
    if request.headers.get("Authorization") not in (f"DeepL-Auth-Key {KEY}", f"DeepL-Auth-Key {KEY}:fx"):
        return web.Response(status=403)
    body: dict[str, Any] = await request.json()
    if body["target_lang"] == "XX":
        return web.json_response({"message": "Value for 'target_lang' not supported."}, status=400)
    manner = f"{body['target_lang']}{'/' + body['formality'] if 'formality' in body else ''}"
    made = [
        {"detected_source_language": body.get("source_lang", "EN"), "text": f"[{manner}] {each}"}
        for each in body["text"]
    ]
    return web.json_response({"translations": made})


async def search(request: web.Request) -> web.Response:
    """POST /search of Tavily, and of Serper, which asks for its key in another header."""
    body: dict[str, Any] = await request.json()
    if request.headers.get("X-API-KEY") == KEY:
        found = [
            {
                "title": f"Result {place}",
                "link": f"https://found.example/{place}",
                "snippet": body["q"],
                "position": place,
            }
            for place in range(1, body["num"] + 1)
        ]
        return web.json_response({"searchParameters": {"q": body["q"]}, "organic": found})
    if request.headers.get("Authorization") != f"Bearer {KEY}":
        return web.json_response({"detail": {"error": "Unauthorized: missing or invalid API key."}}, status=401)
    found = [
        {"title": f"Result {place}", "url": f"https://found.example/{place}", "content": body["query"], "score": 0.9}
        for place in range(1, body["max_results"] + 1)
    ]
    return web.json_response({"query": body["query"], "answer": body["search_depth"], "results": found})


async def search_and_answer(request: web.Request) -> web.Response:
    """POST /chat/completions of Perplexity."""
    if request.headers.get("Authorization") != f"Bearer {KEY}":
        return web.json_response({"error": {"message": "Invalid API key", "code": 401}}, status=401)
    body: dict[str, Any] = await request.json()
    said = f"{body['model']} says: {body['messages'][-1]['content']}"
    found = [{"title": f"Result {place}", "url": f"https://found.example/{place}"} for place in range(1, 11)]
    choice = {"index": 0, "message": {"role": "assistant", "content": said}, "finish_reason": "stop"}
    return web.json_response({"choices": [choice], "search_results": found})


async def feed(request: web.Request) -> web.Response:
    """A feed in RSS 2.0 with three items, one of them without a date."""
    items = (
        ("First", "Wed, 14 Jan 2026 10:00:00 GMT"), ("Second", "Thu, 15 Jan 2026 10:00:00 GMT"), ("Undated", ""),
    )  # fmt: skip
    parts = "".join(
        f"<item><title>{title}</title><link>https://news.example/{title}</link>"
        f"<description>&lt;p&gt;About &lt;b&gt;{title}&lt;/b&gt;&lt;/p&gt;</description>"
        f"{f'<pubDate>{date}</pubDate>' if date else ''}</item>"
        for title, date in items
    )
    text = f'<?xml version="1.0"?><rss version="2.0"><channel><title>Stand-in news</title>{parts}</channel></rss>'
    return web.Response(text=text, content_type="application/rss+xml")


async def page(request: web.Request) -> web.Response:
    """A page in HTML."""
    text = (
        "<!doctype html><html><head><title>A page</title><meta name='description' content='What it is about'>"
        "<style>p { color: red }</style></head><body><h1>Heading</h1><p>One &amp; <b>two</b>.</p>"
        "<script>document.write('never shown')</script><ul><li>First<li>Second</ul></body></html>"
    )
    return web.Response(text=text, content_type="text/html")
