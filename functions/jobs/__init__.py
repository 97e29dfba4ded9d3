"""Jobs: the workflow of a container, and the endpoint to which its runner pushes."""

from functions.jobs import activities, calls, events, orchestrations, timers, warm
from shared.http.api import Api
from shared.slices import Slice
from shared.warm import HUB

# Called by runners only.
api = Api("jobs", "Runyard jobs", "1.0.0", [events.routes, calls.routes])

SLICE = Slice(
    api=api,
    blueprints=[orchestrations.bp, activities.bp],
    job_kinds=[warm.WarmWorker()],
    dialogue=warm.handle_event,
    hub=HUB,
    every_minute=[timers.reconcile, warm.keep_pool],
)
