"""The messages that the gateway sends over its WebSocket."""

import orjson

from functions.gateway.records import Alert, Run, RunStatus
from shared import realtime
from shared.deferred import defer
from shared.settings import settings

HUB = "gateway"
CLIENTS = "clients"
"""The group of all authenticated connections."""

OUTPUT_FRAME = 128 * 1024
"""Bytes of output in one frame: the service allows 1 MB a frame, and JSON may need six characters for one byte."""

RESULT_FRAME = 900_000
"""Bytes of a result as JSON in one frame."""


CLOSED_AGAIN = 30
"""Seconds after which the connections of a revoked key are closed once more, if need be again and again."""


def key_group(key_hash: str) -> str:
    """Return the group of the connections that were opened with one key; they are closed when it is revoked."""
    return f"key-{key_hash}"


async def close_later(key_hash: str) -> None:
    """Make sure that a key's connections are closed, whatever happens from now on; call it before revoking the key."""
    await defer("gateway.close_connections", key_hash, delay=CLOSED_AGAIN)


async def close_connections(key_hash: str) -> None:
    """Close the connections that were opened with a revoked key. `ConnectionError` when that does not succeed."""
    if not settings().webpubsub:
        return
    if not await realtime.close_group(HUB, key_group(key_hash), "The API key was revoked"):
        raise ConnectionError("the connections of a revoked key could not be closed")


async def publish_status(run: Run) -> None:
    """Publish a run's status, why it waits, and its result when the status is final."""
    waits = {"waiting_reason": run.waiting_reason} if run.waiting_reason else {}
    await realtime.publish(HUB, {"type": "run_update", "run_id": run.id, "status": run.status, **waits}, group=CLIENTS)
    if run.status.final:
        message = {"type": "run_complete", "run_id": run.id, "status": run.status, "result": _fit_frame(run.result)}
        await realtime.publish(HUB, message, group=CLIENTS)


async def publish_start(run_id: str) -> None:
    """Publish that a run was running, for one that has ended meanwhile."""
    await realtime.publish(HUB, {"type": "run_update", "run_id": run_id, "status": RunStatus.RUNNING}, group=CLIENTS)


async def publish_output(run_id: str, offset: int, data: bytes) -> None:
    """Publish new output of a run; `offset` is the byte at which it begins, by which a reader recognizes a repeat."""
    for start in range(0, len(data), OUTPUT_FRAME):
        text = data[start : start + OUTPUT_FRAME].decode("utf-8", "replace")
        message = {"type": "run_output", "run_id": run_id, "offset": offset + start, "text": text}
        await realtime.publish(HUB, message, group=CLIENTS)


async def publish_alert(alert: Alert) -> None:
    """Publish a new alert."""
    shown = alert.model_dump(mode="json", include={"id", "type", "message", "run_id"})
    await realtime.publish(HUB, {"type": "alert", "alert": shown}, group=CLIENTS)


def _fit_frame(result: str | None) -> str | None:
    """Return a result that fits into a frame.

    That is the whole result, unless a client has set a longer one than runs have, or one of many control characters;
    then it is the end, and the run's record has all of it.
    """
    if result is None or len(orjson.dumps(result)) <= RESULT_FRAME:
        return result
    return result[-OUTPUT_FRAME:]
