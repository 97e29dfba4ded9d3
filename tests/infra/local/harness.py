"""The commands as processes, run in a source tree as a user runs them."""

import asyncio
import contextlib
import os
import random
import shutil
import socket
import subprocess
import sys
from pathlib import Path

from infra.emulator.processes import ROOT
from infra.local.environment import ports_from

ODD = 'it\'s a "café" & more'
"""The name of a folder that every program on the way must quote."""


def copied_tree(folder: Path) -> Path:
    """A source tree in a folder with an odd name, with the packages that are installed in this one."""
    tree = folder / ODD
    for name in ("functions", "shared", "infra"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("node_modules", ".*"))
    for name in ("Makefile", "function_app.py", "host.json", "local.settings.sample.json",
                 "requirements.txt", "requirements-dev.txt"):  # fmt: skip
        shutil.copy2(ROOT / name, tree)
    for name in (".venv", "infra/local/node_modules"):
        (tree / name).symlink_to(ROOT / name)
    return tree


def local(*words: str) -> list[str]:
    """`python -m infra.local <words>`."""
    return [sys.executable, "-m", "infra.local", *words]


def make(*words: str) -> list[str]:
    """`make <words>`, without a look at whether the packages are up to date."""
    installed = (f"--old-file={name}/.ready" for name in (".venv", "infra/local/node_modules"))
    return ["make", "--no-print-directory", *installed, *words]


async def start(
    command: list[str], folder: Path, *, tree: Path = ROOT, **environment: str
) -> asyncio.subprocess.Process:
    """Start a command in a process group of its own; `children_in(folder)` finds all its processes."""
    return await asyncio.create_subprocess_exec(
        *command, cwd=tree, env={**os.environ, "TMPDIR": str(folder), **environment},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip


def failed(command: list[str], folder: Path, *, tree: Path = ROOT, **environment: str) -> str:
    """What a command says on stderr that is expected to fail, without the line's end; nothing of it is left running."""
    done = subprocess.run(
        command, cwd=tree, env={**os.environ, "TMPDIR": str(folder), **environment},
        capture_output=True, text=True, timeout=90, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1), done
    assert not children_in(folder)
    return done.stderr.rstrip()


def children_in(folder: Path) -> dict[int, str]:
    """The ids and command lines of all processes whose temporary files are in this folder or below it."""
    found: dict[int, str] = {}
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            # Read in this order, because a starting process gets its command line before its environment.
            if f"\0TMPDIR={folder}".encode() in b"\0" + (process / "environ").read_bytes():
                line = (process / "cmdline").read_bytes().replace(b"\0", b" ")
                found[int(process.name)] = line.decode(errors="replace")
    return found


async def none_in(folder: Path) -> bool:
    return not children_in(folder)


async def until_printed(process: asyncio.subprocess.Process, text: str) -> str:
    """Wait until a command has printed a line with this text; returns everything up to it."""
    assert process.stdout
    printed = ""
    while text not in printed:
        line = (await asyncio.wait_for(process.stdout.readline(), 60)).decode()
        assert line, printed
        printed += line
    return printed


def free_row() -> int:
    """The first of as many ports side by side as an environment needs, none of them in use.

    They lie below those that the system gives to connections, one of which could take a port of the row meanwhile.
    """
    while True:
        row = ports_from(random.randrange(20_000, 32_000))
        with contextlib.suppress(OSError), contextlib.ExitStack() as sockets:
            for port in row.values():
                sockets.enter_context(socket.create_server(("127.0.0.1", port)))
            return row["host"]
