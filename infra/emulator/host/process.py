"""One process that serves an app until it is told to stop."""

import asyncio
import logging
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable

from infra.emulator.host.host import Host, Options
from infra.emulator.host.operations import InvocationFormatter
from infra.emulator.host.settings import InvalidApp

# What a process and its supervisor tell each other, one byte each.
LOADED, GO, STOP = b"l", b"g", b"s"


def serve(options: Options, listener: socket.socket, supervisor: socket.socket | None = None) -> int:
    """Serve the app until SIGTERM or SIGINT; the exit code, which is 1 when the app cannot be served.

    With a supervisor: say `LOADED` once the app is imported, serve after `GO`, stop after `STOP`, and end at once when
    the supervisor is gone.
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
    except InvalidApp as error:
        print(f"ERROR {error}", flush=True)
        return 1
    except Exception:
        traceback.print_exc(file=sys.stdout)
        return 1
    return 0


async def _run(host: Host, supervisor: socket.socket | None) -> None:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    if supervisor is None:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, _stopping(stop))
    else:
        loop.add_reader(supervisor, _obeying(supervisor, stop))
    await host.run(stop, lambda: print(f"Serving http://{host.address}", flush=True))


def _stopping(stop: asyncio.Event) -> Callable[[], None]:
    """A signal handler: the first signal stops in order, the second one at once."""

    def handle() -> None:
        if stop.is_set():
            os._exit(1)
        stop.set()

    return handle


def _obeying(supervisor: socket.socket, stop: asyncio.Event) -> Callable[[], None]:
    def handle() -> None:
        if supervisor.recv(1) != STOP:
            os._exit(1)
        stop.set()

    return handle


def configure_logging() -> None:
    """Everything from INFO to standard output; the Azure SDKs and HTTP clients only from WARNING."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(InvocationFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for name in ("azure", "uvicorn", "httpx", "httpcore", "websockets", "asyncio"):
        logging.getLogger(name).setLevel(logging.WARNING)
