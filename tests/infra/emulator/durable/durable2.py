"""Runs the cases on durabletask's in-memory backend with azure-functions-durable 2; prints their outcomes as JSON.

Runs in a separate interpreter: `python -m tests.infra.emulator.durable.durable2 PORT`, Python >= 3.13.
"""

import json
import sys
from typing import Any

from azure.durable_functions.internal.compat.entity_context import wrap_entity  # pyright: ignore
from azure.durable_functions.internal.compat.orchestration_context import wrap_orchestrator  # pyright: ignore
from azure.durable_functions.internal.serialization import DEFAULT_FUNCTIONS_DATA_CONVERTER  # pyright: ignore
from durabletask.client import TaskHubGrpcClient  # pyright: ignore
from durabletask.testing import create_test_backend  # pyright: ignore
from durabletask.worker import TaskHubGrpcWorker  # pyright: ignore

from tests.infra.emulator.durable.cases import ACTIVITIES, CASES, ENTITIES, ORCHESTRATORS


def main(port: int) -> None:
    backend = create_test_backend(port=port)
    where: dict[str, Any] = {
        "host_address": f"127.0.0.1:{port}",
        "data_converter": DEFAULT_FUNCTIONS_DATA_CONVERTER,
    }
    worker = TaskHubGrpcWorker(**where)
    for orchestrator in ORCHESTRATORS:
        worker._registry.add_named_orchestrator(orchestrator.__name__, wrap_orchestrator(orchestrator))
    for activity in ACTIVITIES:
        worker._registry.add_named_activity(activity.__name__, lambda _, data, activity=activity: activity(data))
    for entity in ENTITIES:
        worker.add_entity(wrap_entity(entity), name=entity.__name__)
    worker.start()
    client = TaskHubGrpcClient(**where)
    for name, case in CASES.items():
        id = client.schedule_new_orchestration(case.orchestrator.__name__, input=case.input)
        for event, data in case.events:
            client.raise_orchestration_event(id, event, data=data)
        state = client.wait_for_orchestration_completion(id, timeout=20)
        result = {
            "name": name,
            "status": state.runtime_status.name.capitalize(),
            "output": json.loads(state.serialized_output or "null"),
            "custom_status": json.loads(state.serialized_custom_status or "null"),
        }
        print(json.dumps(result), flush=True)
    worker.stop()
    backend.stop()


if __name__ == "__main__":
    main(int(sys.argv[1]))
