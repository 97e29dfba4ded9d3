"""The terms of the protocol: history events, actions, and the parts of an orchestration."""

import json
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import IntEnum
from typing import Any

TIME = "%Y-%m-%dT%H:%M:%S.%fZ"  # the format of the SDK; these texts sort by time
HTTP_ACTIVITY = "BuiltIn::HttpActivity"
FINISHED = ("Completed", "Failed", "Terminated")


class EventType(IntEnum):
    """The types of history events, by their numbers."""

    EXECUTION_STARTED = 0
    EXECUTION_COMPLETED = 1
    EXECUTION_FAILED = 2
    EXECUTION_TERMINATED = 3
    TASK_SCHEDULED = 4
    TASK_COMPLETED = 5
    TASK_FAILED = 6
    CHILD_CREATED = 7
    CHILD_COMPLETED = 8
    CHILD_FAILED = 9
    TIMER_CREATED = 10
    TIMER_FIRED = 11
    ORCHESTRATOR_STARTED = 12
    ORCHESTRATOR_COMPLETED = 13
    EVENT_SENT = 14
    EVENT_RAISED = 15


FAILURES = (EventType.TASK_FAILED, EventType.CHILD_FAILED)
SUCCESSES = (EventType.TASK_COMPLETED, EventType.CHILD_COMPLETED)


class ActionType(IntEnum):
    """The types of the actions in an orchestrator's answer, by their numbers."""

    CALL_ACTIVITY = 0
    CALL_ACTIVITY_WITH_RETRY = 1
    CALL_CHILD = 2
    CALL_CHILD_WITH_RETRY = 3
    CONTINUE_AS_NEW = 4
    CREATE_TIMER = 5
    WAIT_FOR_EVENT = 6
    CALL_ENTITY = 7
    CALL_HTTP = 8
    SIGNAL_ENTITY = 9
    WHEN_ANY = 11
    WHEN_ALL = 12


def now() -> str:
    """The present time in the format of histories."""
    return datetime.now(UTC).strftime(TIME)


def event(kind: EventType, number: int = -1, **fields: Any) -> dict[str, Any]:
    """A history event with the present time."""
    return {"EventType": int(kind), "EventId": number, "Timestamp": now(), **fields}


def encode(what: dict[str, Any]) -> str:
    """The stored JSON text of an event; its last member marks the event as replayed."""
    return json.dumps(what)[:-1] + ', "IsPlayed": true}'


@dataclass
class ExecutionState:
    """What the engine remembers of one execution in addition to its history."""

    next_id: int = 0
    seen: int = 0  # number of actions in the last answer, which repeats all earlier ones
    waits: dict[str, int] = field(default_factory=dict)  # event name -> number of open waits
    retries: dict[str, dict[str, Any]] = field(default_factory=dict)  # "task 3" or "timer 4" -> the action to retry
    timers: list[int] = field(default_factory=list)  # ids in the order of their actions, -1 for a cancelled one

    def dump(self) -> str:
        """As JSON text."""
        return json.dumps(vars(self))


@dataclass
class Instance:
    """One orchestration instance as it is stored; payloads are JSON texts."""

    id: str
    name: str
    input: str | None
    version: str | None = None
    execution: str = field(default_factory=lambda: uuid.uuid4().hex)
    status: str = "Pending"
    quoted_input: bool = False  # started by the SDK, which sends JSON text inside a JSON string
    output: str | None = None
    custom_status: str | None = None
    created: str = field(default_factory=now)
    updated: str = field(default_factory=now)
    parent: tuple[str, str, int] | None = None  # instance, execution, task
    state: ExecutionState = field(default_factory=ExecutionState)


@dataclass(frozen=True)
class ActivityCall:
    """An activity to run."""

    task: int
    name: str
    input: str


@dataclass(frozen=True)
class ChildCall:
    """A sub-orchestration to start."""

    task: int
    name: str
    input: str | None
    id: str
    version: str | None


@dataclass(frozen=True)
class EntityCall:
    """An operation for an entity; without `reply` it is a signal."""

    entity: str
    operation: str
    input: str | None
    reply: str | None
