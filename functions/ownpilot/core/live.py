"""Live messages: `{type, payload, timestamp}` to all sockets of a person."""

import hashlib
from datetime import UTC, datetime
from typing import Any

from functions.ownpilot.core.entry import iso
from shared import realtime

HUB = "ownpilot"


def message(type_: str, payload: Any) -> dict[str, Any]:
    """Return a message as it is sent."""
    return {"type": type_, "payload": payload, "timestamp": iso(datetime.now(UTC))}


def group_of(owner: str) -> str:
    """Return the group of the sockets of a person: a hash, as a group's name cannot hold every text."""
    return f"user-{hashlib.sha256(owner.encode()).hexdigest()[:32]}"


async def publish(owner: str, type_: str, payload: Any) -> None:
    """Send a message to all sockets of a person; a failure is logged, never raised."""
    await realtime.publish(HUB, message(type_, payload), group=group_of(owner))
