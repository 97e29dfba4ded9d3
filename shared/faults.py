"""Faults of the platform: reported where they are found, and passed to the slices that show them to people."""

import logging
from collections.abc import Awaitable, Callable

log = logging.getLogger(__name__)

FaultReporter = Callable[[str, str], Awaitable[None]]
"""(cause, message): shows a fault; may be called again for the same cause."""

reporters: list[FaultReporter] = []
"""The reporters of this app's slices; `shared.slices.add_slice` adds them."""


async def report(cause: str, message: str) -> None:
    """Log a fault and pass it to all reporters. `message` must hold no secret. Never raises."""
    log.error("%s: %s", cause, message)
    for reporter in reporters:
        try:
            await reporter(cause, message)
        except Exception:  # a fault that cannot be shown must not add another one to the work that found it
            log.exception("could not report the fault %s", cause)
