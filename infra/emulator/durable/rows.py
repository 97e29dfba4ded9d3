"""Conversion between rows and instances, queries as SQL, and the cache of histories."""

import json
import sqlite3
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

from infra.emulator.durable.protocol import EventType, ExecutionState, Instance, event

CACHE_CHARACTERS = 64 << 20


@dataclass
class Woken:
    """What became ready to run by a transaction."""

    instances: set[str] = field(default_factory=set)
    activities: list[int] = field(default_factory=list)
    entities: set[str] = field(default_factory=set)
    timers: bool = False


@dataclass(frozen=True)
class InstanceQuery:
    """A query for instances that meet all given conditions; times have the format of histories, ends included."""

    created_from: str = ""
    created_to: str = ""
    statuses: tuple[str, ...] = ()
    prefix: str = ""
    after: tuple[str, str] = ("", "")  # creation time and id of the last instance of the page before
    top: int = 100

    def sql(self) -> tuple[str, list[Any]]:
        """The SQL condition and its values."""
        conditions, values = ["(created, id) > (?, ?)"], list(self.after)
        for condition, value in (("created >= ?", self.created_from), ("created <= ?", self.created_to)):
            if value:
                conditions.append(condition)
                values.append(value)
        if self.statuses:
            conditions.append(f"status IN ({', '.join('?' * len(self.statuses))})")
            values += self.statuses
        if self.prefix:
            conditions.append("substr(id, 1, length(?)) = ?")
            values += [self.prefix, self.prefix]
        return " AND ".join(conditions), values


def instance_row(instance: Instance) -> tuple[Any, ...]:
    """The values of an instance, in the order of its table."""
    return (
        instance.id, instance.name, instance.version, instance.execution, instance.status, instance.input,
        instance.quoted_input, instance.output, instance.custom_status, instance.created, instance.updated,
        instance.parent and json.dumps(instance.parent), instance.state.dump(),
    )  # fmt: skip


def instance_of(row: tuple[Any, ...]) -> Instance:
    """The instance of a row."""
    (id, name, version, execution, status, input, quoted, output, custom_status, created, updated, parent, state) = row
    return Instance(
        id, name, input, version, execution, status, bool(quoted), output, custom_status, created, updated,
        tuple(json.loads(parent)) if parent else None, ExecutionState(**json.loads(state)),
    )  # fmt: skip


def result_event(kind: EventType, task: int, result: str | None, error: str | None) -> dict[str, Any]:
    """The event that ends an activity or sub-orchestration: its result (JSON text), or the reason of its failure."""
    outcome: dict[str, Any] = {"Result": result} if error is None else {"Reason": error, "Details": ""}
    return event(kind, TaskScheduledId=task, **outcome)


class Histories:
    """The encoded events of instances, stored as rows and cached in memory up to a limit."""

    def __init__(self, database: sqlite3.Connection):
        self._database = database
        self._held: OrderedDict[str, tuple[list[str], int]] = OrderedDict()  # texts, and their length in characters
        self._characters = 0

    def read(self, instance: Instance) -> list[str]:
        """The events of the present execution, oldest first."""
        if held := self._held.get(instance.id):
            self._held.move_to_end(instance.id)
            return held[0]
        sql = "SELECT event FROM history WHERE instance = ? ORDER BY position"
        texts = [text for (text,) in self._database.execute(sql, (instance.id,))]
        self._hold(instance, texts, sum(map(len, texts)))
        return texts

    def append(self, instance: Instance, events: list[str]) -> None:
        """Add events."""
        texts = self.read(instance)
        rows = [(instance.id, position, text) for position, text in enumerate(events, len(texts))]
        self._database.executemany("INSERT INTO history VALUES(?, ?, ?)", rows)
        texts += events
        self._hold(instance, texts, sum(map(len, events)))

    def truncate(self, instance: Instance, length: int) -> None:
        """Keep only the first `length` events."""
        self._database.execute("DELETE FROM history WHERE instance = ? AND position >= ?", (instance.id, length))
        self.forget(instance.id)

    def forget(self, id: str) -> None:
        """Remove this instance from the cache."""
        held = self._held.pop(id, None)
        self._characters -= held[1] if held else 0

    def clear(self) -> None:
        """Empty the cache, because it may differ from the file."""
        self._held.clear()
        self._characters = 0

    def _hold(self, instance: Instance, texts: list[str], more: int) -> None:
        held = self._held.get(instance.id)
        self._held[instance.id] = (texts, more + (held[1] if held else 0))
        self._characters += more
        while self._characters > CACHE_CHARACTERS and len(self._held) > 1:
            self._characters -= self._held.popitem(last=False)[1][1]
