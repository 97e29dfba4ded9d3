"""Child processes: starting them, waiting until they are ready, ending them."""

import asyncio
import contextlib
import ctypes
import os
import re
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""The folder of this source tree, from which its modules can be run with `python -m`."""


def free_ports(count: int) -> list[int]:
    """Ports of the loopback interface on which no process listens at this moment. Raises NotReady."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for s in sockets:
            s.bind(("127.0.0.1", 0))
        return [s.getsockname()[1] for s in sockets]
    except OSError as error:
        raise NotReady(f"This machine has no {count} free ports: {error.strerror}") from None
    finally:
        for s in sockets:
            s.close()


def end_with_parent() -> None:
    """On Linux, this process gets SIGTERM when the process that has started it ends, even by SIGKILL."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


# Runs a command as this same process, after it has asked the kernel for SIGTERM at the end of the parent. It is sent to
# no process that is forked later.
_UNTIL_PARENT_ENDS = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGTERM)
if os.getppid() == int(sys.argv[1]):
    os.execvp(sys.argv[2], sys.argv[2:])
"""

Ready = Callable[[], Awaitable[bool]]


NOTICE = "HOST "
"""Begins the lines that a Functions host prints about its own processes while it serves."""

REASON = re.compile(r"^(?:ERROR |python -m \S+: error: |(?=\w+Error: ))(.+)$", re.MULTILINE)
"""A line in which a child says why it cannot start, such as the last one of a traceback."""


class NotReady(RuntimeError):
    """A child ended early or was not ready in time.

    The message is one line when the child has said why; else it ends with the last lines of its log.
    """


class Child:
    """One child process in a session of its own; its output goes to a log file.

    On Linux it gets SIGTERM when this process has ended, even by SIGKILL, which it outlives elsewhere.
    """

    def __init__(self, name: str, command: list[str], *, log: Path, env: dict[str, str] | None = None):
        self.name, self.command, self.log, self.env = name, command, log, env
        self.process: asyncio.subprocess.Process | None = None

    async def start(self, ready: Ready, *, seconds: float = 60) -> None:
        """Start it and wait until `ready()` is true.

        Raises:
            NotReady: it ended before that, or took longer than `seconds`."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        command = self.command
        if sys.platform == "linux":
            command = [sys.executable, "-I", "-S", "-c", _UNTIL_PARENT_ENDS, str(os.getpid()), *command]
        with self.log.open("ab") as log:
            begin = log.tell()
            self.process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=ROOT,
                env={**os.environ, **(self.env or {})},
                start_new_session=True,
            )
        try:
            await self._until_ready(self.process, ready, seconds, begin)
        except BaseException:  # Ctrl-C too: no other code knows this process yet
            await self.kill()
            raise

    async def _until_ready(self, process: asyncio.subprocess.Process, ready: Ready, seconds: float, begin: int) -> None:
        deadline = asyncio.get_running_loop().time() + seconds
        while True:
            # Another process may be the one that answers on the port, so the child must be alive too.
            if process.returncode is not None:
                if reason := self._reason(begin):
                    raise NotReady(f"{self.name} did not start: {reason}")
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

    async def ended(self) -> str:
        """Wait until it has ended by itself or was killed; returns how, and ends what is left of its session."""
        assert self.process
        code = await self.process.wait()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        return f"was killed (signal {-code})" if code < 0 else f"ended with {code}"

    def _reason(self, begin: int) -> str:
        """The line after this byte of its log in which it says why it ended, or the only one; else empty."""
        said = self.log.read_bytes()[begin:].decode(errors="replace").strip()
        reasons = REASON.findall(said) or ([] if "\n" in said else [said])
        return reasons[-1] if reasons else ""

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
