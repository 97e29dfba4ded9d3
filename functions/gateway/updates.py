"""What the gateway's sockets hear."""

from functions.gateway.records import Alert, Run
from shared import realtime

HUB = "gateway"
CLIENTS = "clients"
"""The group of all connections that have shown a valid key."""

OUTPUT_FRAME = 128 * 1024
"""Bytes of output in one frame; a frame of the service holds at most 1 MB, and JSON may write a byte as six."""


def client_group(client_id: str) -> str:
    """The group of one client's connections, closed when its key is revoked."""
    return f"client-{client_id}"


async def hang_up(client_id: str) -> None:
    """Close a client's connections."""
    await realtime.close_group(HUB, client_group(client_id), "The API key was revoked")


async def run_changed(run: Run) -> None:
    """Tell of a run's status; of a final one, also with its result."""
    await realtime.publish(HUB, {"type": "run_update", "run_id": run.id, "status": run.status}, group=CLIENTS)
    if run.status.final:
        message = {"type": "run_complete", "run_id": run.id, "status": run.status, "result": _short(run.result)}
        await realtime.publish(HUB, message, group=CLIENTS)


async def run_printed(run_id: str, offset: int, data: bytes) -> None:
    """Pass on output as it comes; `offset` counts bytes, so that a reader can tell a repeat."""
    for start in range(0, len(data), OUTPUT_FRAME):
        text = data[start : start + OUTPUT_FRAME].decode("utf-8", "replace")
        message = {"type": "run_output", "run_id": run_id, "offset": offset + start, "text": text}
        await realtime.publish(HUB, message, group=CLIENTS)


async def alert_raised(alert: Alert) -> None:
    """Tell of a new alert."""
    shown = alert.model_dump(mode="json", include={"id", "type", "message", "run_id"})
    await realtime.publish(HUB, {"type": "alert", "alert": shown}, group=CLIENTS)


def _short(result: str | None) -> str | None:
    """What fits into a frame: the end of a long result; the run itself has the rest."""
    return result if result is None or len(result) <= OUTPUT_FRAME else result[-OUTPUT_FRAME:]
