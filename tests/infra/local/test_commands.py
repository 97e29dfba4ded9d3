"""The commands of the README, run as a user runs them."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from infra.emulator.processes import ROOT
from infra.local.__main__ import as_exports, own_settings
from infra.local.environment import PORTS, Environment
from tests.support.waiting import eventually

pytestmark = pytest.mark.long


async def start(command: str, folder: Path) -> asyncio.subprocess.Process:
    """Start one of the commands, with its temporary files below `folder`."""
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "infra.local", command, cwd=ROOT, env={**os.environ, "TMPDIR": str(folder)},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip


def children_in(folder: Path) -> list[str]:
    """The command lines of all child processes whose temporary files are in this folder."""
    found: list[str] = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            # Read in this order, because a starting process gets its command line before its environment.
            if f"TMPDIR={folder}".encode() in (process / "environ").read_bytes():
                line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if "infra.local demo" not in line:
                    found.append(line)
    return found


class TestDemo:
    async def test_it_shows_a_run_and_succeeds(self, tmp_path: Path):
        process = await start("demo", tmp_path)
        output = (await asyncio.wait_for(process.communicate(), 90))[0].decode()
        assert process.returncode == 0, output
        for shown in ("authenticated", "run_update: running", "| 21/21  Namespaces", "run_complete: completed",
                      "letters.csv", "letters.png", "claude.log", "Done"):  # fmt: skip
            assert shown in output
        assert children_in(tmp_path) == []

    @pytest.mark.skipif(not Path("/proc").exists(), reason="needs /proc")
    @pytest.mark.parametrize(("number", "moment"), [(signal.SIGTERM, "at once"), (signal.SIGINT, "under way")])
    async def test_when_interrupted_it_leaves_no_child_process(self, tmp_path: Path, moment: str, number: int):
        process = await start("demo", tmp_path)
        await eventually(lambda: found(tmp_path))
        if moment == "under way":
            await until_printed(process, b"run_update")
        process.send_signal(number)
        await asyncio.wait_for(process.communicate(), 30)
        assert process.returncode == 130
        await eventually(lambda: none_of(tmp_path), seconds=10)

    @pytest.mark.skipif(not Path("/proc").exists(), reason="needs /proc")
    async def test_a_second_ctrl_c_does_not_interrupt_the_stop(self, tmp_path: Path):
        process = await start("demo", tmp_path)
        await until_printed(process, b"run_update")
        process.send_signal(signal.SIGINT)
        while process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGINT)
            await asyncio.sleep(0.1)
        await asyncio.wait_for(process.communicate(), 30)
        assert process.returncode in (130, -signal.SIGINT)  # the last signal may reach it when all else has ended
        assert children_in(tmp_path) == []

    @pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs the signal at the end of the parent")
    async def test_when_killed_it_leaves_no_child_process(self, tmp_path: Path):
        process = await start("demo", tmp_path)
        await until_printed(process, b"run_update")
        process.kill()
        await asyncio.wait_for(process.communicate(), 30)
        await eventually(lambda: none_of(tmp_path), seconds=60)

    async def test_without_node_one_line_says_what_to_do(self, tmp_path: Path):
        done = subprocess.run(
            [sys.executable, "-m", "infra.local", "demo"], cwd=ROOT, capture_output=True, text=True, timeout=60,
            env={"PATH": "/nonexistent", "TMPDIR": str(tmp_path)}, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (1, "Node.js is missing: install Node.js 20 or newer, with npm\n")
        assert children_in(tmp_path) == []


class TestRun:
    async def test_a_port_in_use_is_named(self, tmp_path: Path):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", PORTS["containers"])):
            process = await start("run", tmp_path)
            output = (await asyncio.wait_for(process.communicate(), 30))[0].decode()
            assert process.returncode == 1
            assert output.startswith("Ports in use: ")
            assert "7072 (containers)" in output
            assert len(output.splitlines()) == 1


class TestSettings:
    def test_settings_copied_from_the_sample_do_not_replace_the_keys_made_here(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        shutil.copy(ROOT / "local.settings.sample.json", tmp_path)
        sample = json.loads((tmp_path / "local.settings.sample.json").read_text())
        changed = {**sample["Values"], "RUNYARD_LOCATION": "northeurope"}
        (tmp_path / "local.settings.json").write_text(json.dumps({**sample, "Values": changed}))
        monkeypatch.setattr("infra.local.__main__.ROOT", tmp_path)
        monkeypatch.setenv("RUNYARD_APIS", "gateway")
        assert own_settings() == {"RUNYARD_LOCATION": "northeurope", "RUNYARD_APIS": "gateway"}

    def test_the_shell_reads_the_settings_of_the_services(self, tmp_path: Path):
        environment = Environment(tmp_path, settings={"RUNYARD_LOCATION": "it's $here; or there"})
        (tmp_path / "environment").write_text(as_exports(environment.app_settings))
        command = [". ./environment && exec env -0"]
        done = subprocess.run(["sh", "-c", *command], cwd=tmp_path, env={}, capture_output=True, text=True, check=True)
        found = dict(line.split("=", 1) for line in done.stdout.split("\0") if line)
        assert environment.app_settings.items() <= found.items()


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
class TestSetUp:
    """The checks of `make` for the tools that it needs."""

    @pytest.fixture
    def tree(self, tmp_path: Path) -> Path:
        """A source tree without installed packages."""
        for name in ("Makefile", "requirements.txt", "requirements-dev.txt", "infra/local/package.json",
                     "infra/local/package-lock.json"):  # fmt: skip
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, tmp_path / name)
        return tmp_path

    def make(self, tree: Path, target: str, *programs: str, **variables: str) -> tuple[int, str]:
        """Make a target with only these programs on the PATH; returns the exit code and the output."""
        path = tree / "bin"
        path.mkdir()
        for program in ("sh", "touch", "sed", *programs):
            (path / program).symlink_to(shutil.which(program) or "/nonexistent")
        done = subprocess.run(
            [shutil.which("make") or "make", target, *(f"{k}={v}" for k, v in variables.items())], cwd=tree,
            env={"PATH": str(path)}, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout.strip()

    def test_no_node(self, tree: Path):
        code, said = self.make(tree, "infra/local/node_modules/.ready")
        assert (code, said) == (2, "Node.js is missing: install Node.js 20 or newer, with npm")

    def test_no_python(self, tree: Path):
        code, said = self.make(tree, ".venv/.ready", PYTHON="python9")
        assert (code, said) == (2, "Python is missing: install Python 3.11 or newer")

    def test_an_old_python(self, tree: Path):
        old = tree / "old-python"
        old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.8.1 && exit\nexit 1\n')
        old.chmod(0o755)
        code, said = self.make(tree, ".venv/.ready", PYTHON=str(old))
        assert code == 2
        assert said == "Python 3.8.1 is too old: install Python 3.11 or newer, or run make PYTHON=/path/to/python3.11"


async def until_printed(process: asyncio.subprocess.Process, text: bytes) -> None:
    """Wait until a command has printed a line with this text."""
    assert process.stdout
    while text not in await asyncio.wait_for(process.stdout.readline(), 60):
        continue


async def found(folder: Path) -> list[str]:
    return children_in(folder)


async def none_of(folder: Path) -> bool:
    return children_in(folder) == []
