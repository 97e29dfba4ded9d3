"""Records that this version of a model cannot read: they stop no list, and can be deleted and counted anew."""

import random
from enum import StrEnum
from typing import Any

import pytest
from pydantic import BaseModel

from shared.tables import Collection, Record, TextLost, Unreadable
from shared.tables.client import client
from shared.tables.counted import CountedCollection
from tests.shared.tables.faults import audit, rows_of

NOISE = random.Random(3).randbytes(200_000).hex()


class State(StrEnum):
    OLD = "old"


class NewState(StrEnum):
    OLD = "old"
    NEW = "new"


class Part(BaseModel):
    size: int


class NewPart(BaseModel):
    size: int | None = 1


class Thing(Record):
    name: str = ""
    state: State = State.OLD
    part: Part = Part(size=1)
    text: str = ""


class NewThing(Record):
    name: str = ""
    state: NewState = NewState.OLD
    part: NewPart = NewPart()
    text: str = ""


DECLARED = {
    "plain": {"plain": True, "unique": ["name"]},
    "counted": {"indexes": ["state"], "counters": ["state"], "unique": ["name"]},
}


@pytest.fixture(params=[*DECLARED])
def declared(request: pytest.FixtureRequest, account: None) -> dict[str, Any]:
    return DECLARED[request.param] | {"table": f"Damage{request.param}{random.getrandbits(40)}"}


async def lost(things: Collection[Thing], name: str) -> Thing:
    """A record whose long text something has deleted."""
    thing = await things.insert(Thing(name=name, text=NOISE))
    async for blob, _ in client().blobs.names(f"{things.table}/"):
        await client().blobs.delete(blob)
    return thing


async def test_a_record_of_another_version_is_left_out_of_lists_and_can_be_deleted(
    declared: dict[str, Any], caplog: pytest.LogCaptureFixture
):
    things: Collection[Thing] = Collection(model=Thing, **declared)
    newer: Collection[NewThing] = Collection(model=NewThing, **declared)
    kept = await things.insert(Thing(name="kept"))
    unknown = await newer.insert(NewThing(name="unknown", state=NewState.NEW))
    unread = await newer.insert(NewThing(name="unread", part=NewPart(size=None)))
    for found in ((await things.page()).items, [each async for each in things.all()]):
        # A counted list's view has no parts: this one can be read there.
        assert [each.name for each in found if each.name != "unread" or declared.get("plain")] == ["kept"]
    assert f"Thing {unknown.id}: state is stored in a form that cannot be read" in caplog.text
    assert (await things.get(unknown.id)).state == "new"
    assert (await things.update(unknown.id, lambda it: setattr(it, "text", "x"))).state == "new"
    with pytest.raises(Unreadable, match=f"Thing {unread.id}: part"):
        await things.get(unread.id)
    if isinstance(things, CountedCollection):
        assert (await things.rebuild()).records == 3
    await things.delete(unknown.id)
    assert await things.clear() == 2
    assert {key[0] for key in await rows_of(things)} <= set("chg")
    assert await newer.count() == 0
    assert await things.insert(Thing(name="kept")) != kept


async def test_a_record_without_its_long_text_is_listed_without_it_and_can_be_deleted(declared: dict[str, Any]):
    things: Collection[Thing] = Collection(model=Thing, **declared, view=["name", "text"])
    gone, cleared = await lost(things, "gone"), await lost(things, "cleared")
    await things.insert(Thing(name="kept"))
    assert {each.name: each.text for each in (await things.page()).items} == {"gone": "", "cleared": "", "kept": ""}
    if declared.get("plain"):
        assert {each.name async for each in things.scan()} == {"gone", "cleared", "kept"}
    with pytest.raises(TextLost):
        await things.get(gone.id)
    if isinstance(things, CountedCollection):
        assert (await things.rebuild()).records == 3
    await things.delete(gone.id)
    await things.replace(Thing(id=cleared.id, created_at=cleared.created_at, name="again"))
    assert (await things.get(cleared.id)).name == "again"
    assert await things.clear() == 2
    if isinstance(things, CountedCollection):
        assert await audit(things) == {}
