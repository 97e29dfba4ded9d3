"""The stored vectors of memories, and those that an instance holds as long as none is written."""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from functions.ownpilot.core.entry import Entry
from functions.ownpilot.core.vectors import Vector, unpacked
from shared import tables
from shared.tables.plain import PlainCollection

_HELD = 50  # persons whose vectors an instance keeps


class MemoryVector(Entry):
    """The vector of the memory with the same id, made by a model from the content with a fingerprint.

    The row with the id of `_mark` has no vector: it is written after all others, so whoever has read the vectors knows
    by its ETag whether one was written since.
    """

    model: str
    fingerprint: str
    vector: str


vectors = PlainCollection("OwnpilotVectors", MemoryVector, plain=True)


class KnownVector(NamedTuple):
    """A vector, and what it was made from."""

    model: str
    fingerprint: str
    vector: Vector


@dataclass(frozen=True)
class _Vectors:
    """All vectors of a person by the memory's id, as they were when the mark had an ETag."""

    etag: str | None
    known: Mapping[str, KnownVector]


_held: OrderedDict[str, _Vectors] = OrderedDict()


async def forget(owner: str, memory_id: str) -> None:
    """Delete the vector of a memory, if there is one."""
    try:
        await vectors.of(owner).delete(memory_id)
    except tables.RecordNotFound:
        return


async def write(owner: str, made: Iterable[MemoryVector], gone: Iterable[str]) -> None:
    """Store vectors, and delete those of the memories with the ids `gone`. 1 transaction for each 100, and 1 more."""
    await vectors.of(owner).store(made, without=gone)
    await vectors.of(owner).store([_mark(owner)])


def _mark(owner: str) -> MemoryVector:
    moment = datetime(2020, 1, 1, tzinfo=UTC)
    id_ = MemoryVector.derived_id(moment, f"mark of {owner}")
    return MemoryVector(id=id_, created_at=moment, user_id=owner, model="", fingerprint="", vector="")


def count(owner: str) -> int:
    """Return how many vectors of a person are held."""
    kept = _held.get(owner)
    return len(kept.known) if kept else 0


async def current(owner: str) -> Mapping[str, KnownVector]:
    """Return the vectors of a person by the memory's id: those held when none was written since. 1 point read."""
    try:
        etag = (await vectors.of(owner).get(_mark(owner).id)).etag
    except tables.RecordNotFound:
        return {}
    kept = _held.get(owner)
    if kept is None or kept.etag != etag:
        kept = _Vectors(etag, await read(owner))
        _held[owner] = kept
        if len(_held) > _HELD:
            _held.popitem(last=False)
    _held.move_to_end(owner)
    return kept.known


async def read(owner: str) -> dict[str, KnownVector]:
    """Return the vectors of a person by the memory's id. 1 query for each 1,000."""
    return {
        each.id: KnownVector(each.model, each.fingerprint, unpacked(each.vector))
        async for each in vectors.of(owner).scan()
        if each.vector
    }
