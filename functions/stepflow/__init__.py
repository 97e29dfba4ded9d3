"""The StepFlow API: commands whose output is followed step by step."""

from functions.stepflow import artifacts, executions, health, logs, timers, ws
from functions.stepflow.access import CALLERS
from functions.stepflow.envelope import StepFlowEnvelope, error_body
from functions.stepflow.job import StepflowExecution
from shared.http.api import Api
from shared.slices import Slice

api = Api(
    "stepflow",
    "StepFlow Monitor",
    health.VERSION,
    [executions.routes, logs.routes, artifacts.routes, health.probe, health.routes, ws.routes],
    description="Runs commands in containers and reports their steps, logs and artifacts while they run.",
    render=error_body,
    envelope=StepFlowEnvelope(),
    guards=[CALLERS],
)
SLICE = Slice(api=api, job_kinds=[StepflowExecution()], dialogue=ws.handle_event, every_hour=[timers.hourly_cleanup])
