"""`python -m infra.emulator.containers --port P --state DIR --images FILE.json`: serve until SIGTERM or Ctrl-C.

The environment variable CONTAINERS_TOKEN is the bearer token that every request must have.
"""

import argparse
import logging
import os
from pathlib import Path

from aiohttp import web

from infra.emulator.containers import sandbox
from infra.emulator.containers.launch import Rules
from infra.emulator.containers.operations import ContainerGroups
from infra.emulator.containers.wire import application
from infra.emulator.origins import Origins


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m infra.emulator.containers", description=__doc__)
    parser.add_argument("--port", type=int, required=True, help="port on 127.0.0.1")
    parser.add_argument("--state", type=Path, required=True, help="folder for the container groups and file shares")
    parser.add_argument("--images", type=Path, required=True, help="JSON file with the images")
    parser.add_argument("--grace", type=float, default=2, help="seconds between SIGTERM and SIGKILL")
    parser.add_argument("--kill-after", type=float, default=3, help="seconds after --grace before a group is killed")
    parser.add_argument("--restart-delay", type=float, default=1, help="seconds before the first restart")
    parser.add_argument("--disk", type=float, default=10, help="GB of files that a container may have")
    parser.add_argument("--processes", type=int, default=1000, help="processes that a container may have")
    parser.add_argument("--starts", type=int, default=Rules.starts, help="container groups that start at a time")
    parser.add_argument(
        "--starting", type=float, default=Rules.starting, help="seconds after which a group that runs counts as started"
    )
    parser.add_argument(
        "--reachable", action="append", default=[], metavar="HOST", type=_networks,
        help="a private host or network (10.1.0.0/16) that images with outgoing traffic may reach; can be repeated",
    )  # fmt: skip
    Origins.add_options(parser)
    options = parser.parse_args()
    token = os.environ.pop("CONTAINERS_TOKEN", "")
    if not token:
        parser.error("the environment variable CONTAINERS_TOKEN is not set")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
    sandbox.warnings()  # looked for here, so that they are the first lines of the log
    rules = Rules(
        grace=options.grace,
        restart_delay=options.restart_delay,
        disk=int(options.disk * sandbox.GIB),
        processes=options.processes,
        starts=options.starts,
        starting=options.starting,
        reachable=tuple(network for networks in options.reachable for network in networks),
    )
    service = ContainerGroups(options.state.resolve(), options.images, rules, kill_after=options.kill_after)
    served = application(service, token, Origins.of_options(options))
    web.run_app(served, host="127.0.0.1", port=options.port, print=None, shutdown_timeout=3)


def _networks(host: str) -> list[str]:
    try:
        return sandbox.networks(host)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{host!r} is not a known host or network") from None


if __name__ == "__main__":
    main()
