"""The command line of the local Functions host."""

import argparse
import asyncio
import logging
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from infra.local.host.host import Host, Options
from infra.local.host.invocations import InvocationFormatter
from infra.local.host.server import listen
from infra.local.host.settings import Refused


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m infra.local.host", description=__doc__)
    parser.add_argument("--app", type=Path, required=True, help="folder of function_app.py and host.json")
    parser.add_argument("--state", type=Path, required=True, help="folder of the host's own state")
    parser.add_argument("--port", type=int, default=7071)
    parser.add_argument("--fd", type=int, help="a listening socket to serve instead of opening --port")
    parser.add_argument("--socket", action="append", default=[], metavar="PATH=URL", help="pass WebSockets on")
    parser.add_argument("--response-timeout", type=float, metavar="SECONDS", help="230 in Azure; none here")
    parser.add_argument("--drain-seconds", type=int, default=10, help="how long to finish requests when stopping")
    given = parser.parse_args()
    options = Options(
        app=given.app.resolve(),
        state=given.state.resolve(),
        sockets=dict(item.split("=", 1) for item in given.socket),
        response_timeout=given.response_timeout,
        drain_seconds=given.drain_seconds,
    )
    listener = listen(given.port) if given.fd is None else socket.socket(fileno=given.fd)
    code = serve(options, listener)
    sys.stdout.flush()
    # A plain function that hangs in its thread must not keep the process.
    os._exit(code)


def serve(options: Options, listener: socket.socket) -> int:
    """Serve the app until SIGTERM or SIGINT; the exit code."""
    configure_logging()
    try:
        host = Host(options, listener)
    except Refused as error:
        print(f"ERROR {error}", flush=True)
        return 1
    except Exception:
        traceback.print_exc(file=sys.stdout)
        return 1
    print(host.table(), flush=True)

    async def run() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stopping(stop))
        await host.run(stop, lambda: print(f"Serving http://{host.address}", flush=True))

    asyncio.run(run())
    return 0


def stopping(stop: asyncio.Event) -> Callable[[], None]:
    """A signal handler: the first signal stops in order, the second one at once."""

    def handle() -> None:
        if stop.is_set():
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


if __name__ == "__main__":
    main()
