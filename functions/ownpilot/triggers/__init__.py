"""Triggers: what the assistant does by itself at a time, after an event, under a condition, or when it is called."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any

from fastapi import Request, Response
from pydantic import BaseModel

from functions.ownpilot.core import happenings
from functions.ownpilot.core.database_operations import is_overtaken
from functions.ownpilot.core.entry import Given, Moment, Shown
from functions.ownpilot.core.envelope import ExecutionFailed
from functions.ownpilot.core.owner import Owner, routes_for
from functions.ownpilot.core.trigger_store import (
    Firing,
    Trigger,
    due_times,
    firings,
    history_of,
    note_change,
    note_due,
    stored_triggers,
)
from functions.ownpilot.triggers.firing import fire_now
from functions.ownpilot.triggers.seeds import SeededOwner
from functions.ownpilot.triggers.senders import Sender, check_sender
from shared import tables
from shared.deferred import defer
from shared.http.bodies import Done, example
from shared.http.conditions import IfMatch, show_version
from shared.http.errors import BadRequest
from shared.http.paging import Paging, paging
from shared.http.resource import resource
from shared.http.shapes import Answers

TURN = 300
"""Seconds after which the deletion of a history is continued in another call: no Function runs longer than 600."""

MOST_ENABLED = 100
"""Triggers of one person that may be switched on: each event asks them all."""

triggers = resource(
    routes_for("triggers"), stored_triggers, SeededOwner,
    required=("name", "type", "config", "action"), readonly=("last_fired", "next_fire", "fire_count"),
    filters=("type", "enabled"), order=("-priority", "-created_at"), settle=Trigger.settle,
    answers=Answers(item="trigger"), only=("list",),
)  # fmt: skip
routes = triggers.routes
NewTrigger = triggers.shapes.new
TriggerPatch = triggers.shapes.patch
TriggerShown = triggers.shapes.shown


class FiringShown(Shown):
    """One line of a history: `duration_ms` is in milliseconds, `result` has a `message` and what the action made."""

    id: str
    trigger_id: str
    trigger_name: str
    fired_at: Moment
    status: str
    result: Any
    error: str | None
    duration_ms: int


class TriggerDetails(TriggerShown):
    """A trigger with the newest lines of its history."""

    recent_history: list[FiringShown]


class TriggerHistory(Shown):
    """Part of a history, the newest first; `count` is the number of all lines."""

    trigger_id: str
    trigger_name: str
    history: list[FiringShown]
    count: int


class TriggerSwitch(Given):
    """Whether a trigger is to be switched on; without it, it becomes what it is not."""

    model_config = example(enabled=True)

    enabled: bool | None = None


class TriggerFired(Shown):
    """What came of the action."""

    result: Any
    message: str


async def create_trigger(owner: str, values: Mapping[str, Any] | BaseModel) -> Trigger:
    """Store a new trigger. `BadRequest`, also INVALID_CRON and LIMIT_REACHED. 1 query, 2 writes.

    Its due time is noted first: of a trigger that is not stored after all, the note does nothing.
    """
    made = triggers.make(owner, values)
    if made.enabled:
        await _admit_enabled(owner)
    kept = await triggers.admit(owner)
    await note_due(owner, made.id, made.next_fire)
    stored = await triggers.collection.of(owner).insert(made)
    kept.records += 1
    happenings.forget(owner)
    return stored


async def change_trigger(
    owner: str, trigger_id: str, values: Mapping[str, Any] | BaseModel, *, if_match: str | None = None
) -> Trigger:
    """Set these members of a trigger. `RecordNotFound`, `RecordChanged` (`if_match`), `BadRequest`. 3 writes."""
    enabled = values.get("enabled") if isinstance(values, Mapping) else getattr(values, "enabled", None)
    change = partial(triggers.change, owner, trigger_id, values, if_match=if_match)
    return await _changed(owner, trigger_id, change, switches_on=enabled is True)


async def switch_trigger(owner: str, trigger_id: str, enabled: bool | None) -> Trigger:
    """Switch a trigger on or off, None: to what it is not. `RecordNotFound`, `BadRequest` LIMIT_REACHED. 3 writes."""

    def switch(trigger: Trigger) -> None:
        trigger.enabled = not trigger.enabled if enabled is None else enabled
        trigger.settle()

    change = partial(triggers.collection.of(owner).update, trigger_id, switch)
    return await _changed(owner, trigger_id, change, switches_on=enabled is not False)


async def _admit_enabled(owner: str) -> None:
    """`BadRequest` LIMIT_REACHED when no further trigger may be switched on. 1 query."""
    if await triggers.collection.of(owner).count({"enabled": True}) >= MOST_ENABLED:
        message = f"There are {MOST_ENABLED} triggers that are switched on already: switch some off first"
        raise BadRequest(message, code="LIMIT_REACHED")


async def _changed(owner: str, trigger_id: str, change: Callable[[], Any], *, switches_on: bool) -> Trigger:
    before = await triggers.get(owner, trigger_id)
    if switches_on and not before.enabled:
        await _admit_enabled(owner)
    await note_change(owner, trigger_id)
    trigger: Trigger = await change()
    await note_due(owner, trigger_id, trigger.next_fire)
    happenings.forget(owner)
    return trigger


async def delete_trigger(owner: str, trigger_id: str) -> None:
    """Delete a trigger, its due time and its history. `RecordNotFound`.

    The order for the rest comes first; it deletes the trigger too, so after a crash nothing is left half deleted.
    """
    await triggers.get(owner, trigger_id)
    value = {"user": owner, "trigger": trigger_id, "at": datetime.now(UTC).isoformat()}
    # A trigger that a restore brings back may be deleted again on the same day.
    await defer("ownpilot.clear_trigger", value, item_id=f"{trigger_id} {value['at']}", delay=1)
    with contextlib.suppress(tables.RecordNotFound):  # the deferred work was faster
        await triggers.delete(owner, trigger_id)
    happenings.forget(owner)


async def clear_trigger(value: dict[str, str]) -> None:
    """Deferred: delete a trigger, if it is still there, its due time and its history.

    Not when a restore has brought the trigger back since that was ordered.
    """
    owner, trigger_id = value["user"], value["trigger"]
    if await is_overtaken(owner, value.get("at")):
        return
    with contextlib.suppress(tables.RecordNotFound):
        await triggers.collection.of(owner).delete(trigger_id)
    await due_times.clear({"trigger_id": trigger_id})
    try:
        async with asyncio.timeout(TURN):
            await firings.of(owner).clear({"trigger_id": trigger_id})
    except TimeoutError:
        await defer("ownpilot.clear_trigger", value)


@routes.post("", status_code=201, response_model=triggers.shapes.created)
async def add_trigger(body: NewTrigger, owner: SeededOwner, response: Response) -> Any:
    """Create a trigger, which is switched on unless the body says otherwise."""
    trigger = await create_trigger(owner.id, body)
    show_version(response, trigger)
    return {"trigger": trigger, "message": "Trigger created"}


@routes.get("/{trigger_id}")
async def get_trigger(trigger_id: str, owner: Owner, response: Response) -> TriggerDetails:
    """One trigger, with the newest lines of its history."""
    trigger, recent = await asyncio.gather(triggers.get(owner.id, trigger_id), history_of(owner.id, trigger_id))
    show_version(response, trigger)
    return TriggerDetails.model_validate({**dict(trigger), "recent_history": [*map(_shown, recent)]})


@routes.patch("/{trigger_id}", response_model=TriggerShown)
async def update_trigger(
    trigger_id: str, body: TriggerPatch, owner: Owner, if_match: IfMatch, response: Response
) -> Trigger:
    """Change the given members of a trigger; `config` and `action` are replaced as a whole."""
    trigger = await change_trigger(owner.id, trigger_id, body, if_match=if_match)
    show_version(response, trigger)
    return trigger


@routes.delete("/{trigger_id}")
async def remove_trigger(trigger_id: str, owner: Owner) -> Done:
    """Delete a trigger and its history."""
    await delete_trigger(owner.id, trigger_id)
    return Done(message="Trigger deleted")


@routes.patch("/{trigger_id}/toggle", response_model=triggers.shapes.created)
async def toggle_trigger(trigger_id: str, body: TriggerSwitch, owner: Owner, response: Response) -> Any:
    """Switch a trigger on or off; without `enabled`, to what it is not."""
    trigger = await switch_trigger(owner.id, trigger_id, body.enabled)
    show_version(response, trigger)
    return {"trigger": trigger, "message": f"Trigger switched {'on' if trigger.enabled else 'off'}"}


@routes.get("/{trigger_id}/history")
async def list_firings(trigger_id: str, owner: Owner, paging: Annotated[Paging, paging(50)]) -> TriggerHistory:
    """What a trigger has done, the newest first."""
    trigger, page = await asyncio.gather(
        triggers.get(owner.id, trigger_id), paging.page(firings.of(owner.id), {"trigger_id": trigger_id})
    )
    return TriggerHistory(
        trigger_id=trigger.id, trigger_name=trigger.name, history=[*map(_shown, page.items)], count=page.total
    )


@routes.post("/{trigger_id}/fire")
async def fire_trigger(trigger_id: str, owner: Sender, request: Request) -> TriggerFired:
    """Fire a trigger now, also one that is switched off, and wait for its action: 500 with `data` when that fails.

    A service outside fires a webhook with its secret in `X-Trigger-Secret`, and needs nothing else.
    """
    trigger = await triggers.get(owner.id, trigger_id)
    check_sender(request, trigger)
    line = await fire_now(owner.id, trigger)
    if line.error is not None:
        raise ExecutionFailed(line.error, data={"result": None, "message": line.error})
    return TriggerFired(result=line.result, message=f"{trigger.name} was fired")


def _shown(line: Firing) -> FiringShown:
    return FiringShown.model_validate(line)
