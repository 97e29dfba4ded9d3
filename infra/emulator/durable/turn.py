"""The replay rules: the events that one step of an orchestration adds to its history, and the work it schedules.

Nothing here does input or output. The SDK numbers everything that it schedules by one counter, in the order of its
replay. `ExecutionState` repeats that count, so the rules below must process messages and actions in the same order.
"""

import json
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from infra.emulator.durable.protocol import (
    FAILURES,
    HTTP_ACTIVITY,
    SUCCESSES,
    TIME,
    ActionType,
    ActivityCall,
    ChildCall,
    EntityCall,
    EventType,
    Instance,
    encode,
    event,
)

FAILURE_MARK = "$OutOfProcData$:"


class Turn:
    """One step: the messages it consumes, the function's answer, and the effects of both.

    Messages that only cause a retry are processed first, because the function does not have to run for them; then all
    others together. The history has them in the same order, so that the SDK assigns the same ids in its replay.
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
        self.gave_up = False  # whether something failed in this step without a retry left
        self._fresh = 0  # how many events of `added` are new to the function
        self._take(messages)

    @property
    def needs_function(self) -> bool:
        """Whether the orchestrator function must run for this step."""
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
        """Process the orchestrator's answer; an answer that is not supported fails the instance."""
        self._end_episode()
        try:
            answer = json.loads(text)
            if "customStatus" in answer:
                self.custom_status = json.dumps(answer["customStatus"])
            self._act(list(leaves(action for group in answer["actions"] for action in group)))
            if answer.get("error"):
                self.fail(answer["error"])
            elif answer["isDone"] and self.continued is None:
                self._finish("Completed", json.dumps(answer.get("output")), EventType.EXECUTION_COMPLETED)
        except NotImplementedError as unsupported:
            self.fail(str(unsupported))
        except (KeyError, TypeError, ValueError) as error:
            self.fail(f"its answer does not follow the protocol: {error!r}")

    def failed(self, message: str) -> None:
        """Process the error of an orchestrator that raised; its answer follows a mark in the message."""
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
        self._finish("Failed", text, EventType.EXECUTION_FAILED)

    def _take(self, messages: list[tuple[int, dict[str, Any]]]) -> None:
        batch = [] if self.history else [self._started()]
        open_waits = dict(self.state.waits)
        for number, message in messages:
            if self._concerns_retry(message):
                self._retry(message)
            elif message["EventType"] == EventType.EVENT_RAISED:
                # An event is kept until the orchestrator waits for it: of several early events of one name the SDK
                # keeps only the newest, and gives it to every later wait.
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
            EventType.EXECUTION_STARTED,
            Name=self.instance.name,
            Version=self.instance.version,
            OrchestrationInstance=of,
        )

    def _begin_episode(self, *events: dict[str, Any]) -> None:
        self._add(event(EventType.ORCHESTRATOR_STARTED), *events)

    def _end_episode(self) -> None:
        self._add(event(EventType.ORCHESTRATOR_COMPLETED))

    def _add(self, *events: dict[str, Any]) -> None:
        self.added += map(encode, events)

    def _id(self) -> int:
        self.state.next_id += 1
        return self.state.next_id - 1

    def _concerns_retry(self, message: dict[str, Any]) -> bool:
        """Whether the SDK only schedules a retry for this message, without running the function."""
        retry = self.state.retries.get(_retry_key(message))
        if retry is None or message["EventType"] in SUCCESSES:
            return False
        return message["EventType"] != EventType.TIMER_FIRED or not _is_last(retry)

    def _retry(self, message: dict[str, Any]) -> None:
        self._begin_episode(message)
        self._end_episode()
        retry = self.state.retries.pop(_retry_key(message))
        if message["EventType"] == EventType.TIMER_FIRED:
            self._schedule(retry["action"], retry["attempt"] + 1)
        else:
            # The SDK sets a timer after the last attempt too; the task fails when that timer fires.
            self.gave_up |= _is_last(retry)
            interval = timedelta(milliseconds=retry["action"]["retryOptions"]["firstRetryIntervalInMilliseconds"])
            timer = self._timer((datetime.now(UTC) + interval).strftime(TIME))
            self.state.retries[f"timer {timer}"] = retry

    def _act(self, actions: list[dict[str, Any]]) -> None:
        timers = enumerate(self.state.timers.copy())
        for old in actions[: self.state.seen]:
            if old["actionType"] == ActionType.CREATE_TIMER:
                position, timer = next(timers)
                if old.get("isCanceled") and timer >= 0:
                    self.cancelled.append(timer)
                    self.state.timers[position] = -1
        new, self.state.seen = actions[self.state.seen :], len(actions)
        for action in new:
            match action["actionType"]:
                case (
                    ActionType.CALL_ACTIVITY
                    | ActionType.CALL_ACTIVITY_WITH_RETRY
                    | ActionType.CALL_CHILD
                    | ActionType.CALL_CHILD_WITH_RETRY
                    | ActionType.CALL_HTTP
                ):
                    self._schedule(action, attempt=1)
                case ActionType.CONTINUE_AS_NEW:
                    self._id()
                    self.continued = action["input"]
                case ActionType.CREATE_TIMER:
                    timer = self._timer(action["fireAt"])
                    self.state.timers.append(timer)
                    if action.get("isCanceled"):
                        del self.timers[timer]
                case ActionType.WAIT_FOR_EVENT:  # has no id; it is found by its name
                    name = action["externalEventName"]
                    self.state.waits[name] = self.state.waits.get(name, 0) + 1
                case ActionType.CALL_ENTITY | ActionType.SIGNAL_ENTITY:
                    self._send(action)
                case unknown:
                    raise NotImplementedError(f"action {unknown} is not supported")

    def _timer(self, due: str) -> int:
        timer = self._id()
        self._add(event(EventType.TIMER_CREATED, timer, FireAt=due))
        self.timers[timer] = due
        return timer

    def _schedule(self, action: dict[str, Any], attempt: int) -> None:
        task = self._id()
        if "retryOptions" in action:
            self.state.retries[f"task {task}"] = {"action": action, "attempt": attempt}
        if action["actionType"] in (ActionType.CALL_CHILD, ActionType.CALL_CHILD_WITH_RETRY):
            id = action.get("instanceId") or f"{self.instance.execution}:{task}"
            name, version = action["functionName"], action.get("version")
            self.children.append(ChildCall(task, name, action.get("input"), id, version))
            self._add(event(EventType.CHILD_CREATED, task, Name=name, Version=version, InstanceId=id))
            return
        if action["actionType"] == ActionType.CALL_HTTP:
            call = ActivityCall(task, HTTP_ACTIVITY, json.dumps(action["httpRequest"]))
        else:
            call = ActivityCall(task, action["functionName"], action.get("input") or "null")
        self.activities.append(call)
        self._add(event(EventType.TASK_SCHEDULED, task, Name=call.name, Version=None))

    def _send(self, action: dict[str, Any]) -> None:
        id, reply = self._id(), str(uuid.uuid4())
        message = {"op": action["operation"], "id": reply, "parent": self.instance.id}
        signal = action["actionType"] == ActionType.SIGNAL_ENTITY
        if signal:
            message["signal"] = True
        else:
            self.state.waits[reply] = 1
        self._add(
            event(EventType.EVENT_SENT, id, InstanceId=action["instanceId"], Name="op", Input=json.dumps(message))
        )
        data = None if action.get("input") is None else json.dumps(action["input"])
        self.entity_calls.append(EntityCall(action["instanceId"], action["operation"], data, None if signal else reply))

    def _finish(self, status: str, output: str, kind: EventType) -> None:
        self.status, self.output, self.continued = status, output, None
        self._add(event(kind))


def _is_last(retry: dict[str, Any]) -> bool:
    return retry["attempt"] >= retry["action"]["retryOptions"]["maxNumberOfAttempts"]


def _retry_key(message: dict[str, Any]) -> str:
    if message["EventType"] == EventType.TIMER_FIRED:
        return f"timer {message['TimerId']}"
    return f"task {message.get('TaskScheduledId')}"


def leaves(actions: Iterable[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    """The actions inside nested WhenAll and WhenAny, in order."""
    for action in actions:
        if action["actionType"] in (ActionType.WHEN_ANY, ActionType.WHEN_ALL):
            yield from leaves(action["compoundActions"])
        else:
            yield action
