"""The JSON of instances: their status, and a history with one entry for each finished task."""

import json
from typing import Any

from infra.emulator.durable.protocol import FAILURES, SUCCESSES, EventType, Instance

SHOWN = {
    EventType.EXECUTION_STARTED: "ExecutionStarted",
    EventType.EXECUTION_COMPLETED: "ExecutionCompleted",
    EventType.EXECUTION_FAILED: "ExecutionCompleted",
    EventType.EXECUTION_TERMINATED: "ExecutionTerminated",
    EventType.TASK_COMPLETED: "TaskCompleted",
    EventType.TASK_FAILED: "TaskFailed",
    EventType.CHILD_COMPLETED: "SubOrchestrationInstanceCompleted",
    EventType.CHILD_FAILED: "SubOrchestrationInstanceFailed",
    EventType.TIMER_CREATED: "TimerCreated",
    EventType.TIMER_FIRED: "TimerFired",
    EventType.EVENT_SENT: "EventSent",
    EventType.EVENT_RAISED: "EventRaised",
}


def status(instance: Instance, input_too: bool) -> dict[str, Any]:
    """The status object of an instance."""
    given = instance.input if not instance.quoted_input else json.dumps(instance.input)
    return {
        "name": instance.name,
        "instanceId": instance.id,
        "runtimeStatus": instance.status,
        "input": json.loads(given) if input_too and given is not None else None,
        "customStatus": json.loads(instance.custom_status) if instance.custom_status else None,
        "output": json.loads(instance.output) if instance.output else None,
        "createdTime": second(instance.created),
        "lastUpdatedTime": second(instance.updated),
    }


def second(moment: str) -> str:
    """A time in the format of the API, in whole seconds."""
    return moment[:19] + "Z"


def history(instance: Instance, events: list[dict[str, Any]], outputs: bool) -> list[dict[str, Any]]:
    """The `historyEvents` of a status, with results and output only when `outputs` is true."""
    scheduled = {e["EventId"]: e for e in events if e["EventId"] >= 0}
    answered = {e["TimerId"] for e in events if e["EventType"] == EventType.TIMER_FIRED}
    entries = []
    for e in events:
        kind = e["EventType"]
        if kind not in SHOWN or (kind == EventType.TIMER_CREATED and e["EventId"] in answered):
            continue
        entry: dict[str, Any] = {"EventType": SHOWN[kind], "Timestamp": e["Timestamp"]}
        if kind == EventType.EXECUTION_STARTED:
            entry |= {"FunctionName": e["Name"], "Input": json.loads(instance.input or "null")}
        elif kind in SUCCESSES or kind in FAILURES:
            cause = scheduled[e["TaskScheduledId"]]
            entry |= {"FunctionName": cause["Name"], "ScheduledTime": cause["Timestamp"]}
            if kind in FAILURES:
                entry |= {"Reason": e["Reason"], "Details": e["Details"]}
            elif outputs:
                entry["Result"] = json.loads(e["Result"] or "null")
        elif kind in (EventType.EXECUTION_COMPLETED, EventType.EXECUTION_FAILED):
            entry["OrchestrationStatus"] = instance.status
            if outputs:
                entry["Result"] = json.loads(instance.output or "null")
        else:
            entry |= {key: e[key] for key in ("Name", "Input", "FireAt", "InstanceId") if key in e}
        entries.append(entry)
    return entries
