"""`python -m infra.local run | services | demo`: serve the app locally until Ctrl-C, or run the demonstration."""

import argparse
import asyncio
import contextlib
import fcntl
import os
import shlex
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Coroutine, Mapping
from pathlib import Path
from typing import Any

from infra.emulator import providers
from infra.emulator.containers import sandbox
from infra.emulator.host.settings import InvalidApp, values_in
from infra.emulator.processes import ROOT, NotReady, end_with_parent, listening
from infra.local import demo
from infra.local.environment import PORTS, Environment, ports_from
from infra.local.keys import Keys, private_folder, write_private
from infra.local.supervision import supervise

STATE = ROOT / ".local"


async def run(ports: Mapping[str, int]) -> None:
    """Serve the app on these ports until Ctrl-C, with its state in `.local`."""
    async with _kept(ports, serve=True) as environment:
        print(f"Runyard     {environment.url}   (API pages: {environment.url}/gateway/docs)")
        print(f"WebSocket   ws://127.0.0.1:{ports['host']}/gateway/ws")
        print(f"Storage     Azurite on {ports['blob']}, {ports['queue']}, {ports['table']}")
        print(f"Models      a stand-in on http://127.0.0.1:{ports['providers']}   (key: {providers.KEY})")
        print("Logs        .local/logs.   Ctrl-C stops all services.")
        _say(*sandbox.warnings())
        await supervise(environment, _say)


async def serve_services(ports: Mapping[str, int]) -> None:
    """Serve everything but the Functions host until Ctrl-C, for use with Azure Functions Core Tools.

    The app settings with the addresses and keys are written to `.local/environment`.
    """
    async with _kept(ports, serve=False) as environment:
        write_private(STATE / "environment", as_exports(environment.app_settings))
        print(
            "Storage, Container Instances, Web PubSub and the models' stand-in run. Start the app in another terminal:"
        )
        print(f"(. .local/environment && func start --port {ports['host']})")
        _say(*sandbox.warnings())
        await supervise(environment, _say)


@contextlib.asynccontextmanager
async def _kept(ports: Mapping[str, int], *, serve: bool) -> AsyncIterator[Environment]:
    """The environment with its state in `.local`, while no other one uses that folder. Raises NotReady."""
    settings = own_settings()
    private_folder(STATE)
    with (STATE / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise NotReady("Another `make run` or `make services` of this folder is running. End it first.") from None
        await _check_ports({name: port for name, port in ports.items() if serve or name != "host"})
        environment = Environment(STATE, ports, serve=serve, reload=serve, settings=settings, keys=Keys.kept_in(STATE))
        await environment.start()
        try:
            yield environment
        finally:
            await environment.stop()


async def show() -> None:
    """Run the demonstration in an environment of its own on free ports. Raises NotReady when it fails."""
    with tempfile.TemporaryDirectory(prefix="runyard-demo-") as folder:
        environment = Environment.temporary(Path(folder))
        try:
            await environment.start()
            _say(*sandbox.warnings())
            await demo.show(environment.url)
        except demo.DemoFailed as error:
            raise NotReady(f"\nFAILED: {error}\n{environment.host.tail() if environment.host else ''}") from error
        finally:
            await environment.stop()
    print("\nDone: the run completed and every artifact came back whole.")


def _say(*lines: str) -> None:
    print(*lines, sep="\n", end="\n" if lines else "", flush=True)


async def _until_interrupted(work: Coroutine[Any, Any, None]) -> int:
    """Run until the work ends, or until Ctrl-C, SIGTERM or a closed terminal cancels it; returns the exit code."""
    task = asyncio.ensure_future(work)

    def interrupt() -> None:
        if not task.cancelling():  # a second signal must not interrupt the orderly stop of the services
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, interrupt)
    try:
        await task
    except asyncio.CancelledError:
        return 130
    except (NotReady, InvalidApp) as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        print(f"Cannot use {error.filename}: {error.strerror}" if error.filename else error, file=sys.stderr)
        return 1
    return 0


def own_settings() -> dict[str, str]:
    """The settings of the user, from `local.settings.json` and the environment, which override the ones made here."""
    own, sample = (values_in(ROOT / name) for name in ("local.settings.json", "local.settings.sample.json"))
    # A value that equals the sample's was copied, not chosen; it must not replace the addresses and keys made here.
    values = {name: value for name, value in own.items() if value != sample.get(name)}
    return {
        name: value for name, value in {**values, **os.environ}.items() if name in values or name.startswith("RUNYARD_")
    }


def as_exports(settings: Mapping[str, str]) -> str:
    """A script for the shell that sets these variables."""
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in settings.items())


async def _check_ports(ports: Mapping[str, int]) -> None:
    taken = [f"{port} ({name})" for name, port in ports.items() if await _taken(port)]
    if taken:
        raise NotReady(
            f"Ports in use: {', '.join(taken)}. End the processes that use them (another `make run`?), "
            "or choose other ports: make run PORT=8000"
        )


async def _taken(port: int) -> bool:
    try:
        return await listening(port)
    except OSError:
        return False


def main() -> int:
    """Run one of the commands; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m infra.local", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    ports = f"port of the app; the services get those after it (by default {', '.join(map(str, PORTS.values()))})"
    for name in ("run", "services"):
        command = commands.add_parser(name, usage=argparse.SUPPRESS)  # so that an error is one line
        command.add_argument("--port", type=_ports, default=PORTS, dest="ports", metavar="PORT", help=ports)
    commands.add_parser("demo")
    given = parser.parse_args()
    if "MAKELEVEL" in os.environ:
        end_with_parent()  # for the user, `make` is the process that serves
    work = show() if given.command == "demo" else {"run": run, "services": serve_services}[given.command](given.ports)
    return asyncio.run(_until_interrupted(work))


def _ports(first: str) -> dict[str, int]:
    """Raises ArgumentTypeError for what is no port."""
    try:
        return ports_from(int(first) if first.isdecimal() else 0)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{first!r} is not a port for the app: {error}") from None


if __name__ == "__main__":
    sys.exit(main())
