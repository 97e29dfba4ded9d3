"""Slices: an API or a part of the platform, declared in one place and registered when the app is composed."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import azure.durable_functions as df  # pyright: ignore[reportMissingTypeStubs]

from shared import deferred, faults, jobs, sockets
from shared.deferred import Handler, WorkflowHandler
from shared.faults import FaultReporter
from shared.http.api import Api
from shared.http.bridge import register
from shared.jobs import JobKind
from shared.sockets import Dialogue
from shared.workflows import WorkflowClient

PeriodicWork = Callable[[WorkflowClient], Awaitable[str | None]]
"""Work on a schedule: returns a line for the log, None when there was nothing to do. It may be repeated."""


@dataclass(frozen=True)
class Slice:
    """One API, or one part of the platform.

    `dialogue` handles the sockets of the hub `hub`, by default the one that has the slice's name. The timers of
    `functions/maintenance` run what is listed under `every_minute`, `every_hour` and `every_night` (03:00 UTC); a
    failure of one item does not affect the others. The slices share two timers because on Flex Consumption each timer
    is scaled as a group of its own. `deferred` are the handlers of `shared.deferred.defer("<slice>.<function name>",
    ...)`, and `deferred_workflows` those that start or signal workflows. `on_fault` is called with cause and message of
    faults that any part of the app reports.
    """

    api: Api | None = None
    blueprints: Sequence[df.Blueprint] = ()
    job_kinds: Sequence[JobKind] = ()
    dialogue: Dialogue | None = None
    hub: str = ""
    every_minute: Sequence[PeriodicWork] = ()
    every_hour: Sequence[PeriodicWork] = ()
    every_night: Sequence[PeriodicWork] = ()
    deferred: Sequence[Handler] = ()
    deferred_workflows: Sequence[WorkflowHandler] = ()
    on_fault: FaultReporter | None = None


slices: dict[str, Slice] = {}
"""The slices of this app by name."""


def add_slice(app: df.DFApp, name: str, part: Slice) -> None:
    """Register everything that a slice declares."""
    slices[name] = part
    if part.api is not None:
        register(app, part.api)
    for blueprint in part.blueprints:
        app.register_functions(blueprint)
    for kind in part.job_kinds:
        jobs.kinds[kind.name] = kind
    if part.dialogue is not None:
        sockets.dialogues[part.hub or name] = part.dialogue
    for handler in part.deferred:
        deferred.handlers[f"{name}.{handler.__name__}"] = handler
    for starter in part.deferred_workflows:
        deferred.workflow_handlers[f"{name}.{starter.__name__}"] = starter
    if part.on_fault is not None:
        faults.reporters.append(part.on_fault)
