"""What a trigger's `config` and `action` may hold."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from functions.ownpilot.core.cron import InvalidCron, UnknownZone, next_due, zone_of
from shared.http.errors import BadRequest, InvalidRequest

CONDITIONS: Mapping[str, float] = {
    "stale_goals": 3, "upcoming_deadline": 7, "memory_threshold": 100, "low_progress": 20, "no_activity": 3,
}  # fmt: skip
"""The conditions that are looked at from time to time, and the threshold of each when none is given."""

SAID = ("message_contains:", "response_contains:")
"""Begin the conditions that a message to the assistant, or its answer, fulfils by a text that it contains."""

ACTIONS = ("chat", "tool", "notification", "goal_check", "memory_summary")
CHECKED_EVERY = timedelta(minutes=5)
"""How often a condition is looked at."""

_MAX_TEXT = 100_000
_MAX_MINUTES = 366 * 24 * 60


def is_polled(config: Mapping[str, Any]) -> bool:
    """Whether a condition is one that is looked at from time to time."""
    return config["condition"] in CONDITIONS


def threshold_of(config: Mapping[str, Any]) -> float:
    """Return the threshold of a condition."""
    given = config.get("threshold")
    return CONDITIONS[config["condition"]] if given is None else given


def interval_of(config: Mapping[str, Any]) -> timedelta:
    """Return for how long a condition that has fired does not fire again."""
    given = config.get("checkInterval")
    return timedelta(minutes=60 if given is None else given)


def check_config(type_: str, config: dict[str, Any]) -> dict[str, Any]:
    """Return what fires a trigger of a type as it is kept. `InvalidRequest`; `BadRequest` INVALID_CRON."""
    return {"schedule": _schedule, "event": _event, "condition": _condition, "webhook": _webhook}[type_](config)


def check_action(action: dict[str, Any]) -> dict[str, Any]:
    """Return an action as it is kept, with a `payload`: it may have been given beside the type. `InvalidRequest`.

    Without a payload, all that is beside the type is one: the arguments of a tool too. Else it is what a payload lacks.
    """
    kind, given = action.get("type"), action.get("payload") or {}
    if kind not in ACTIONS:
        raise InvalidRequest(f"action.type: must be one of {', '.join(ACTIONS)}")
    if not isinstance(given, dict):
        raise InvalidRequest("action.payload: must be an object")
    beside = ("message", "prompt", "tool") if given else action.keys() - {"type", "payload"}
    payload = {name: value for name, value in action.items() if name in beside} | cast("dict[str, Any]", given)
    if kind == "chat":
        name = "prompt" if payload.get("prompt") is not None else "message"
        _text(payload, name, "action.payload.", _MAX_TEXT)
    elif kind == "tool":
        _text(payload, "tool", "action.payload.")
    elif kind == "notification" and payload.get("message") is not None:
        _text(payload, "message", "action.payload.", _MAX_TEXT)
    return {**action, "payload": payload}


def _schedule(config: dict[str, Any]) -> dict[str, Any]:
    expression = _text(config, "cron")
    zone = config.get("timezone")
    if not isinstance(zone, str | None):
        raise InvalidRequest("config.timezone: must be a text")
    try:
        next_due(expression, zone_of(zone), datetime.now(UTC))
    except UnknownZone as error:
        raise InvalidRequest(f"config.timezone: {error}") from None
    except InvalidCron as error:
        raise BadRequest(f"config.cron: {error}", code="INVALID_CRON") from None
    return config


def _event(config: dict[str, Any]) -> dict[str, Any]:
    _text(config, "eventType")
    if not isinstance(config.get("filters"), dict | None):
        raise InvalidRequest("config.filters: must be an object")
    return config


def _condition(config: dict[str, Any]) -> dict[str, Any]:
    condition = _text(config, "condition")
    said = next((each for each in SAID if condition.startswith(each)), None)
    if condition not in CONDITIONS and (said is None or not condition.removeprefix(said).strip()):
        known = ", ".join([*CONDITIONS, *(f"{each}<text>" for each in SAID)])
        raise InvalidRequest(f"config.condition: must be one of {known}")
    _number(config, "threshold", 0, 1_000_000)
    _number(config, "checkInterval", 1, _MAX_MINUTES)
    return config


def _webhook(config: dict[str, Any]) -> dict[str, Any]:
    from ipaddress import ip_network

    if config.get("secret") not in (None, ""):
        _text(config, "secret")
    sources = config.get("allowedSources")
    if not isinstance(sources, list | None) or len(sources or ()) > 100:
        raise InvalidRequest("config.allowedSources: must be a list of at most 100 addresses")
    for place, source in enumerate(sources or ()):
        try:
            ip_network(source if isinstance(source, str) else "", strict=False)
        except ValueError:
            where = f"config.allowedSources.{place}"
            raise InvalidRequest(f"{where}: must be an IP address or a network such as 203.0.113.0/24") from None
    return config


def _text(members: Mapping[str, Any], name: str, where: str = "config.", most: int = 500) -> str:
    given = members.get(name)
    if not isinstance(given, str) or not given.strip() or len(given) > most:
        raise InvalidRequest(f"{where}{name}: must be a text of 1 to {most} characters")
    return given


def _number(members: Mapping[str, Any], name: str, low: float, high: float) -> None:
    given = members.get(name)
    if given is None:
        return
    if isinstance(given, bool) or not isinstance(given, int | float) or not low <= given <= high:
        raise InvalidRequest(f"config.{name}: must be a number from {low} to {high}")
