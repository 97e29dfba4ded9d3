"""How instances and entities are shown: their status, and a history with one entry per finished thing."""

import json
from typing import Any

from infra.emulator.durable.protocol import FAILURES, SUCCESSES, Instance, Kind

SHOWN = {
    Kind.EXECUTION_STARTED: "ExecutionStarted",
    Kind.EXECUTION_COMPLETED: "ExecutionCompleted",
    Kind.EXECUTION_FAILED: "ExecutionCompleted",
    Kind.EXECUTION_TERMINATED: "ExecutionTerminated",
    Kind.TASK_COMPLETED: "TaskCompleted",
    Kind.TASK_FAILED: "TaskFailed",
    Kind.CHILD_COMPLETED: "SubOrchestrationInstanceCompleted",
    Kind.CHILD_FAILED: "SubOrchestrationInstanceFailed",
    Kind.TIMER_CREATED: "TimerCreated",
    Kind.TIMER_FIRED: "TimerFired",
    Kind.EVENT_SENT: "EventSent",
    Kind.EVENT_RAISED: "EventRaised",
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
    """A time as the API gives it, to the second."""
    return moment[:19] + "Z"


def history(instance: Instance, events: list[dict[str, Any]], outputs: bool) -> list[dict[str, Any]]:
    """The `historyEvents` of a status; results and the output only when `outputs`."""
    scheduled = {e["EventId"]: e for e in events if e["EventId"] >= 0}
    answered = {e["TimerId"] for e in events if e["EventType"] == Kind.TIMER_FIRED}
    entries = []
    for e in events:
        kind = e["EventType"]
        if kind not in SHOWN or (kind == Kind.TIMER_CREATED and e["EventId"] in answered):
            continue
        entry: dict[str, Any] = {"EventType": SHOWN[kind], "Timestamp": e["Timestamp"]}
        if kind == Kind.EXECUTION_STARTED:
            entry |= {"FunctionName": e["Name"], "Input": json.loads(instance.input or "null")}
        elif kind in SUCCESSES or kind in FAILURES:
            cause = scheduled[e["TaskScheduledId"]]
            entry |= {"FunctionName": cause["Name"], "ScheduledTime": cause["Timestamp"]}
            if kind in FAILURES:
                entry |= {"Reason": e["Reason"], "Details": e["Details"]}
            elif outputs:
                entry["Result"] = json.loads(e["Result"] or "null")
        elif kind in (Kind.EXECUTION_COMPLETED, Kind.EXECUTION_FAILED):
            entry["OrchestrationStatus"] = instance.status
            if outputs:
                entry["Result"] = json.loads(instance.output or "null")
        else:
            entry |= {key: e[key] for key in ("Name", "Input", "FireAt", "InstanceId") if key in e}
        entries.append(entry)
    return entries
