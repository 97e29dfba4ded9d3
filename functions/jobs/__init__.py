"""Jobs: the workflow of a container, and the endpoint to which its runner pushes."""

from functions.jobs import events, orchestrations, upkeep
from shared.http.api import Api

api = Api(
    "jobs", "Runyard jobs", "1.0.0", [events.routes], render=lambda status, message: {"error": message}
)  # for runners only

blueprints = [orchestrations.bp, upkeep.bp]

__all__ = ["api", "blueprints"]
