"""Runs inside a container: runs code among the files of a workspace, and reports how that ended.

Standard library only. `limits.json` has `language`, `seconds`, `megabytes`, and `network`: whether the code may reach
other machines. The code is in the file `code`. Its output goes to standard output, and the first part of it into the
report, `report.json`: `stdout` and `stderr` in base64, `cut` (whether there was more), `exit_code`, `timed_out`,
`duration` in milliseconds, and `isolated`: whether the code was kept from reaching other machines.
"""

import base64
import contextlib
import ctypes
import fcntl
import json
import os
import resource
import selectors
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

FILES = Path("../files").resolve()  # the files of the workspace
KEPT = 1_000_000  # bytes of output in the report
MEGABYTE = 1024 * 1024
STEP = 0.05  # seconds between two checks whether the process has ended
LAST_OUTPUT = 0.5  # seconds for output of processes that the code has left behind
TIMED_OUT = 124  # the exit code, as of `timeout`
NEW_USERS, NEW_NETWORK = 0x10000000, 0x40000000
OPTIONS = "--no-warnings", "--experimental-detect-module"


def main() -> None:
    """Run the code and write the report."""
    limits: dict[str, Any] = json.loads(Path("limits.json").read_text())
    isolated = not limits["network"] and isolate()
    FILES.mkdir(exist_ok=True)
    program, script = command(limits["language"], limits["megabytes"])
    shutil.copy("code", script)
    try:
        report = run([*program, str(script)], limits)
    finally:
        with contextlib.suppress(OSError):
            script.unlink()
    Path("report.json").write_text(json.dumps({**report, "isolated": isolated}))


def command(language: str, megabytes: int) -> tuple[list[str], Path]:
    """Return the program that runs code of this language, and the place of the code.

    For Node that is among the files, as it imports from the folder of the code.
    """
    node = ["node", *OPTIONS, f"--max-old-space-size={megabytes}"]
    hidden, apart = FILES / f".{os.urandom(4).hex()}", Path("main").resolve()
    match language:
        case "python":
            return [sys.executable, "-P"], apart.with_suffix(".py")
        case "javascript":
            return node, hidden.with_name(f"{hidden.name}.js")
        case "typescript":
            return [*node, *without_types()], hidden.with_name(f"{hidden.name}.ts")
        case _:
            return ["bash"], apart.with_suffix(".sh")


def without_types() -> list[str]:
    """Return the options with which Node ignores the types of TypeScript: its own, or those of the package sucrase."""
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=False).stdout
    major, minor = map(int, version.strip("v\n ").split(".")[:2])
    if (major, minor) >= (22, 7):
        return ["--experimental-transform-types"]
    tool = shutil.which("sucrase-node")
    return ["--require", str(Path(tool).resolve().parents[1] / "register/index.js")] if tool else []


def isolate() -> bool:
    """Move this process into a network without other machines; return False where the system does not allow it."""
    uid, gid = os.geteuid(), os.getegid()
    if ctypes.CDLL(None, use_errno=True).unshare(NEW_USERS | NEW_NETWORK):
        return False
    for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        with contextlib.suppress(OSError):
            Path("/proc/self", name).write_text(text)
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh14x", b"lo", 1))  # SIOCSIFFLAGS: this machine can be reached
    return True


def run(program: list[str], limits: dict[str, Any]) -> dict[str, Any]:
    """Run a program in the folder of the files until it ends or its time is over; return the report."""
    # Node reserves much more than it uses, so its own option limits its heap.
    memory = limits["megabytes"] * MEGABYTE if program[0] != "node" else resource.RLIM_INFINITY

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))

    started = time.monotonic()
    try:
        process = subprocess.Popen(
            program, cwd=FILES, env=variables(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, start_new_session=True, preexec_fn=limit,
        )  # fmt: skip
    except OSError as error:
        return report_of(127, started, {"stderr": f"{program[0]} cannot be started: {error}\n".encode()})
    assert process.stdout and process.stderr
    output = Output({process.stdout.fileno(): "stdout", process.stderr.fileno(): "stderr"})
    deadline = started + limits["seconds"]
    while (left := deadline - time.monotonic()) > 0 and process.poll() is None:
        if not output.read(min(left, STEP)):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(min(left, STEP))
    timed_out = process.poll() is None
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    code = process.wait()
    report = report_of(TIMED_OUT if timed_out else 128 - code if code < 0 else code, started, output.kept)
    output.finish()
    return {**report, **{name: encoded(data) for name, data in output.kept.items()},
            "cut": output.cut, "timed_out": timed_out}  # fmt: skip


def report_of(code: int, started: float, output: dict[str, Any]) -> dict[str, Any]:
    """Return the report of a program that has ended now."""
    return {
        **{name: encoded(output.get(name, b"")) for name in ("stdout", "stderr")},
        "exit_code": code, "duration": round((time.monotonic() - started) * 1000), "cut": False, "timed_out": False,
    }  # fmt: skip


def encoded(data: bytes | bytearray) -> str:
    """Return bytes as base64."""
    return base64.b64encode(data).decode()


def variables() -> dict[str, str]:
    """Return the environment of the code: what programs need, and nothing of the container's own."""
    given = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
    home = tempfile.gettempdir()  # what programs note there is not among the files of the workspace
    modules = os.pathsep.join(filter(None, (str(FILES), os.environ.get("PYTHONPATH"))))
    return {
        **given, "HOME": home, "PYTHONPATH": modules, "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1",
    }  # fmt: skip


class Output:
    """Reads pipes, writes all of it to standard output, and keeps the first part."""

    def __init__(self, pipes: dict[int, str]):
        self.kept = {name: bytearray() for name in pipes.values()}
        self.cut = False
        self._left = KEPT
        self._pipes = selectors.DefaultSelector()
        for pipe, name in pipes.items():
            self._pipes.register(pipe, selectors.EVENT_READ, name)

    def read(self, seconds: float) -> bool:
        """Read once from each pipe that has something, for which it waits so long; False when all have ended."""
        if not self._pipes.get_map():
            return False
        for key, _ in self._pipes.select(seconds):
            data = os.read(key.fd, 1 << 16)
            if not data:
                self._pipes.unregister(key.fd)
                continue
            self.kept[key.data] += data[: self._left]
            self.cut = self.cut or len(data) > self._left
            self._left -= min(len(data), self._left)
            while data:
                data = data[os.write(1, data) :]
        return True

    def finish(self) -> None:
        """Read what is there still."""
        until = time.monotonic() + LAST_OUTPUT
        while self._pipes.get_map() and (left := until - time.monotonic()) > 0:
            self.read(left)


if __name__ == "__main__":
    main()
