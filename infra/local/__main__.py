"""`python -m infra.local run | services | demo`: a local environment until Ctrl-C, or for one demonstration."""

import asyncio
import json
import os
import signal
import sys
import tempfile
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any

from infra.emulator.processes import ROOT, NotReady, listening
from infra.local import demo
from infra.local.environment import PORTS, Environment


async def run() -> None:
    """Serve on the documented ports until Ctrl-C; state is kept in `.local`."""
    await _check_ports(PORTS)
    environment = Environment(ROOT / ".local", reload=True, settings=_own_settings())
    await environment.start()
    try:
        print(f"Runyard     {environment.url}   (API pages: {environment.url}/gateway/docs)")
        print(f"WebSocket   ws://127.0.0.1:{PORTS['host']}/gateway/ws")
        print(f"Storage     Azurite on {PORTS['blob']}, {PORTS['queue']}, {PORTS['table']}")
        print("Logs        .local/logs.   Ctrl-C ends everything.", flush=True)
        await asyncio.Event().wait()
    finally:
        await environment.stop()


async def serve_rest() -> None:
    """Serve everything but the Functions host, for a host of Azure's own, until Ctrl-C."""
    environment = Environment(ROOT / ".local", serve=False)
    await _check_ports({name: port for name, port in PORTS.items() if name != "host"})
    await environment.start()
    try:
        print("Storage, Container Instances and Web PubSub are up; `func start` finds them.", flush=True)
        await asyncio.Event().wait()
    finally:
        await environment.stop()


async def show() -> None:
    """Start an environment of its own, on free ports, and run the demonstration on it."""
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


async def _until_interrupted(work: Coroutine[Any, Any, None]) -> int:
    """Do the work to its end, or to Ctrl-C, SIGTERM or a closed terminal; it cleans up in either case."""
    task = asyncio.ensure_future(work)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        return 130
    except NotReady as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _own_settings() -> dict[str, str]:
    """What the user's environment and `local.settings.json` say wins over the settings made here."""
    path = ROOT / "local.settings.json"
    values = json.loads(path.read_text()).get("Values", {}) if path.exists() else {}
    return {
        name: value for name, value in {**values, **os.environ}.items() if name in values or name.startswith("RUNYARD_")
    }


async def _check_ports(ports: Mapping[str, int]) -> None:
    taken = [f"{port} ({name})" for name, port in ports.items() if await _taken(port)]
    if taken:
        raise NotReady(f"Ports in use: {', '.join(taken)}. End what listens there (`make run` already?) and try again.")


async def _taken(port: int) -> bool:
    try:
        return await listening(port)
    except OSError:
        return False


def main() -> int:
    """Run one of the commands; answers the exit code."""
    commands = {"run": run, "demo": show, "services": serve_rest}
    if len(sys.argv) != 2 or sys.argv[1] not in commands:
        print(__doc__)
        return 2
    return asyncio.run(_until_interrupted(commands[sys.argv[1]]()))


if __name__ == "__main__":
    sys.exit(main())
