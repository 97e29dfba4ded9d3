"""Child processes: starting them, waiting until they are ready, ending them."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""The folder of this source tree, from which its modules can be run with `python -m`."""


def free_ports(count: int) -> list[int]:
    """Ports of the loopback interface on which no process listens at this moment."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for s in sockets:
            s.bind(("127.0.0.1", 0))
        return [s.getsockname()[1] for s in sockets]
    finally:
        for s in sockets:
            s.close()


Ready = Callable[[], Awaitable[bool]]


class NotReady(RuntimeError):
    """A child ended early or was not ready in time; the message ends with the last lines of its log."""


class Child:
    """One child process in a session of its own; its output goes to a log file."""

    def __init__(self, name: str, command: list[str], *, log: Path, env: dict[str, str] | None = None):
        self.name, self.command, self.log, self.env = name, command, log, env
        self.process: asyncio.subprocess.Process | None = None

    async def start(self, ready: Ready, *, seconds: float = 60) -> None:
        """Start it and wait until `ready()` is true.

        Raises:
            NotReady: it ended before that, or took longer than `seconds`."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *self.command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=ROOT,
                env={**os.environ, **(self.env or {})},
                start_new_session=True,
            )
        try:
            await self._until_ready(self.process, ready, seconds)
        except BaseException:  # Ctrl-C too: no other code knows this process yet
            await self.kill()
            raise

    async def _until_ready(self, process: asyncio.subprocess.Process, ready: Ready, seconds: float) -> None:
        deadline = asyncio.get_running_loop().time() + seconds
        while True:
            # Another process may be the one that answers on the port, so the child must be alive too.
            if process.returncode is not None:
                raise NotReady(f"{self.name} ended with {process.returncode}:\n{self.tail()}")
            with contextlib.suppress(OSError):
                if await ready():
                    return
            if asyncio.get_running_loop().time() > deadline:
                raise NotReady(f"{self.name} did not answer within {seconds:.0f} s:\n{self.tail()}")
            await asyncio.sleep(0.03)

    async def stop(self, seconds: float = 10) -> None:
        """End it with SIGTERM, and its whole session with SIGKILL when it still runs after `seconds`."""
        if self.process is None or self.process.returncode is not None:
            return
        self.process.terminate()
        try:
            await asyncio.wait_for(self.process.wait(), seconds)
        except TimeoutError:
            await self.kill()

    async def kill(self) -> None:
        """End its whole session with SIGKILL, which gives it no time to clean up."""
        if self.process is not None and self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):  # it ended by itself and was not waited for yet
                os.killpg(self.process.pid, signal.SIGKILL)
            await self.process.wait()

    def tail(self, lines: int = 15) -> str:
        """The last lines of its log."""
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


async def listening(port: int) -> bool:
    """True when a process accepts connections on this loopback port; raises OSError when none does."""
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.close()
    return True


def python(module: str, *arguments: str) -> list[str]:
    """The command that runs a module of this tree with this interpreter."""
    return [sys.executable, "-m", module, *arguments]
