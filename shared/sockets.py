"""Dialogues: the functions that handle the events of a hub's sockets (opened, message, closed)."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from shared.realtime import Event
from shared.workflows import WorkflowClient


@dataclass(frozen=True)
class Reply:
    """`message` is sent to the client, `state` is stored with the connection; None sends or stores nothing."""

    message: dict[str, Any] | None = None
    state: dict[str, Any] | None = None


Dialogue = Callable[[Event, WorkflowClient], Awaitable[Reply]]

dialogues: dict[str, Dialogue] = {}
"""The dialogue of each hub by the hub's name; `shared.slices.add_slice` adds those of the slices."""
