"""`python -m infra.local run | services | demo`: serve the app locally until Ctrl-C, or run the demonstration."""

import asyncio
import json
import os
import shlex
import signal
import sys
import tempfile
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any

from infra.emulator.containers import sandbox
from infra.emulator.processes import ROOT, NotReady, listening
from infra.local import demo
from infra.local.environment import PORTS, Environment
from infra.local.keys import Keys, write_private
from infra.local.supervision import supervise

STATE = ROOT / ".local"


async def run() -> None:
    """Serve the app on the documented ports until Ctrl-C, with its state in `.local`."""
    await _check_ports(PORTS)
    environment = Environment(STATE, reload=True, settings=own_settings(), keys=Keys.kept_in(STATE))
    await environment.start()
    try:
        print(f"Runyard     {environment.url}   (API pages: {environment.url}/gateway/docs)")
        print(f"WebSocket   ws://127.0.0.1:{PORTS['host']}/gateway/ws")
        print(f"Storage     Azurite on {PORTS['blob']}, {PORTS['queue']}, {PORTS['table']}")
        print("Logs        .local/logs.   Ctrl-C stops all services.")
        _say(*sandbox.warnings())
        await supervise(environment, _say)
    finally:
        await environment.stop()


async def serve_services() -> None:
    """Serve everything but the Functions host until Ctrl-C, for use with Azure Functions Core Tools.

    The app settings with the addresses and keys are written to `.local/environment`.
    """
    environment = Environment(STATE, serve=False, settings=own_settings(), keys=Keys.kept_in(STATE))
    await _check_ports({name: port for name, port in PORTS.items() if name != "host"})
    await environment.start()
    try:
        write_private(STATE / "environment", as_exports(environment.app_settings))
        print("Storage, Container Instances and Web PubSub are running. Start the app in another terminal:")
        print("(. .local/environment && func start)")
        _say(*sandbox.warnings())
        await supervise(environment, _say)
    finally:
        await environment.stop()


async def show() -> None:
    """Run the demonstration in an environment of its own on free ports. Raises NotReady when it fails."""
    with tempfile.TemporaryDirectory(prefix="runyard-demo-") as folder:
        environment = Environment.temporary(Path(folder))
        try:
            await environment.start()
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
    except NotReady as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def own_settings() -> dict[str, str]:
    """The settings of the user, from `local.settings.json` and the environment, which override the ones made here."""
    own, sample = (_values(ROOT / name) for name in ("local.settings.json", "local.settings.sample.json"))
    # A value that equals the sample's was copied, not chosen; it must not replace the addresses and keys made here.
    values = {name: value for name, value in own.items() if value != sample.get(name)}
    return {
        name: value for name, value in {**values, **os.environ}.items() if name in values or name.startswith("RUNYARD_")
    }


def as_exports(settings: Mapping[str, str]) -> str:
    """A script for the shell that sets these variables."""
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in settings.items())


def _values(path: Path) -> dict[str, str]:
    return json.loads(path.read_text()).get("Values", {}) if path.exists() else {}


async def _check_ports(ports: Mapping[str, int]) -> None:
    taken = [f"{port} ({name})" for name, port in ports.items() if await _taken(port)]
    if taken:
        raise NotReady(
            f"Ports in use: {', '.join(taken)}. End the processes that use them (another `make run`?) and try again."
        )


async def _taken(port: int) -> bool:
    try:
        return await listening(port)
    except OSError:
        return False


def main() -> int:
    """Run one of the commands; returns the exit code."""
    commands = {"run": run, "demo": show, "services": serve_services}
    if len(sys.argv) != 2 or sys.argv[1] not in commands:
        print(__doc__)
        return 2
    return asyncio.run(_until_interrupted(commands[sys.argv[1]]()))


if __name__ == "__main__":
    sys.exit(main())
