"""The dialogue of each hub: what an API answers when a socket opens, speaks or closes."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from shared.realtime import Event
from shared.workflows import WorkflowClient


@dataclass(frozen=True)
class Reply:
    """`message` goes back to the client, `state` is kept with the connection; both may be absent."""

    message: dict[str, Any] | None = None
    state: dict[str, Any] | None = None


Dialogue = Callable[[Event, WorkflowClient], Awaitable[Reply]]

dialogues: dict[str, Dialogue] = {}
"""Who speaks for a hub; each API enters its own."""
