"""The replay rules: what one step of an orchestration adds to its history, and what it asks the engine to do.

Nothing here does input or output. The SDK numbers everything it schedules by one counter, in the order in which
its replay comes across it; `State` repeats that count, so the rules below must see things in the same order.
"""

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from typing import Any

TIME = "%Y-%m-%dT%H:%M:%S.%fZ"  # as the SDK writes it; such texts sort by time
HTTP_ACTIVITY = "BuiltIn::HttpActivity"
FINISHED = ("Completed", "Failed", "Terminated")
FAILURE_MARK = "$OutOfProcData$:"


class Kind(IntEnum):
    """The numbers of the history events."""

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


FAILURES = (Kind.TASK_FAILED, Kind.CHILD_FAILED)
SUCCESSES = (Kind.TASK_COMPLETED, Kind.CHILD_COMPLETED)


class Action(IntEnum):
    """The numbers of the actions an orchestrator answers with."""

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
    """The time, as histories write it."""
    return datetime.now(UTC).strftime(TIME)


def event(kind: Kind, number: int = -1, **fields: Any) -> dict[str, Any]:
    """A history event of this moment."""
    return {"EventType": int(kind), "EventId": number, "Timestamp": now(), **fields}


def encode(what: dict[str, Any]) -> str:
    """The stored text of an event; it ends in the mark that the event was played before."""
    return json.dumps(what)[:-1] + ', "IsPlayed": true}'


@dataclass
class State:
    """What the engine must remember of one execution besides its history."""

    next_id: int = 0
    seen: int = 0  # actions of the last answer, which repeats all earlier ones
    waits: dict[str, int] = field(default_factory=dict)  # event name -> open waits
    retries: dict[str, dict[str, Any]] = field(default_factory=dict)  # "task 3" or "timer 4" -> what to run again
    timers: list[int] = field(default_factory=list)  # ids in the order of their actions, -1 for a cancelled one

    def dump(self) -> str:
        """As JSON text."""
        return json.dumps(vars(self))


@dataclass
class Instance:
    """One orchestration as it is stored; payloads are JSON texts."""

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
    state: State = field(default_factory=State)


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


class Turn:
    """One step: the messages it consumes, the function's answer, and the effects of both.

    Consumes failures and timers that only concern a retry (the function need not run for them), then everything
    up to the next one of those: the ids the SDK gives away while it replays are foreseeable that far.
    """

    def __init__(self, instance: Instance, history: list[str], messages: list[tuple[int, dict[str, Any]]]):
        self.instance, self.history, self.state = instance, history, instance.state
        self.added: list[str] = []
        self.consumed: list[int] = []
        self.activities: list[ActivityCall] = []
        self.children: list[ChildCall] = []
        self.timers: dict[int, str] = {}
        self.cancelled: list[int] = []
        self.entity_calls: list[EntityCall] = []
        self.continued: str | None = None
        self.status, self.output, self.custom_status = "Running", None, instance.custom_status
        self.before = self.state.dump()
        self.gave_up = False  # whether something failed here that nothing tries again
        self._fresh = 0  # how many of `added` the function sees as new
        self._take(messages)

    @property
    def needs_function(self) -> bool:
        """Whether the orchestrator must run to get on."""
        return self._fresh > 0

    def payload(self, schema: int) -> str:
        """The trigger payload; `schema` is the highest replay schema to offer (0, 1 or 2 for V1 to V3)."""
        split = len(self.added) - self._fresh
        new = [text.removesuffix("true}") + "false}" for text in self.added[split:]]
        head = {
            "instanceId": self.instance.id,
            "input": self.instance.input,
            "isReplaying": False,
            "parentInstanceId": self.instance.parent and self.instance.parent[0],
            "upperSchemaVersion": min(1, schema),
            "upperSchemaVersionNew": schema,
        }
        return f'{json.dumps(head)[:-1]}, "history": [{", ".join([*self.history, *self.added[:split], *new])}]}}'

    def answer(self, text: str) -> None:
        """Take the orchestrator's answer; one that cannot be carried out fails the instance."""
        self._end_episode()
        try:
            answer = json.loads(text)
            if "customStatus" in answer:
                self.custom_status = json.dumps(answer["customStatus"])
            self._act(list(leaves(action for group in answer["actions"] for action in group)))
            if answer.get("error"):
                self.fail(answer["error"])
            elif answer["isDone"] and self.continued is None:
                self._finish("Completed", json.dumps(answer.get("output")), Kind.EXECUTION_COMPLETED)
        except NotImplementedError as unsupported:
            self.fail(str(unsupported))
        except (KeyError, TypeError, ValueError) as error:
            self.fail(f"its answer is not one of the protocol: {error!r}")

    def failed(self, message: str) -> None:
        """Take the error of an orchestrator that raised: its answer stands after a mark in the message."""
        text, mark, rest = message.partition(FAILURE_MARK)
        if not mark:
            return self.fail(text)
        try:
            answer, _ = json.JSONDecoder().raw_decode(rest)
        except ValueError:
            return self.fail(text.strip())
        return self.answer(json.dumps({**answer, "error": answer.get("error") or text.strip()}))

    def fail(self, reason: str) -> None:
        """End the instance as failed."""
        text = json.dumps(f"Orchestrator function '{self.instance.name}' failed: {reason}")
        self._finish("Failed", text, Kind.EXECUTION_FAILED)

    def _take(self, messages: list[tuple[int, dict[str, Any]]]) -> None:
        batch = [] if self.history else [self._started()]
        open_waits = dict(self.state.waits)
        for number, message in messages:
            if self._concerns_retry(message):
                if batch:
                    break
                self._retry(message)
            elif message["EventType"] == Kind.EVENT_RAISED:
                # Hold an event back until a wait for it is open: the SDK keeps only the newest early event
                # of a name, and gives that one to every later wait.
                if not open_waits.get(message["Name"]):
                    continue
                open_waits[message["Name"]] -= 1
                batch.append(message)
            else:
                self.gave_up |= message["EventType"] in FAILURES
                self.state.retries.pop(_retry_key(message), None)
                batch.append(message)
            self.consumed.append(number)
        if batch:
            self.state.waits = {name: count for name, count in open_waits.items() if count}
            self._begin_episode(*batch)
            self._fresh = 1 + len(batch)

    def _started(self) -> dict[str, Any]:
        of = {"InstanceId": self.instance.id, "ExecutionId": self.instance.execution}
        return event(
            Kind.EXECUTION_STARTED, Name=self.instance.name, Version=self.instance.version, OrchestrationInstance=of
        )

    def _begin_episode(self, *events: dict[str, Any]) -> None:
        self._add(event(Kind.ORCHESTRATOR_STARTED), *events)

    def _end_episode(self) -> None:
        self._add(event(Kind.ORCHESTRATOR_COMPLETED))

    def _add(self, *events: dict[str, Any]) -> None:
        self.added += map(encode, events)

    def _id(self) -> int:
        self.state.next_id += 1
        return self.state.next_id - 1

    def _concerns_retry(self, message: dict[str, Any]) -> bool:
        """Whether the SDK only schedules something again for this message and the function does not get on."""
        retry = self.state.retries.get(_retry_key(message))
        if retry is None or message["EventType"] in SUCCESSES:
            return False
        return message["EventType"] != Kind.TIMER_FIRED or not _is_last(retry)

    def _retry(self, message: dict[str, Any]) -> None:
        self._begin_episode(message)
        self._end_episode()
        retry = self.state.retries.pop(_retry_key(message))
        if message["EventType"] == Kind.TIMER_FIRED:
            self._schedule(retry["action"], retry["attempt"] + 1)
        else:
            # The SDK waits for a timer after the last attempt too: only when that fires does the task fail.
            self.gave_up |= _is_last(retry)
            interval = timedelta(milliseconds=retry["action"]["retryOptions"]["firstRetryIntervalInMilliseconds"])
            timer = self._timer((datetime.now(UTC) + interval).strftime(TIME))
            self.state.retries[f"timer {timer}"] = retry

    def _act(self, actions: list[dict[str, Any]]) -> None:
        timers = enumerate(self.state.timers.copy())
        for old in actions[: self.state.seen]:
            if old["actionType"] == Action.CREATE_TIMER:
                position, timer = next(timers)
                if old.get("isCanceled") and timer >= 0:
                    self.cancelled.append(timer)
                    self.state.timers[position] = -1
        new, self.state.seen = actions[self.state.seen :], len(actions)
        for action in new:
            match action["actionType"]:
                case (
                    Action.CALL_ACTIVITY
                    | Action.CALL_ACTIVITY_WITH_RETRY
                    | Action.CALL_CHILD
                    | Action.CALL_CHILD_WITH_RETRY
                    | Action.CALL_HTTP
                ):
                    self._schedule(action, attempt=1)
                case Action.CONTINUE_AS_NEW:
                    self._id()
                    self.continued = action["input"]
                case Action.CREATE_TIMER:
                    timer = self._timer(action["fireAt"])
                    self.state.timers.append(timer)
                    if action.get("isCanceled"):
                        del self.timers[timer]
                case Action.WAIT_FOR_EVENT:  # has no id: its name is its key
                    name = action["externalEventName"]
                    self.state.waits[name] = self.state.waits.get(name, 0) + 1
                case Action.CALL_ENTITY | Action.SIGNAL_ENTITY:
                    self._send(action)
                case unknown:
                    raise NotImplementedError(f"action {unknown} is not supported")

    def _timer(self, due: str) -> int:
        timer = self._id()
        self._add(event(Kind.TIMER_CREATED, timer, FireAt=due))
        self.timers[timer] = due
        return timer

    def _schedule(self, action: dict[str, Any], attempt: int) -> None:
        task = self._id()
        if "retryOptions" in action:
            self.state.retries[f"task {task}"] = {"action": action, "attempt": attempt}
        if action["actionType"] in (Action.CALL_CHILD, Action.CALL_CHILD_WITH_RETRY):
            id = action.get("instanceId") or f"{self.instance.execution}:{task}"
            name, version = action["functionName"], action.get("version")
            self.children.append(ChildCall(task, name, action.get("input"), id, version))
            self._add(event(Kind.CHILD_CREATED, task, Name=name, Version=version, InstanceId=id))
            return
        if action["actionType"] == Action.CALL_HTTP:
            call = ActivityCall(task, HTTP_ACTIVITY, json.dumps(action["httpRequest"]))
        else:
            call = ActivityCall(task, action["functionName"], action.get("input") or "null")
        self.activities.append(call)
        self._add(event(Kind.TASK_SCHEDULED, task, Name=call.name, Version=None))

    def _send(self, action: dict[str, Any]) -> None:
        id, reply = self._id(), str(uuid.uuid4())
        message = {"op": action["operation"], "id": reply, "parent": self.instance.id}
        signal = action["actionType"] == Action.SIGNAL_ENTITY
        if signal:
            message["signal"] = True
        else:
            self.state.waits[reply] = 1
        self._add(event(Kind.EVENT_SENT, id, InstanceId=action["instanceId"], Name="op", Input=json.dumps(message)))
        data = None if action.get("input") is None else json.dumps(action["input"])
        self.entity_calls.append(EntityCall(action["instanceId"], action["operation"], data, None if signal else reply))

    def _finish(self, status: str, output: str, kind: Kind) -> None:
        self.status, self.output, self.continued = status, output, None
        self._add(event(kind))


def _is_last(retry: dict[str, Any]) -> bool:
    return retry["attempt"] >= retry["action"]["retryOptions"]["maxNumberOfAttempts"]


def _retry_key(message: dict[str, Any]) -> str:
    if message["EventType"] == Kind.TIMER_FIRED:
        return f"timer {message['TimerId']}"
    return f"task {message.get('TaskScheduledId')}"


def leaves(actions: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The actions inside nested WhenAll and WhenAny, in order."""
    for action in actions:
        if action["actionType"] in (Action.WHEN_ANY, Action.WHEN_ALL):
            yield from leaves(iter(action["compoundActions"]))
        else:
            yield action
