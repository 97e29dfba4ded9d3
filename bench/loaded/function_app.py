"""The app with a slice more, which makes load: short deferred work, and streams of events."""

import asyncio
from collections.abc import AsyncIterable
from importlib import import_module

import azure.durable_functions as df
import azure.functions as func
from fastapi.sse import EventSourceResponse, ServerSentEvent

from shared.deferred import defer
from shared.http.api import Api
from shared.http.bodies import ResponseBody
from shared.http.routes import router
from shared.slices import Slice, add_slice
from shared.storage import connect

SECONDS = 0.02
"""Between two events of a stream."""

done = 0
routes = router("/load", "load")


class Done(ResponseBody):
    """How many items have been worked on."""

    done: int


async def wait_a_moment(seconds: float) -> None:
    """Deferred work: as short as a message to another server."""
    global done
    await asyncio.sleep(seconds)
    done += 1


@routes.post("/items/{count}")
async def create_items(count: int) -> Done:
    """Send this many items of deferred work."""
    await asyncio.gather(*(defer("bench.wait_a_moment", 0.05) for _ in range(count)))
    return Done(done=done)


@routes.get("/items")
async def count_items() -> Done:
    """The number of finished items."""
    return Done(done=done)


@routes.get("/events/{count}", response_class=EventSourceResponse)
async def watch_events(count: int) -> AsyncIterable[ServerSentEvent]:
    """This many events, one every 20 ms."""
    loop = asyncio.get_running_loop()
    start = loop.time()
    for number in range(count):
        yield ServerSentEvent(data={"number": number})
        await asyncio.sleep(max(0.0, start + (number + 1) * SECONDS - loop.time()))


app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)
connect()
for name in ("jobs", "realtime", "maintenance", "gateway"):
    add_slice(app, name, import_module(f"functions.{name}").SLICE)
add_slice(app, "bench", Slice(api=Api("bench", "Bench", "1.0", [routes]), deferred=[wait_a_moment]))
