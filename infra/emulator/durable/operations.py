"""What requests of the management API do: query, signal, end, purge, rewind and restart instances."""

import json
from typing import Any

from infra.emulator.durable.protocol import FAILURES, FINISHED, EventType, ExecutionState, Instance, encode, event, now
from infra.emulator.durable.rows import InstanceQuery, instance_of
from infra.emulator.durable.state import DurableStore


class ManagementStore(DurableStore):
    """The store with the operations of the management API. As in DurableStore, each method is one transaction."""

    def history(self, id: str) -> list[dict[str, Any]]:
        """The events of an instance, oldest first."""
        rows = self._db.execute("SELECT event FROM history WHERE instance = ? ORDER BY position", (id,))
        return [json.loads(text) for (text,) in rows]

    def find(self, query: InstanceQuery) -> list[Instance]:
        """The instances that match, oldest first."""
        where, values = query.sql()
        sql = f"SELECT * FROM instance WHERE {where} ORDER BY created, id LIMIT ?"
        return [instance_of(row) for row in self._db.execute(sql, (*values, query.top))]

    def entities(self, prefix: str) -> list[tuple[str, str, str]]:
        """The entities whose id begins with `prefix`: id, state (JSON text), time of the last change."""
        sql = "SELECT id, state, updated FROM entity WHERE substr(id, 1, length(?)) = ? ORDER BY id"
        return self._db.execute(sql, (prefix, prefix)).fetchall()

    def raise_event(self, id: str, name: str, data: str) -> str | None:
        """Queue an external event (JSON text); returns the status of the instance, None when it does not exist."""
        row = self._db.execute("SELECT status FROM instance WHERE id = ?", (id,)).fetchone()
        if row and row[0] not in FINISHED:
            self._message(id, None, event(EventType.EVENT_RAISED, Name=name, Input=data))
        return row and row[0]

    def terminate(self, id: str, reason: str) -> str | None:
        """End an instance immediately; returns its status before, None when it does not exist."""
        instance = self.get(id)
        if instance is None or instance.status in FINISHED:
            return instance and instance.status
        output = json.dumps(reason)
        self._db.execute(
            "UPDATE instance SET status = 'Terminated', output = ?, updated = ? WHERE id = ?", (output, now(), id)
        )
        self._histories.append(instance, [encode(event(EventType.EXECUTION_TERMINATED, Input=reason))])
        self._finished(instance, "Terminated", output)
        return instance.status

    def suspend(self, id: str) -> str | None:
        """Run no step of an instance until it is resumed; returns its status before, None when it does not exist."""
        return self._switch(id, ("Pending", "Running"), "Suspended")

    def resume(self, id: str) -> str | None:
        """Continue a suspended instance; returns its status before, None when it does not exist."""
        return self._switch(id, ("Suspended",), "Running")

    def _switch(self, id: str, before: tuple[str, ...], after: str) -> str | None:
        instance = self.get(id)
        if instance and instance.status in before:
            self._db.execute("UPDATE instance SET status = ?, updated = ? WHERE id = ?", (after, now(), id))
            self._woken.instances.add(id)
        return instance and instance.status

    def purge(self, id: str) -> int:
        """Delete a finished instance with its history; returns 1, or 0 when there is no such finished instance."""
        sql = f"SELECT 1 FROM instance WHERE id = ? AND status IN {FINISHED}"
        if not self._db.execute(sql, (id,)).fetchone():
            return 0
        self._delete(id)
        return 1

    def purge_found(self, query: InstanceQuery) -> int:
        """Delete the finished instances that match; returns their number."""
        where, values = query.sql()
        rows = self._db.execute(f"SELECT id FROM instance WHERE {where}", values).fetchall()
        return sum(self.purge(id) for (id,) in rows)

    def rewind(self, id: str) -> str | None:
        """Return a failed instance to the moment before its last failure, and run the failed part again.

        Results that arrived after that moment for tasks scheduled before it are kept. Returns the status before, None
        when the instance does not exist.
        """
        instance = self.get(id)
        if instance is None or instance.status != "Failed":
            return instance and instance.status
        position, text = self._db.execute(
            "SELECT position, state FROM checkpoint WHERE instance = ? ORDER BY gave_up DESC, position DESC", (id,)
        ).fetchone()
        state = ExecutionState(**json.loads(text))
        events = self.history(id)
        kept, dropped = events[:position], events[position:]
        self._histories.truncate(instance, position)
        self._db.execute("DELETE FROM checkpoint WHERE instance = ? AND position >= ?", (id, position))
        self._db.execute("DELETE FROM activity WHERE instance = ? AND task >= ?", (id, state.next_id))
        self._db.execute(
            "UPDATE instance SET status = 'Running', output = NULL, state = ?, updated = ? WHERE id = ?",
            (text, now(), id),
        )
        for e in dropped:
            if e["EventType"] == EventType.CHILD_CREATED:
                self.terminate(e["InstanceId"], "its parent was rewound")
        answers = self._answers_again(instance, kept, dropped, state)
        for e in kept:
            if e["EventType"] == EventType.TIMER_CREATED and self._still_open(e, [*kept, *answers], state):
                self._set_timer(instance, e["EventId"], e["FireAt"])
        self._woken.instances.add(id)
        return instance.status

    def _answers_again(
        self, instance: Instance, kept: list[dict[str, Any]], dropped: list[dict[str, Any]], state: ExecutionState
    ) -> list[dict[str, Any]]:
        """Queue the messages that came after the rewound moment or after the failure, and repeat what failed."""
        asked, asked_later = (
            {json.loads(e["Input"])["id"] for e in events if e["EventType"] == EventType.EVENT_SENT}
            for events in (kept, dropped)
        )
        waiting = self._db.execute(
            "DELETE FROM message WHERE instance = ? RETURNING id, event", (instance.id,)
        ).fetchall()
        answers = []
        for e in [*dropped, *(json.loads(text) for _, text in sorted(waiting))]:
            if e["EventType"] == EventType.EVENT_RAISED:
                if e["Name"] not in asked_later:
                    # The reply of an entity belongs to this execution; an external event belongs to no execution.
                    self._message(instance.id, instance.execution if e["Name"] in asked else None, e)
            elif self._gave_up(e, state):
                self._repeat(instance, kept, e["TaskScheduledId"])
            elif e.get("TaskScheduledId", e.get("TimerId", state.next_id)) < state.next_id:
                self._message(instance.id, instance.execution, e)
                answers.append(e)
        return answers

    def _gave_up(self, e: dict[str, Any], state: ExecutionState) -> bool:
        """Whether this event is a failure after which no retry was left."""
        if e["EventType"] not in FAILURES or e["TaskScheduledId"] >= state.next_id:
            return False
        retry = state.retries.get(f"task {e['TaskScheduledId']}")
        return retry is None or retry["attempt"] >= retry["action"]["retryOptions"]["maxNumberOfAttempts"]

    def _still_open(self, e: dict[str, Any], events: list[dict[str, Any]], state: ExecutionState) -> bool:
        timer = e["EventId"]
        wanted = timer in state.timers or f"timer {timer}" in state.retries
        return wanted and not any(other.get("TimerId") == timer for other in events)

    def _repeat(self, instance: Instance, kept: list[dict[str, Any]], task: int) -> None:
        scheduled = next(e for e in kept if e["EventId"] == task)
        if scheduled["EventType"] == EventType.TASK_SCHEDULED:
            rows = self._db.execute(
                "UPDATE activity SET failed = 0 WHERE instance = ? AND execution = ? AND task = ? RETURNING id",
                (instance.id, instance.execution, task),
            ).fetchall()
            self._woken.activities += [number for (number,) in rows]
            return
        child = self.get(scheduled["InstanceId"])
        if child and child.status == "Failed":
            self.rewind(child.id)
        elif child:
            self.start(Instance(child.id, child.name, child.input, child.version, parent=child.parent))
