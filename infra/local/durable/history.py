"""How a history is shown to people: one entry per finished thing, with names and times side by side."""

import json
from typing import Any

from infra.local.durable.turn import FAILURES, SUCCESSES, Instance, Kind

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


def shown(instance: Instance, events: list[dict[str, Any]], outputs: bool) -> list[dict[str, Any]]:
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
