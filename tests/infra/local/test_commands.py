"""The commands of the README, run as a user runs them, in a folder whose name must be quoted."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.emulator.processes import ROOT
from infra.local.__main__ import as_exports, own_settings
from infra.local.environment import Environment, ports_from
from tests.infra.local.harness import children_in, copied_tree, free_row, local, make, none_in, start, until_printed
from tests.support.gateway import register
from tests.support.waiting import eventually

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds processes by /proc"),
    pytest.mark.skipif(shutil.which("make") is None, reason="needs make"),
]


@pytest.fixture(autouse=True)
def nothing_is_left(tmp_path: Path) -> Iterator[None]:
    """What a failed test leaves running is killed."""
    yield
    for process in children_in(tmp_path):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


class TestDemo:
    async def test_it_shows_a_run_and_succeeds(self, tmp_path: Path):
        tree = copied_tree(tmp_path)
        temporary = tree / "temporary"  # where a demonstration has its state
        temporary.mkdir()
        process = await start(make("demo"), temporary, tree=tree)
        output = (await asyncio.wait_for(process.communicate(), 90))[0].decode()
        assert process.returncode == 0, output
        for shown in ("authenticated", "run_update: running", "| 21/21  Namespaces", "run_complete: completed",
                      "letters.csv", "letters.png", "claude.log", "Done"):  # fmt: skip
            assert shown in output
        assert not children_in(temporary)

    async def test_when_ended_at_once_it_leaves_no_child_process(self, tmp_path: Path):
        process = await start(local("demo"), tmp_path)
        await eventually(lambda: several_in(tmp_path))
        os.killpg(process.pid, signal.SIGTERM)
        await asyncio.wait_for(process.communicate(), 30)
        assert process.returncode == 130
        await eventually(lambda: none_in(tmp_path), seconds=10)

    async def test_when_killed_it_leaves_no_child_process(self, tmp_path: Path):
        process = await start(local("demo"), tmp_path)
        await until_printed(process, "run_update")
        process.kill()
        await asyncio.wait_for(process.communicate(), 60)
        await eventually(lambda: none_in(tmp_path), seconds=60)


class TestRun:
    async def test_on_chosen_ports_it_serves_until_ctrl_c_and_survives_mistakes(self, tmp_path: Path):
        tree, port = copied_tree(tmp_path), free_row()
        process = await start(make("run", f"PORT={port}"), tmp_path, tree=tree, RUNYARD_LOCAL_REACHABLE="10.9.0.0/16")
        try:
            said = await until_printed(process, "Ctrl-C stops all services")
            assert f"Runyard     http://127.0.0.1:{port} " in said
            assert f"WebSocket   ws://127.0.0.1:{port}/gateway/ws\n" in said
            assert f"Storage     Azurite on {port + 3}, {port + 4}, {port + 5}\n" in said
            assert f"Models      a stand-in on http://127.0.0.1:{port + 6} " in said

            assert any("--reachable=10.9.0.0/16" in line for line in children_in(tmp_path).values())

            second = await start(local("run", "--port", str(port + 6)), tmp_path / "second", tree=tree)
            heard = (await second.communicate())[0].decode()
            assert heard == "Another `make run` or `make services` of this folder is running. End it first.\n"
            assert second.returncode == 1

            gateway = await register(Environment(tmp_path, ports_from(port)))
            run = await gateway.run("echo whole")
            assert (await gateway.reach(run["id"], seconds=90))["result"] == "whole\n"

            (tree / "functions/gateway/__init__.py").write_text("def broken(\n")
            said = await until_printed(process, "the previous one still serves")
            assert "functions/gateway/__init__.py, line 1: SyntaxError: '(' was never closed\n" in said
            assert (await gateway.get(run["id"]))["status"] == "completed"
            await gateway.http.aclose()
        finally:
            for _ in range(2):  # as a terminal does: to `make`, too
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGINT)
                await asyncio.sleep(0.3)
            await asyncio.wait_for(process.communicate(), 60)
        await eventually(lambda: none_in(tmp_path), seconds=10)

    async def test_services_on_chosen_ports_say_what_contains_nothing_and_end_with_make(self, tmp_path: Path):
        tree, port, programs = copied_tree(tmp_path), free_row(), tmp_path / "programs"
        programs.mkdir()
        for program in ("make", "node", "sh"):
            (programs / program).symlink_to(shutil.which(program) or "")
        process = await start(make("services", f"PORT={port}"), tmp_path, tree=tree, PATH=str(programs))
        said = await until_printed(process, "NOTHING CONTAINS")
        assert f"(. .local/environment && func start --port {port})\n" in said
        assert said.endswith("bubblewrap is not installed\n")
        exports = (tree / ".local/environment").read_text()
        assert f"RUNYARD_PUBLIC_URL=http://127.0.0.1:{port}\n" in exports
        assert f"RUNYARD_ARM_ENDPOINT=http://127.0.0.1:{port + 1}\n" in exports
        process.kill()
        await eventually(lambda: none_in(tmp_path), seconds=60)
        await process.communicate()


def test_commands_keep_compiled_modules():
    """Else each Functions host and each process of the tests compiles all of them anew."""
    command = ["make", "--no-print-directory", "--eval", "show: ; @echo [$$PYTHONDONTWRITEBYTECODE]", "show"]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


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


async def several_in(folder: Path) -> bool:
    return len(children_in(folder)) > 1
