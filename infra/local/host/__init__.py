"""A local Azure Functions host: serves the functions of one app over HTTP, on timers, queues and Durable Functions."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from infra.local.processes import Child, python


async def start(
    app: Path, port: int, *, state: Path, options: Sequence[str] = (), env: dict[str, str] | None = None
) -> Child:
    """Start it as a child process and wait until it serves; its state and its log, `host.log`, go to `state`.

    `options` are further arguments of its command line. Raises NotReady when the app cannot be served.
    """
    command = python(__name__, "--app", str(app), "--port", str(port), "--state", str(state), *options)
    child = Child("Functions host", command, log=state / "host.log", env=env)
    await child.start(lambda: serving(port))
    return child


async def serving(port: int) -> bool:
    """Whether a host on this loopback port takes requests. Raises OSError while nothing listens there."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(b"GET /admin/host/ping HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n")
        return (await asyncio.wait_for(reader.readline(), 1)).startswith(b"HTTP/1.1 200")
    finally:
        writer.close()
