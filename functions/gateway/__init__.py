"""The gateway API: prompts and code run in containers."""

from functions.gateway import artifacts, auth, catalogue, health, runs, socket
from functions.gateway.access import current_client
from shared.http.api import Api

api = Api(
    "gateway",
    "Gateway",
    health.VERSION,
    [auth.routes, runs.routes, artifacts.of_run, artifacts.routes, catalogue.routes, health.routes, socket.routes],
    guard=current_client,
    render=lambda status, message: {"error": message},
)
blueprints = [socket.bp]

__all__ = ["api", "blueprints"]
