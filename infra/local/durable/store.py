"""The state of the engine in one SQLite file; every method is one transaction on the store's own thread."""

import json
import sqlite3
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from infra.local.durable.turn import FINISHED, ActivityCall, EntityCall, Instance, Kind, State, Turn, encode, event, now

T = TypeVar("T")
APPLICATION, VERSION = 0x52594448, 1
CACHE_BYTES = 64 << 20
ENTITY_BATCH = 50
SCHEMA = """
CREATE TABLE instance(
    id TEXT PRIMARY KEY, name TEXT NOT NULL, version TEXT, execution TEXT NOT NULL, status TEXT NOT NULL,
    input TEXT, quoted_input INTEGER NOT NULL, output TEXT, custom_status TEXT, created TEXT NOT NULL,
    updated TEXT NOT NULL, parent TEXT, state TEXT NOT NULL);
CREATE INDEX instance_created ON instance(created, id);
CREATE TABLE history(
    instance TEXT NOT NULL REFERENCES instance ON DELETE CASCADE, position INTEGER NOT NULL, event TEXT NOT NULL,
    PRIMARY KEY(instance, position));
CREATE TABLE message(
    id INTEGER PRIMARY KEY AUTOINCREMENT, instance TEXT NOT NULL REFERENCES instance ON DELETE CASCADE,
    execution TEXT, event TEXT NOT NULL);
CREATE INDEX message_instance ON message(instance);
CREATE TABLE activity(
    id INTEGER PRIMARY KEY AUTOINCREMENT, instance TEXT NOT NULL REFERENCES instance ON DELETE CASCADE,
    execution TEXT NOT NULL, task INTEGER NOT NULL, name TEXT NOT NULL, input TEXT NOT NULL);
CREATE INDEX activity_instance ON activity(instance);
CREATE TABLE timer(
    instance TEXT NOT NULL REFERENCES instance ON DELETE CASCADE, task INTEGER NOT NULL, execution TEXT NOT NULL,
    due TEXT NOT NULL, PRIMARY KEY(instance, task));
CREATE INDEX timer_due ON timer(due);
CREATE TABLE entity(id TEXT PRIMARY KEY, state TEXT, updated TEXT NOT NULL);
CREATE TABLE operation(
    id INTEGER PRIMARY KEY AUTOINCREMENT, entity TEXT NOT NULL, name TEXT NOT NULL, input TEXT,
    instance TEXT, execution TEXT, reply TEXT);
CREATE INDEX operation_entity ON operation(entity);
"""


class DatabaseUnusable(RuntimeError):
    """The database file is damaged, in use by another process, or not the engine's; it was left as it is."""


@dataclass
class Woken:
    """What a transaction gave work to."""

    instances: set[str] = field(default_factory=set)
    activities: list[int] = field(default_factory=list)
    entities: set[str] = field(default_factory=set)
    timers: bool = False


@dataclass(frozen=True)
class Query:
    """Which instances: those that meet everything that is set. Times as histories write them, both ends included."""

    created_from: str = ""
    created_to: str = ""
    statuses: tuple[str, ...] = ()
    prefix: str = ""
    after: tuple[str, str] = ("", "")  # creation time and id of the last one of the page before
    top: int = 100

    def sql(self) -> tuple[str, list[Any]]:
        """The condition and its values."""
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


class Store:
    """All reading and writing. Create, use and close it on one thread; call methods through `run`."""

    def __init__(self, path: Path):
        path.parent.mkdir(parents=True, exist_ok=True)
        self._histories: OrderedDict[str, tuple[str, list[str], int]] = OrderedDict()
        self._cached = 0
        self._woken = Woken()
        self._db = sqlite3.connect(path, isolation_level=None, timeout=1)
        try:
            self._open()
        except sqlite3.Error as error:
            self._db.close()
            raise DatabaseUnusable(f"{path}: {error}; end the other process, or move the file away") from error
        except DatabaseUnusable as error:
            self._db.close()
            raise DatabaseUnusable(f"{path}: {error}; move the file away to start afresh") from None

    def _open(self) -> None:
        # Exclusive: a second engine on the same file is an error at once, not two engines running the same work.
        self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
        known = [self._db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")]
        if known != [APPLICATION, VERSION] and self._db.execute("SELECT 1 FROM sqlite_schema").fetchone():
            raise DatabaseUnusable("not a database of this engine, or one of another version")
        if (health := self._db.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
            raise DatabaseUnusable(f"the database is damaged ({health})")
        # Survives kill -9 of the process: what was written is in the kernel. A power cut may undo the last
        # transactions (not damage the file), which a development machine can bear.
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.execute("PRAGMA foreign_keys = ON")
        if known != [APPLICATION, VERSION]:
            self._db.executescript(
                f"BEGIN EXCLUSIVE; {SCHEMA} PRAGMA application_id = {APPLICATION};"
                f"PRAGMA user_version = {VERSION}; COMMIT"
            )
        else:
            self._db.execute("BEGIN EXCLUSIVE")
            self._db.execute("COMMIT")

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def run(self, work: Callable[..., T], *arguments: Any) -> tuple[T, Woken]:
        """Run one method as one transaction; its result, and who has work after it."""
        self._woken = Woken()
        self._db.execute("BEGIN")
        try:
            result = work(*arguments)
            self._db.execute("COMMIT")
        except BaseException:
            self._histories.clear()
            self._cached = 0
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
        return result, self._woken

    # Work

    def unfinished(self) -> None:
        """Wake everything that has work: after a start."""
        self._woken.instances |= {
            id
            for (id,) in self._db.execute(
                "SELECT id FROM instance WHERE status IN ('Pending', 'Running')"
                " AND (id IN (SELECT instance FROM message) OR NOT EXISTS (SELECT 1 FROM history WHERE instance = id))"
            )
        }
        self._woken.activities += [id for (id,) in self._db.execute("SELECT id FROM activity ORDER BY id")]
        self._woken.entities |= {id for (id,) in self._db.execute("SELECT DISTINCT entity FROM operation")}
        self._woken.timers = True

    def load(self, id: str) -> Turn | None:
        """The next step of an instance; None when it may not run."""
        instance = self.get(id)
        if instance is None or instance.status not in ("Pending", "Running"):
            return None
        rows = self._db.execute("SELECT id, event FROM message WHERE instance = ? ORDER BY id", (id,))
        return Turn(instance, self._history(instance), [(number, json.loads(text)) for number, text in rows])

    def commit(self, turn: Turn) -> bool:
        """Store a step with all its effects; False when the instance was ended or replaced during it."""
        instance, moment = turn.instance, now()
        state = State() if turn.continued is not None else turn.state
        execution = Instance(instance.id, instance.name, None).execution if turn.continued else instance.execution
        done = self._db.execute(
            "UPDATE instance SET execution = ?, output = ?, custom_status = ?, updated = ?, state = ?,"
            " status = CASE WHEN status = 'Suspended' AND ? = 'Running' THEN status ELSE ? END"
            " WHERE id = ? AND execution = ? AND status IN ('Pending', 'Running', 'Suspended')",
            (execution, turn.output, turn.custom_status, moment, state.dump(), turn.status, turn.status,
             instance.id, instance.execution),
        )  # fmt: skip
        if not done.rowcount:
            return False
        self._db.executemany("DELETE FROM message WHERE id = ?", [(number,) for number in turn.consumed])
        self._effects(turn)
        if turn.continued is not None:
            self._begin_again(instance, execution, turn.continued)
        else:
            self._append(instance, turn.added)
            if turn.status in FINISHED:
                self._finished(instance, turn.status, turn.output)
            else:
                self._woken.instances.add(instance.id)
        return True

    def _effects(self, turn: Turn) -> None:
        id, execution = turn.instance.id, turn.instance.execution
        for call in turn.activities:
            row = self._db.execute(
                "INSERT INTO activity(instance, execution, task, name, input) VALUES(?, ?, ?, ?, ?)",
                (id, execution, call.task, call.name, call.input),
            )
            self._woken.activities.append(row.lastrowid or 0)
        for timer, due in turn.timers.items():
            self._db.execute("INSERT INTO timer VALUES(?, ?, ?, ?)", (id, timer, execution, due))
            self._woken.timers = True
        self._db.executemany("DELETE FROM timer WHERE instance = ? AND task = ?", [(id, t) for t in turn.cancelled])
        for call in turn.entity_calls:
            self.call_entity(call, id, execution)
        for call in turn.children:
            child = Instance(call.id, call.name, call.input, call.version, parent=(id, execution, call.task))
            if not self.start(child):
                reason = f"An orchestration instance with the id '{call.id}' is already running."
                self._message(id, execution, _result(Kind.CHILD_FAILED, call.task, None, reason))

    def _begin_again(self, instance: Instance, execution: str, input: str) -> None:
        self._db.execute(
            "UPDATE instance SET input = ?, quoted_input = 0 WHERE id = ?",
            (input, instance.id),
        )
        for table in ("history", "timer"):
            self._db.execute(f"DELETE FROM {table} WHERE instance = ?", (instance.id,))
        # External events, which belong to no execution, are carried over.
        self._db.execute("DELETE FROM message WHERE instance = ? AND execution IS NOT NULL", (instance.id,))
        self._forget(instance.id)
        self._woken.instances.add(instance.id)

    def _finished(self, instance: Instance, status: str, output: str | None) -> None:
        self._db.execute("DELETE FROM timer WHERE instance = ?", (instance.id,))
        if status != "Failed":  # what still arrives for a failed one is wanted when it is rewound
            self._db.execute("DELETE FROM message WHERE instance = ?", (instance.id,))
        self._forget(instance.id)
        if instance.parent:
            parent, execution, task = instance.parent
            if status == "Completed":
                self._message(parent, execution, _result(Kind.CHILD_COMPLETED, task, output, None))
            else:
                reason = str(json.loads(output)) if output else status
                self._message(parent, execution, _result(Kind.CHILD_FAILED, task, None, reason))

    def activity(self, number: int) -> ActivityCall | None:
        """An activity to run; None when it is not wanted any more."""
        row = self._db.execute("SELECT task, name, input FROM activity WHERE id = ?", (number,)).fetchone()
        return row and ActivityCall(*row)

    def activity_done(self, number: int, result: str | None, error: str | None) -> None:
        """Hand an activity's result (JSON text) or error to its orchestration, once."""
        row = self._db.execute(
            "DELETE FROM activity WHERE id = ? RETURNING instance, execution, task", (number,)
        ).fetchone()
        if row:
            instance, execution, task = row
            kind = Kind.TASK_COMPLETED if error is None else Kind.TASK_FAILED
            self._message(instance, execution, _result(kind, task, result, error))

    def fire_timers(self) -> str | None:
        """Hand the due timers to their orchestrations; when the next one is due."""
        due = self._db.execute(
            "SELECT instance, execution, task, due FROM timer WHERE due <= ? ORDER BY due", (now(),)
        ).fetchall()
        for instance, execution, task, fire_at in due:
            self._db.execute("DELETE FROM timer WHERE instance = ? AND task = ?", (instance, task))
            self._message(instance, execution, event(Kind.TIMER_FIRED, TimerId=task, FireAt=fire_at))
        return self._db.execute("SELECT min(due) FROM timer").fetchone()[0]

    # Entities

    def call_entity(self, call: EntityCall, instance: str | None = None, execution: str | None = None) -> None:
        """Queue an operation."""
        self._db.execute(
            "INSERT INTO operation(entity, name, input, instance, execution, reply) VALUES(?, ?, ?, ?, ?, ?)",
            (call.entity, call.operation, call.input, instance, execution, call.reply),
        )
        self._woken.entities.add(call.entity)

    def entity_batch(self, id: str) -> tuple[str | None, list[tuple[int, str, str | None, str | None]]]:
        """The state of an entity (JSON text; None when it does not exist) and the next operations:
        number, name, input, id of the wanted reply."""
        rows = self._db.execute(
            "SELECT id, name, input, reply FROM operation WHERE entity = ? ORDER BY id LIMIT ?", (id, ENTITY_BATCH)
        ).fetchall()
        return self.entity_state(id), rows

    def entity_state(self, id: str) -> str | None:
        """The state of an entity as JSON text; None when it does not exist."""
        row = self._db.execute("SELECT state FROM entity WHERE id = ?", (id,)).fetchone()
        return row and row[0]

    def entity_done(self, id: str, state: str | None, replies: dict[int, str]) -> None:
        """Store an entity's new state (None: it is gone) and hand its replies (number -> JSON text) to the callers."""
        if state is None:
            self._db.execute("DELETE FROM entity WHERE id = ?", (id,))
        else:
            self._db.execute("INSERT OR REPLACE INTO entity VALUES(?, ?, ?)", (id, state, now()))
        for number, reply in replies.items():
            row = self._db.execute(
                "DELETE FROM operation WHERE id = ? RETURNING instance, execution, reply", (number,)
            ).fetchone()
            if row and row[2]:
                self._message(row[0], row[1], event(Kind.EVENT_RAISED, Name=row[2], Input=reply))
        if self._db.execute("SELECT 1 FROM operation WHERE entity = ?", (id,)).fetchone():
            self._woken.entities.add(id)

    # Management

    def start(self, instance: Instance) -> bool:
        """Start an instance, in the place of a finished one; False when one of this id is not finished."""
        present = self._db.execute("SELECT status FROM instance WHERE id = ?", (instance.id,)).fetchone()
        if present and present[0] not in FINISHED:
            return False
        if present:
            self.purge([instance.id])
        self._db.execute(
            "INSERT INTO instance VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (instance.id, instance.name, instance.version, instance.execution, instance.status, instance.input,
             instance.quoted_input, instance.output, instance.custom_status, instance.created, instance.updated,
             instance.parent and json.dumps(instance.parent), instance.state.dump()),
        )  # fmt: skip
        self._woken.instances.add(instance.id)
        return True

    def get(self, id: str) -> Instance | None:
        """An instance."""
        row = self._db.execute("SELECT * FROM instance WHERE id = ?", (id,)).fetchone()
        return row and _instance(row)

    def history(self, id: str) -> list[dict[str, Any]]:
        """The events of an instance, oldest first."""
        rows = self._db.execute("SELECT event FROM history WHERE instance = ? ORDER BY position", (id,))
        return [json.loads(text) for (text,) in rows]

    def raise_event(self, id: str, name: str, data: str) -> str | None:
        """Queue an external event (JSON text); the status of the instance before, None when there is none."""
        row = self._db.execute("SELECT status FROM instance WHERE id = ?", (id,)).fetchone()
        if row and row[0] not in FINISHED:
            self._message(id, None, event(Kind.EVENT_RAISED, Name=name, Input=data))
        return row and row[0]

    def terminate(self, id: str, reason: str) -> str | None:
        """End an instance at once; its status before, None when there is none."""
        instance = self.get(id)
        if instance is None or instance.status in FINISHED:
            return instance and instance.status
        output = json.dumps(reason)
        self._db.execute(
            "UPDATE instance SET status = 'Terminated', output = ?, updated = ? WHERE id = ?", (output, now(), id)
        )
        self._append(instance, [encode(event(Kind.EXECUTION_TERMINATED, Input=reason))])
        self._finished(instance, "Terminated", output)
        return instance.status

    def suspend(self, id: str) -> str | None:
        """Run no further step of an instance until it is resumed; its status before, None when there is none."""
        return self._switch(id, ("Pending", "Running"), "Suspended")

    def resume(self, id: str) -> str | None:
        """Go on with a suspended instance; its status before, None when there is none."""
        return self._switch(id, ("Suspended",), "Running")

    def _switch(self, id: str, before: tuple[str, ...], after: str) -> str | None:
        instance = self.get(id)
        if instance and instance.status in before:
            self._db.execute("UPDATE instance SET status = ?, updated = ? WHERE id = ?", (after, now(), id))
            self._woken.instances.add(id)
        return instance and instance.status

    def find(self, query: "Query") -> list[Instance]:
        """The instances that match, oldest first."""
        where, values = query.sql()
        rows = self._db.execute(
            f"SELECT * FROM instance WHERE {where} ORDER BY created, id LIMIT ?", (*values, query.top)
        )
        return [_instance(row) for row in rows]

    def purge_found(self, query: "Query") -> int:
        """Delete the finished instances that match; how many."""
        where, values = query.sql()
        return self.purge(
            [id for (id,) in self._db.execute(f"SELECT id FROM instance WHERE {where}", values).fetchall()]
        )

    def entities(self, prefix: str) -> list[tuple[str, str, str]]:
        """The entities whose id begins so: id, state (JSON text), last change."""
        sql = "SELECT id, state, updated FROM entity WHERE substr(id, 1, length(?)) = ? ORDER BY id"
        return self._db.execute(sql, (prefix, prefix)).fetchall()

    def purge(self, ids: list[str]) -> int:
        """Delete finished instances with all that is theirs; how many."""
        gone = 0
        for id in ids:
            gone += self._db.execute(f"DELETE FROM instance WHERE id = ? AND status IN {FINISHED}", (id,)).rowcount
            self._forget(id)
        return gone

    # Parts

    def _message(self, instance: str, execution: str | None, what: dict[str, Any]) -> None:
        """Queue a message, unless its instance has gone or begun again."""
        done = self._db.execute(
            "INSERT INTO message(instance, execution, event) SELECT id, ?, ? FROM instance"
            " WHERE id = ? AND execution = coalesce(?, execution) AND status NOT IN ('Completed', 'Terminated')",
            (execution, json.dumps(what), instance, execution),
        )
        if done.rowcount:
            self._woken.instances.add(instance)

    def _append(self, instance: Instance, events: list[str]) -> None:
        texts = self._history(instance)
        self._db.executemany(
            "INSERT INTO history VALUES(?, ?, ?)",
            [(instance.id, position, text) for position, text in enumerate(events, len(texts))],
        )
        texts += events
        size = sum(map(len, events))
        self._histories[instance.id] = (instance.execution, texts, self._histories[instance.id][2] + size)
        self._cached += size
        self._shrink()

    def _history(self, instance: Instance) -> list[str]:
        held = self._histories.get(instance.id)
        if held and held[0] == instance.execution:
            self._histories.move_to_end(instance.id)
            return held[1]
        rows = self._db.execute("SELECT event FROM history WHERE instance = ? ORDER BY position", (instance.id,))
        texts = [text for (text,) in rows]
        self._remember(instance, texts)
        return texts

    def _remember(self, instance: Instance, texts: list[str]) -> None:
        self._forget(instance.id)
        size = sum(map(len, texts))
        self._histories[instance.id] = (instance.execution, texts, size)
        self._cached += size
        self._shrink()

    def _shrink(self) -> None:
        while self._cached > CACHE_BYTES and len(self._histories) > 1:
            self._cached -= self._histories.popitem(last=False)[1][2]

    def _forget(self, id: str) -> None:
        held = self._histories.pop(id, None)
        if held:
            self._cached -= held[2]


def _instance(row: tuple[Any, ...]) -> Instance:
    (id, name, version, execution, status, input, quoted, output, custom_status, created, updated, parent, state) = row
    return Instance(
        id, name, input, version, execution, status, bool(quoted), output, custom_status, created, updated,
        tuple(json.loads(parent)) if parent else None, State(**json.loads(state)),
    )  # fmt: skip


def _result(kind: Kind, task: int, result: str | None, error: str | None) -> dict[str, Any]:
    outcome: dict[str, Any] = {"Result": result} if error is None else {"Reason": error, "Details": ""}
    return event(kind, TaskScheduledId=task, **outcome)
