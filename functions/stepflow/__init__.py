"""The StepFlow API: commands whose output is followed step by step."""

from functions.stepflow import artifacts, executions, health, timers, ws
from functions.stepflow.access import current_caller
from functions.stepflow.bodies import failure
from functions.stepflow.job import StepflowExecution
from shared.http.api import Api
from shared.slices import Slice

api = Api(
    "stepflow",
    "StepFlow Monitor",
    health.VERSION,
    [executions.routes, artifacts.routes, health.probe, health.routes, ws.routes],
    guard=current_caller,
    render=failure,
)
SLICE = Slice(api=api, job_kinds=[StepflowExecution()], dialogue=ws.speak, every_hour=[timers.tidy_up])
