"""The command line of the emulated Functions host."""

import argparse
import errno
import os
import socket
import sys
from pathlib import Path

from infra.emulator.host.host import Options
from infra.emulator.host.wire import listen
from infra.emulator.origins import Origins


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m infra.emulator.host", description=__doc__)
    parser.add_argument("--app", type=Path, required=True, help="folder with function_app.py and host.json")
    parser.add_argument("--state", type=Path, required=True, help="folder for the state of the host")
    parser.add_argument("--port", type=int, default=7071)
    parser.add_argument("--fd", type=int, help="file descriptor of a listening socket, used instead of --port")
    parser.add_argument(
        "--socket", action="append", default=[], metavar="PATH=URL", help="forward the WebSockets of a path to a URL"
    )
    parser.add_argument(
        "--response-timeout",
        type=float,
        metavar="SECONDS",
        help="time limit until a response starts; 230 in Azure, none by default",
    )
    parser.add_argument(
        "--drain-seconds", type=int, default=10, help="how long running requests may take when the host stops"
    )
    parser.add_argument("--reload", action="store_true", help="load the app again whenever one of its files is saved")
    Origins.add_options(parser)
    given = parser.parse_args()
    options = Options(
        app=given.app.resolve(),
        state=given.state.resolve(),
        sockets=dict(item.split("=", 1) for item in given.socket),
        response_timeout=given.response_timeout,
        drain_seconds=given.drain_seconds,
        origins=Origins.of_options(given),
    )
    try:
        listener = listen(given.port) if given.fd is None else socket.socket(fileno=given.fd)
    except OSError as error:
        how = "is taken" if error.errno == errno.EADDRINUSE else f"cannot be used: {error.strerror}"
        sys.exit(f"ERROR port {given.port} {how}")
    if given.reload:
        from infra.emulator.host.reload import supervise as serve_app
    else:
        from infra.emulator.host.process import serve as serve_app
    code = serve_app(options, listener)
    sys.stdout.flush()
    # A function that hangs in its thread must not keep the process from ending.
    os._exit(code)


if __name__ == "__main__":
    main()
