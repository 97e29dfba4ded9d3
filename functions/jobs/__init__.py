"""Jobs: the workflow of a container, and the endpoint to which its runner pushes."""

from functions.jobs import activities, events, orchestrations, timers
from shared.http.api import Api
from shared.slices import Slice

# Called by runners only.
api = Api("jobs", "Runyard jobs", "1.0.0", [events.routes], render=lambda status, message: {"error": message})

SLICE = Slice(api=api, blueprints=[orchestrations.bp, activities.bp], every_minute=[timers.reconcile])
