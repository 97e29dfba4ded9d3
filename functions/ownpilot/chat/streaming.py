"""A turn as server-sent events: what happens in it as it happens, then exactly one `done` or one `error`."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing
from typing import Any

from functions.ownpilot.chat.question import Prepared
from functions.ownpilot.chat.turn import Emit, TurnAnswer, run
from shared.http.errors import HANDLED, api_error
from shared.http.sse import frame

log = logging.getLogger(__name__)

SILENCE = 10.0
"""Seconds after which a comment is sent when nothing happens: what is silent too long is cut off on the way."""

STREAM_SECONDS = 480.0
"""After this time a streamed answer ends as it is: after ten minutes the platform would restart the whole app."""

HEARTBEAT = b": still here\n\n"

WAITING = 100
"""Events that may wait for a slow client; then the model waits too."""

Event = tuple[str, dict[str, Any]]
Beginning = Callable[[Emit], Coroutine[Any, Any, TurnAnswer]]
"""Starts a turn, which tells its argument what happens."""


async def frames(turn: Prepared, *, silence: float = SILENCE) -> AsyncGenerator[bytes]:
    """Carry out a turn and yield its events. When the client leaves, the turn ends and what was said is stored.

    After `STREAM_SECONDS` the answer ends as it is, and says so.
    """

    def begin(emit: Emit) -> Coroutine[Any, Any, TurnAnswer]:
        return run(turn, emit, stream=True, seconds=STREAM_SECONDS)

    async with aclosing(events(begin, silence=silence)) as found:
        async for event in found:
            yield HEARTBEAT if event is None else frame(*event)


async def events(begin: Beginning, *, silence: float) -> AsyncGenerator[Event | None]:
    """Yield the events of what `begin` starts, the last one for its result; None after each time of `silence`.

    It runs in a task of its own: when the reader is cancelled, it is cancelled too and can still write what it has.
    """
    queue: asyncio.Queue[Event] = asyncio.Queue(WAITING)

    async def emit(name: str, data: dict[str, Any]) -> None:
        await queue.put((name, data))

    async def work() -> None:
        await queue.put(await _last(begin(emit)))

    task = asyncio.create_task(work())
    try:
        while True:
            try:
                async with asyncio.timeout(silence):
                    event = await queue.get()
            except TimeoutError:
                yield None
                continue
            yield event
            if event[0] in ("done", "error"):
                return
    finally:
        if not task.done():
            task.cancel()
            _ending.add(task)
            task.add_done_callback(_ending.discard)


_ending: set[asyncio.Task[None]] = set()
"""Turns whose clients have left, while they write what they have."""


async def _last(answer: Coroutine[Any, Any, TurnAnswer]) -> Event:
    """Return the event that tells how a turn has ended."""
    try:
        return "done", done_of(await answer)
    except HANDLED as error:
        return "error", {"error": api_error(error).message}
    except Exception:
        log.exception("a streamed turn failed")
        return "error", {"error": "Internal server error"}


def done_of(answer: TurnAnswer) -> dict[str, Any]:
    """Return the data of the last event."""
    return {
        "id": answer.id, "conversationId": answer.conversation_id, "done": True, "finishReason": answer.finish_reason,
        "toolCalls": answer.calls or None, "usage": answer.usage, "trace": answer.trace,
    }  # fmt: skip
