"""The counted collections of every API, with records like those that its users make."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import functions.dev8.records as dev8
import functions.gateway.records as gateway
import functions.stepflow.records as stepflow
from functions.dev8 import store as dev8_store
from functions.gateway import store as gateway_store
from functions.stepflow import store as stepflow_store
from shared.tables import Collection
from shared.tables.ids import new_id

START = datetime(2026, 5, 1, tzinfo=UTC)
SPAN = timedelta(days=20)
"""The records of a filled collection were made from `START` on, at equal distances over this time."""

_AT_ONCE = 500
_PROMPT = "Read the attached figures, sum the third column by month, and write the result to artifacts/sums.csv."


@dataclass(frozen=True)
class Sample:
    """One collection: how to make its record with a number, by what to filter a list, and how to change a record."""

    name: str
    collection: Collection[Any]
    make: Callable[[datetime, int], Any]
    where: Mapping[str, object]
    change: Callable[[Any, int], None]

    def new(self, at: datetime, number: int) -> Any:
        """A record of that moment."""
        return self.make(at, number)

    def of(self, tenant: str) -> Collection[Any]:
        """The collection in a partition of its own."""
        return self.collection.of(tenant)

    async def fill(self, collection: Collection[Any], count: int) -> list[str]:
        """Insert this many records; returns their ids, the oldest first."""
        ids: list[str] = []
        for first in range(0, count, _AT_ONCE):
            numbers = range(first, min(first + _AT_ONCE, count))
            made = [self.make(START + SPAN * number / count, number) for number in numbers]
            ids += [record.id for record in await asyncio.gather(*map(collection.insert, made))]
        return ids


def _at(moment: datetime) -> dict[str, Any]:
    return {"id": new_id(moment), "created_at": moment}


def _run(at: datetime, number: int) -> gateway.Run:
    return gateway.Run(
        **_at(at), client_id=f"client-{number % 4}", status=_cycle(gateway.RunStatus, number), prompt=_PROMPT,
        model="python", options={"timeout": 300, "max_tokens": 4096}, started_at=at, completed_at=at, tokens=number,
        seconds=1.5, result="42\n",
    )  # fmt: skip


def _gateway_artifact(at: datetime, number: int) -> gateway.Artifact:
    return gateway.Artifact(
        **_at(at), run_id=f"run-{number // 3}", client_id=f"client-{number % 4}", filename=f"sums-{number}.csv",
        size=number, content_type=("text/csv", "image/png")[number % 2], container="artifacts", blob=f"a/{number}",
        sha256="0" * 64,
    )  # fmt: skip


def _alert(at: datetime, number: int) -> gateway.Alert:
    return gateway.Alert(
        **_at(at), type=_cycle(gateway.AlertType, number), message="Run failed: the program ended with status 1",
        run_id=f"run-{number}", client_id=f"client-{number % 4}", read=number % 2 == 0,
    )  # fmt: skip


def _execution(at: datetime, number: int) -> stepflow.Execution:
    return stepflow.Execution(
        **_at(at), name="nightly build", command="make all && make check", user=f"user-{number % 4}",
        status=_cycle(stepflow.ExecutionStatus, number), started_at=at, completed_at=at, exit_code=0,
        tags=["nightly", "main"], environment={"STAGE": "test"}, seconds=12.5, total_steps=3, messages=40,
    )  # fmt: skip


def _stepflow_artifact(at: datetime, number: int) -> stepflow.Artifact:
    return stepflow.Artifact(
        **_at(at), execution_id=f"execution-{number // 3}", step_id=f"step-{number}", name="report",
        file_name=f"report-{number}.html", file_size=number, mime_type="text/html",
        artifact_type=stepflow.ArtifactType.DOCUMENT, blob=f"a/{number}", sha256="0" * 64,
    )  # fmt: skip


def _environment(at: datetime, number: int) -> dev8.DevEnvironment:
    return dev8.DevEnvironment(
        created_at=at, user_id=f"user-{number % 4}", name="my-dev-environment",
        status=_cycle((dev8.RUNNING, dev8.STOPPED), number),
        cloud_provider=dev8.CloudProvider.AZURE, cloud_region="eastus", cpu_cores=2, memory_gb=4, storage_gb=20,
        base_image="node", ip="20.185.123.45", idle_since=at, reported_at=at, in_creation=False, token_hash="0" * 64,
    )  # fmt: skip


def _cycle(values: Any, number: int) -> Any:
    members = list(values)
    return members[number % len(members)]


def _set(field: str, value: Callable[[int], object]) -> Callable[[Any, int], None]:
    return lambda record, number: setattr(record, field, value(number))


RUNS = Sample(
    "gateway runs", gateway_store.runs, _run, {"status": "completed"},
    _set("status", lambda number: _cycle(gateway.RunStatus, number)),
)  # fmt: skip
EXECUTIONS = Sample(
    "StepFlow executions", stepflow_store.executions, _execution, {"status": "completed"},
    _set("status", lambda number: _cycle(stepflow.ExecutionStatus, number)),
)  # fmt: skip

MAIN = [RUNS, EXECUTIONS]
"""The main list of each API."""

SAMPLES = [
    *MAIN,
    Sample(
        "gateway artifacts", gateway_store.artifacts, _gateway_artifact, {"run_id": "run-1"},
        _set("content_type", lambda number: ("text/csv", "image/png")[number % 2]),
    ),
    Sample(
        "gateway alerts", gateway_store.alerts, _alert, {"read": False}, _set("read", lambda number: number % 2 == 0)
    ),
    Sample(
        "StepFlow artifacts", stepflow_store.artifacts, _stepflow_artifact, {"execution_id": "execution-1"},
        _set("artifact_type", lambda number: _cycle(stepflow.ArtifactType, number)),
    ),
    Sample(
        "Dev8 environments", dev8_store.environments, _environment, {"user_id": "user-1"},
        _set("status", lambda number: _cycle((dev8.RUNNING, dev8.STOPPED), number)),
    ),
]  # fmt: skip
