"""The StepFlow API: commands whose output is followed step by step."""

from functions.stepflow import artifacts, executions, health, maintenance, socket
from functions.stepflow.access import current_caller
from functions.stepflow.bodies import failure
from shared.http.api import Api

api = Api(
    "stepflow",
    "StepFlow Monitor",
    health.VERSION,
    [executions.routes, artifacts.routes, health.probe, health.routes, socket.routes],
    guard=current_caller,
    render=failure,
)
blueprints = [maintenance.bp]

__all__ = ["api", "blueprints"]
