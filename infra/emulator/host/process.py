"""One process that serves an app until it gets a signal or a command to stop."""

import asyncio
import logging
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable

from infra.emulator.host.failure import reason
from infra.emulator.host.host import Host, Options
from infra.emulator.host.operations import InvocationFormatter
from infra.emulator.host.settings import InvalidApp

# The messages between a process and its supervisor, one byte each.
LOADED, GO, STOP = b"l", b"g", b"s"


def serve(options: Options, listener: socket.socket, supervisor: socket.socket | None = None) -> int:
    """Serve the app until SIGTERM or SIGINT; returns the exit code, 1 when the app cannot be served.

    With a supervisor: send `LOADED` after importing the app, serve after `GO`, stop after `STOP`, and exit immediately
    when the supervisor has ended.
    """
    configure_logging()
    try:
        host = Host(options, listener)
        if supervisor is not None:
            supervisor.send(LOADED)
            if supervisor.recv(1) != GO:
                return 0
        print(host.table(), flush=True)
        asyncio.run(_run(host, supervisor))
    except Exception as error:
        if not isinstance(error, InvalidApp):
            traceback.print_exc(file=sys.stdout)
        print(f"ERROR {reason(error, options.app)}", flush=True)
        return 1
    return 0


async def _run(host: Host, supervisor: socket.socket | None) -> None:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    if supervisor is None:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, _on_signal(stop))
    else:
        loop.add_reader(supervisor, _on_command(supervisor, stop))
    await host.run(stop, lambda: print(f"Serving http://{host.address}", flush=True))


def _on_signal(stop: asyncio.Event) -> Callable[[], None]:
    """A signal handler: the first signal stops in order, a second one exits immediately."""

    def handle() -> None:
        if stop.is_set():
            os._exit(1)
        stop.set()

    return handle


def _on_command(supervisor: socket.socket, stop: asyncio.Event) -> Callable[[], None]:
    def handle() -> None:
        if supervisor.recv(1) != STOP:
            os._exit(1)
        stop.set()

    return handle


def configure_logging() -> None:
    """Log to standard output from INFO, and from WARNING for the Azure SDKs and HTTP libraries."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(InvocationFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for name in ("azure", "uvicorn", "httpx", "httpcore", "websockets", "asyncio"):
        logging.getLogger(name).setLevel(logging.WARNING)
