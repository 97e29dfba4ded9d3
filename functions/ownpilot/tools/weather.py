"""Tools that tell the weather, from OpenWeatherMap or WeatherAPI."""

from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import Field

from functions.ownpilot.core.tool_context import ToolContext
from functions.ownpilot.tools.outside import ask, base_of, configured, reading
from functions.ownpilot.tools.plugin_tool import plugin_settings, plugin_tool
from functions.ownpilot.tools.records import capped

Units = Literal["metric", "imperial"]
City = Annotated[str, Field(min_length=1, max_length=200, description="Such as Berlin, or London,GB")]
Days = Annotated[int, Field(description="How many days, 7 at most; some services know fewer"), capped(7)]

SERVICES = ("openweathermap", "weatherapi")
_MAP, _API = "OpenWeatherMap", "WeatherAPI"
_MAP_URL, _API_URL = "https://api.openweathermap.org", "https://api.weatherapi.com"
_NAMES = {"metric": {"temperature": "°C", "wind": "km/h"}, "imperial": {"temperature": "°F", "wind": "mph"}}
_MAP_REFUSALS = {404: "does not know this place"}
_API_REFUSALS = {400: "does not know this place"}
_KMH = 3.6  # of a meter a second


@plugin_tool("weather", tags=("temperature", "rain", "now"))
async def weather_current(context: ToolContext, city: City, units: Units | None = None) -> dict[str, Any]:
    """Tell what the weather is like now in a city."""
    name, values, units = await _service(context, units)
    if name == "weatherapi":
        answer = await _ask_api(values, "current", city)
        with reading(_API):
            now = answer["current"]
            return _shown(_API, units) | _api_place(answer) | {
                "temperature": _pick(now, "temp_c", "temp_f", units),
                "feelsLike": _pick(now, "feelslike_c", "feelslike_f", units),
                "humidity": now["humidity"], "description": now["condition"]["text"],
                "wind": _pick(now, "wind_kph", "wind_mph", units),
            }  # fmt: skip
    answer = await _ask_map(values, "weather", city, units)
    with reading(_MAP):
        return _shown(_MAP, units) | {
            "city": answer["name"], "country": answer["sys"].get("country"),
            "temperature": round(answer["main"]["temp"], 1), "feelsLike": round(answer["main"]["feels_like"], 1),
            "humidity": answer["main"]["humidity"], "description": answer["weather"][0]["description"],
            "wind": _wind(answer["wind"]["speed"], units),
        }  # fmt: skip


@plugin_tool("weather", tags=("temperature", "rain", "tomorrow", "days"))
async def weather_forecast(context: ToolContext, city: City, days: Days = 3) -> dict[str, Any]:
    """Tell what the weather will be like in a city: for each day the lowest and the highest temperature, the chance of
    rain in percent, and the strongest wind."""
    name, values, units = await _service(context, None)
    if name == "weatherapi":
        answer = await _ask_api(values, "forecast", city, days=days)
        with reading(_API):
            found = [_api_day(each, units) for each in answer["forecast"]["forecastday"]]
            return _shown(_API, units) | _api_place(answer) | {"days": found[:days]}
    answer = await _ask_map(values, "forecast", city, units)
    with reading(_MAP):
        place = answer["city"]
        zone = timedelta(seconds=place.get("timezone", 0))
        by_day: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
        for each in answer["list"]:
            by_day[(datetime.fromtimestamp(each["dt"], UTC) + zone).date().isoformat()].append(each)
        found = [_map_day(day, each, units) for day, each in sorted(by_day.items())]
        return _shown(_MAP, units) | {"city": place["name"], "country": place.get("country"), "days": found[:days]}


async def _service(context: ToolContext, units: Units | None) -> tuple[str, dict[str, Any], Units]:
    settings = await plugin_settings(context.owner, "weather")
    name, values = await configured(context.owner, SERVICES, settings["service"])
    return name, values, units or settings["units"]


async def _ask_map(values: dict[str, Any], what: str, city: str, units: Units) -> Any:
    query = {"q": city, "units": units, "appid": values["api_key"]}
    url = f"{base_of(values, _MAP_URL)}/data/2.5/{what}"
    return await ask(_MAP, "GET", url, query=query, refusals=_MAP_REFUSALS)


async def _ask_api(values: dict[str, Any], what: str, city: str, **more: Any) -> Any:
    query = {"q": city, "key": values["api_key"], **more}
    url = f"{base_of(values, _API_URL)}/v1/{what}.json"
    return await ask(_API, "GET", url, query=query, refusals=_API_REFUSALS)


def _shown(label: str, units: Units) -> dict[str, Any]:
    return {"source": label, "units": _NAMES[units]}


def _pick(values: Any, metric: str, imperial: str, units: Units) -> float:
    return round(values[metric if units == "metric" else imperial], 1)


def _wind(speed: float, units: Units) -> float:
    """Return what OpenWeatherMap gives in meters a second, or in miles an hour."""
    return round(speed * _KMH if units == "metric" else speed, 1)


def _api_place(answer: Any) -> dict[str, Any]:
    return {"city": answer["location"]["name"], "country": answer["location"]["country"]}


def _api_day(given: Any, units: Units) -> dict[str, Any]:
    day = given["day"]
    return {
        "date": given["date"], "low": _pick(day, "mintemp_c", "mintemp_f", units),
        "high": _pick(day, "maxtemp_c", "maxtemp_f", units), "description": day["condition"]["text"],
        "rainChance": day["daily_chance_of_rain"], "wind": _pick(day, "maxwind_kph", "maxwind_mph", units),
    }  # fmt: skip


def _map_day(date: str, given: list[dict[str, Any]], units: Units) -> dict[str, Any]:
    """Return a day out of its parts of three hours."""
    words = Counter(each["weather"][0]["description"] for each in given)
    return {
        "date": date, "low": round(min(each["main"]["temp_min"] for each in given), 1),
        "high": round(max(each["main"]["temp_max"] for each in given), 1), "description": words.most_common(1)[0][0],
        "rainChance": round(100 * max(each.get("pop", 0) for each in given)),
        "wind": _wind(max(each["wind"]["speed"] for each in given), units),
    }  # fmt: skip
