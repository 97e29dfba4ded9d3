"""What happens inside the app, told to the triggers of a user that wait for it."""

import hashlib
from collections.abc import Mapping
from typing import Any, cast

from functions.ownpilot.core.trigger_rules import SAID
from functions.ownpilot.core.trigger_store import Trigger, TriggerType, stored_triggers
from shared.deferred import defer
from shared.recent import RecentValues
from shared.redaction import redact
from shared.tables.ids import new_id

CHAT = "chat_completed"
"""The assistant has answered a message: `conversationId`, `message`, `response`."""

MAX_TEXT = 1000
"""Characters of a text of an event that its action is told."""

_CONTAINS = "_contains"
_listening: RecentValues[str, tuple[Trigger, ...]] = RecentValues()


async def waits_for(owner: str, event_type: str) -> bool:
    """Whether a trigger of the user may fire on this type of event. 1 query, or none within five seconds."""
    return any(_event_of(each) == event_type for each in await _listeners(owner))


async def happened(owner: str, event_type: str, data: Mapping[str, Any], event_id: str | None = None) -> list[str]:
    """Fire the user's enabled triggers on this type of event whose filters match `data`; return their ids.

    The actions run later, off the caller's path; they see `data`, with long texts cut and what looks like a secret
    masked. It is JSON, without secrets. With `event_id` a repeat of the same event fires nothing again. 1 query, or
    none within five seconds; 1 message to a queue for each trigger that fires.

    Not to be told of what a trigger does itself: it would fire for ever.
    """
    found = [each for each in await _listeners(owner) if _event_of(each) == event_type and _matches(each, data)]
    which = hashlib.sha256(f"{event_type} {event_id or new_id()}".encode()).hexdigest()[:32]
    for trigger in found:
        occasion = f"{trigger.id} {which}"
        event = {**shortened(data, MAX_TEXT), "type": event_type}
        order = {"user": owner, "trigger": trigger.id, "occasion": occasion, "event": event}
        await defer("ownpilot.start_firing", order, item_id=occasion)
    return [each.id for each in found]


def forget(owner: str) -> None:
    """Read the user's triggers anew when something happens next: one was changed."""
    _listening.forget(owner)


async def _listeners(owner: str) -> tuple[Trigger, ...]:
    async def load() -> tuple[Trigger, ...]:
        return tuple([each async for each in stored_triggers.of(owner).all({"enabled": True}) if _event_of(each)])

    return await _listening.get(owner, load)


def _event_of(trigger: Trigger) -> str | None:
    """Return the type of event for which a trigger waits, None when it waits for none."""
    if trigger.type is TriggerType.EVENT:
        return trigger.config["eventType"]
    is_said = trigger.type is TriggerType.CONDITION and trigger.config["condition"].startswith(SAID)
    return CHAT if is_said else None


def _matches(trigger: Trigger, data: Mapping[str, Any]) -> bool:
    """Whether an event passes the filters: each names a member and its value, a list of values, or a text in it."""
    if trigger.type is TriggerType.CONDITION:
        name, _, text = trigger.config["condition"].partition(_CONTAINS + ":")
        return _contains(data.get(name), text.strip())
    for name, wanted in (trigger.config.get("filters") or {}).items():
        if name not in data and name.endswith(_CONTAINS):
            if not _contains(data.get(name.removesuffix(_CONTAINS)), wanted):
                return False
        elif data.get(name) != wanted and not (isinstance(wanted, list) and data.get(name) in wanted):
            return False
    return True


def _contains(text: Any, wanted: Any) -> bool:
    return isinstance(text, str) and isinstance(wanted, str) and wanted.casefold() in text.casefold()


def shortened(value: Any, most: int) -> Any:
    """Return a JSON value whose texts have at most so many characters, without what looks like a secret."""
    match value:
        case str():
            text = redact(value[: 2 * most])
            return text if len(text) <= most else f"{text[:most]}..."
        case Mapping():
            return {str(name): shortened(each, most) for name, each in cast("Mapping[Any, Any]", value).items()}
        case list():
            return [shortened(each, most) for each in cast("list[Any]", value)]
        case _:
            return value
