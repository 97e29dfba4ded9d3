"""The state of the engine in SQLite: what is ready to run, and the outcome of what has run.

`DurableStore` holds steps, activities, timers and entities; `operations.py` adds the operations of the management API.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from infra.emulator.durable.database import connect
from infra.emulator.durable.entities import Operation
from infra.emulator.durable.protocol import (
    FINISHED,
    ActivityCall,
    EntityCall,
    EventType,
    ExecutionState,
    Instance,
    event,
    now,
)
from infra.emulator.durable.rows import Histories, Woken, instance_of, instance_row, result_event
from infra.emulator.durable.turn import Turn

T = TypeVar("T")
ENTITY_BATCH = 50


class DurableStore:
    """All methods run on one thread, each as one transaction through `run`.

    Raises:
        DatabaseUnusable: the file cannot be used.
    """

    def __init__(self, path: Path):
        self._db = connect(path)
        self._histories = Histories(self._db)
        self._woken = Woken()

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def run(self, work: Callable[..., T], *arguments: Any) -> tuple[T, Woken]:
        """Run one method as one transaction; returns its result, and what became ready to run."""
        self._woken = Woken()
        self._db.execute("BEGIN")
        try:
            result = work(*arguments)
            self._db.execute("COMMIT")
        except BaseException:
            self._histories.clear()
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
        return result, self._woken

    def unfinished(self) -> None:
        """Mark all unfinished work as ready, after a start."""
        self._woken.instances |= {
            id
            for (id,) in self._db.execute(
                "SELECT id FROM instance WHERE status IN ('Pending', 'Running')"
                " AND (id IN (SELECT instance FROM message) OR NOT EXISTS (SELECT 1 FROM history WHERE instance = id))"
            )
        }
        self._woken.activities += [
            id for (id,) in self._db.execute("SELECT id FROM activity WHERE NOT failed ORDER BY id")
        ]
        self._woken.entities |= {id for (id,) in self._db.execute("SELECT DISTINCT entity FROM operation")}
        self._woken.timers = True

    # Steps of orchestrations

    def get(self, id: str) -> Instance | None:
        """An instance."""
        row = self._db.execute("SELECT * FROM instance WHERE id = ?", (id,)).fetchone()
        return row and instance_of(row)

    def load(self, id: str) -> Turn | None:
        """The next step of an instance; None when it does not exist, has finished or is suspended."""
        instance = self.get(id)
        if instance is None or instance.status not in ("Pending", "Running"):
            return None
        rows = self._db.execute("SELECT id, event FROM message WHERE instance = ? ORDER BY id", (id,))
        return Turn(instance, self._histories.read(instance), [(number, json.loads(text)) for number, text in rows])

    def commit(self, turn: Turn) -> bool:
        """Store a step with all its effects; returns False when the instance was ended or restarted meanwhile."""
        instance = turn.instance
        state = ExecutionState() if turn.continued is not None else turn.state
        # An instance that was suspended during the step stays suspended.
        done = self._db.execute(
            "UPDATE instance SET output = ?, custom_status = ?, updated = ?, state = ?,"
            " status = CASE WHEN status = 'Suspended' AND ? = 'Running' THEN status ELSE ? END"
            " WHERE id = ? AND execution = ? AND status IN ('Pending', 'Running', 'Suspended')",
            (turn.output, turn.custom_status, now(), state.dump(), turn.status, turn.status,
             instance.id, instance.execution),
        )  # fmt: skip
        if not done.rowcount:
            return False
        self._db.executemany("DELETE FROM message WHERE id = ?", [(number,) for number in turn.consumed])
        self._effects(turn)
        if turn.continued is not None:
            self._begin_again(instance, turn.continued)
            return True
        if turn.gave_up or turn.status == "Failed":
            values = (instance.id, len(self._histories.read(instance)), turn.before, turn.gave_up)
            self._db.execute("INSERT INTO checkpoint VALUES(?, ?, ?, ?)", values)
        self._histories.append(instance, turn.added)
        if turn.status in FINISHED:
            self._finished(instance, turn.status, turn.output)
        else:
            self._woken.instances.add(instance.id)
        return True

    def start(self, instance: Instance) -> bool:
        """Start an instance, which replaces a finished one; returns False when an unfinished one has its id."""
        present = self._db.execute("SELECT status FROM instance WHERE id = ?", (instance.id,)).fetchone()
        if present and present[0] not in FINISHED:
            return False
        self._delete(instance.id)
        row = instance_row(instance)
        self._db.execute(f"INSERT INTO instance VALUES({', '.join('?' * len(row))})", row)
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
            self._set_timer(turn.instance, timer, due)
        self._db.executemany("DELETE FROM timer WHERE instance = ? AND task = ?", [(id, t) for t in turn.cancelled])
        for call in turn.entity_calls:
            self.call_entity(call, id, execution)
        for call in turn.children:
            child = Instance(call.id, call.name, call.input, call.version, parent=(id, execution, call.task))
            if not self.start(child):
                reason = f"An orchestration instance with the id '{call.id}' is already running."
                self._message(id, execution, result_event(EventType.CHILD_FAILED, call.task, None, reason))

    def _begin_again(self, instance: Instance, input: str) -> None:
        execution = Instance(instance.id, instance.name, input).execution
        sql = "UPDATE instance SET input = ?, quoted_input = 0, execution = ? WHERE id = ?"
        self._db.execute(sql, (input, execution, instance.id))
        for table in ("history", "timer", "checkpoint"):
            self._db.execute(f"DELETE FROM {table} WHERE instance = ?", (instance.id,))
        self._db.execute("DELETE FROM activity WHERE instance = ? AND failed", (instance.id,))
        # External events, which belong to no execution, are carried over.
        self._db.execute("DELETE FROM message WHERE instance = ? AND execution IS NOT NULL", (instance.id,))
        self._histories.forget(instance.id)
        self._woken.instances.add(instance.id)

    def _finished(self, instance: Instance, status: str, output: str | None) -> None:
        self._db.execute("DELETE FROM timer WHERE instance = ?", (instance.id,))
        if status != "Failed":  # a failed instance may be rewound, and then needs the messages that still arrive
            self._db.execute("DELETE FROM message WHERE instance = ?", (instance.id,))
            self._db.execute("DELETE FROM activity WHERE instance = ? AND failed", (instance.id,))
            self._db.execute("DELETE FROM checkpoint WHERE instance = ?", (instance.id,))
        self._histories.forget(instance.id)
        if instance.parent:
            parent, execution, task = instance.parent
            if status == "Completed":
                self._message(parent, execution, result_event(EventType.CHILD_COMPLETED, task, output, None))
            else:
                reason = str(json.loads(output)) if output else status
                self._message(parent, execution, result_event(EventType.CHILD_FAILED, task, None, reason))

    def _message(self, instance: str, execution: str | None, what: dict[str, Any]) -> None:
        """Queue a message, unless its instance was ended, deleted or restarted."""
        done = self._db.execute(
            "INSERT INTO message(instance, execution, event) SELECT id, ?, ? FROM instance"
            " WHERE id = ? AND execution = coalesce(?, execution) AND status NOT IN ('Completed', 'Terminated')",
            (execution, json.dumps(what), instance, execution),
        )
        if done.rowcount:
            self._woken.instances.add(instance)

    def _delete(self, id: str) -> None:
        self._db.execute("DELETE FROM instance WHERE id = ?", (id,))
        self._histories.forget(id)

    # Activities and timers

    def activity(self, number: int) -> ActivityCall | None:
        """An activity to run; None when its orchestration does not need it any more."""
        row = self._db.execute(
            "SELECT task, name, input FROM activity WHERE id = ? AND NOT failed", (number,)
        ).fetchone()
        return row and ActivityCall(*row)

    def activity_goes_on(self, number: int, input: str) -> None:
        """Replace the input of an activity that runs again later."""
        self._db.execute("UPDATE activity SET input = ? WHERE id = ?", (input, number))

    def activity_done(self, number: int, result: str | None, error: str | None) -> None:
        """Send an activity's result (JSON text) or error to its orchestration, exactly once."""
        # A failed activity is kept until its orchestration ends, because a rewind runs it again.
        done = "DELETE FROM activity WHERE" if error is None else "UPDATE activity SET failed = 1 WHERE NOT failed AND"
        row = self._db.execute(f"{done} id = ? RETURNING instance, execution, task", (number,)).fetchone()
        if row:
            instance, execution, task = row
            kind = EventType.TASK_COMPLETED if error is None else EventType.TASK_FAILED
            self._message(instance, execution, result_event(kind, task, result, error))

    def fire_timers(self) -> str | None:
        """Send the due timers to their orchestrations; returns when the next timer is due, None without one."""
        due = self._db.execute(
            "SELECT instance, execution, task, due FROM timer WHERE due <= ? ORDER BY due", (now(),)
        ).fetchall()
        for instance, execution, task, fire_at in due:
            self._db.execute("DELETE FROM timer WHERE instance = ? AND task = ?", (instance, task))
            self._message(instance, execution, event(EventType.TIMER_FIRED, TimerId=task, FireAt=fire_at))
        return self._db.execute("SELECT min(due) FROM timer").fetchone()[0]

    def _set_timer(self, instance: Instance, timer: int, due: str) -> None:
        self._db.execute("INSERT INTO timer VALUES(?, ?, ?, ?)", (instance.id, timer, instance.execution, due))
        self._woken.timers = True

    # Entities

    def call_entity(self, call: EntityCall, instance: str | None = None, execution: str | None = None) -> None:
        """Queue an operation of an entity."""
        self._db.execute(
            "INSERT INTO operation(entity, name, input, instance, execution, reply) VALUES(?, ?, ?, ?, ?, ?)",
            (call.entity, call.operation, call.input, instance, execution, call.reply),
        )
        self._woken.entities.add(call.entity)

    def entity_batch(self, id: str) -> tuple[str | None, list[Operation]]:
        """The state of an entity (JSON text; None when it does not exist) and its next operations."""
        rows = self._db.execute(
            "SELECT id, name, input, reply FROM operation WHERE entity = ? ORDER BY id LIMIT ?", (id, ENTITY_BATCH)
        ).fetchall()
        return self.entity_state(id), rows

    def entity_state(self, id: str) -> str | None:
        """The state of an entity as JSON text; None when it does not exist."""
        row = self._db.execute("SELECT state FROM entity WHERE id = ?", (id,)).fetchone()
        return row and row[0]

    def entity_done(self, id: str, state: str | None, replies: dict[int, str]) -> None:
        """Store an entity's new state (None deletes it) and send its replies (number -> JSON text) to the callers."""
        if state is None:
            self._db.execute("DELETE FROM entity WHERE id = ?", (id,))
        else:
            self._db.execute("INSERT OR REPLACE INTO entity VALUES(?, ?, ?)", (id, state, now()))
        for number, reply in replies.items():
            row = self._db.execute(
                "DELETE FROM operation WHERE id = ? RETURNING instance, execution, reply", (number,)
            ).fetchone()
            if row and row[2]:
                self._message(row[0], row[1], event(EventType.EVENT_RAISED, Name=row[2], Input=reply))
        if self._db.execute("SELECT 1 FROM operation WHERE entity = ?", (id,)).fetchone():
            self._woken.entities.add(id)
