"""A start that fails says why in one line on stderr, ends with 1 and leaves no process."""

import contextlib
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from infra.local.environment import PORTS
from tests.infra.local.harness import copied_tree, failed, free_row, local

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds processes by /proc"),
]


@pytest.fixture
def run() -> list[str]:
    """`python -m infra.local run` on free ports."""
    return local("run", "--port", str(free_row()))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return copied_tree(tmp_path)


def test_a_syntax_error(run: list[str], tree: Path, tmp_path: Path):
    (tree / "functions/gateway/__init__.py").write_text("if True\n")
    assert failed(run, tmp_path, tree=tree) == (
        "host did not start: functions/gateway/__init__.py, line 1: SyntaxError: expected ':'"
    )


def test_settings_that_are_no_numbers(run: list[str], tree: Path, tmp_path: Path):
    (tree / "local.settings.json").write_text('{"Values": {"RUNYARD_RATE_MINUTE": "many"}}')
    said = failed(run, tmp_path, tree=tree, RUNYARD_RATE_SECOND="few")
    why = "Input should be a valid integer, unable to parse string as an integer"
    assert said == (
        f"host did not start: local.settings.json: RUNYARD_RATE_MINUTE: {why}; "
        f"the environment: RUNYARD_RATE_SECOND: {why}"
    )


def test_settings_that_cannot_be_read(run: list[str], tree: Path, tmp_path: Path):
    (tree / "local.settings.json").write_text('{"Values": {\n"A": }}')
    assert failed(run, tmp_path, tree=tree) == (
        "local.settings.json is not JSON: Expecting value: line 2 column 6 (char 18)"
    )


@pytest.mark.parametrize(
    ("folder", "reason"),
    [
        (".local", "Cannot use {}: File exists"),
        (
            ".local/azurite",
            "azurite did not start: Exit due to unhandled error: EEXIST: file already exists, mkdir '{}'",
        ),
    ],
)
def test_a_folder_that_cannot_be_written(run: list[str], tree: Path, tmp_path: Path, folder: str, reason: str):
    (tree / folder).parent.mkdir(exist_ok=True)
    (tree / folder).write_text("in the way")
    assert failed(run, tmp_path, tree=tree) == reason.format(tree / folder)


def test_a_port_in_use_is_named(tmp_path: Path):
    with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", PORTS["containers"])):
        said = failed(local("run"), tmp_path)
        assert said.startswith("Ports in use: ") and "7072 (containers)" in said
        assert said.endswith("(another `make run`?), or choose other ports: make run PORT=8000")


ROOM = "choose one from 1024 to 65529"


@pytest.mark.parametrize(
    ("port", "reason"),
    [("80", ROOM), ("65531", ROOM), ("many", ROOM), ("8080", "it is used in containers, so choose another one")],
)
def test_what_is_no_port_is_named(port: str, reason: str):
    done = subprocess.run(local("run", f"--port={port}"), capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (
        2,
        f"python -m infra.local run: error: argument --port: {port!r} is not a port for the app: {reason}\n",
    )


def test_no_free_ports(tmp_path: Path):
    # In a network of its own, which has two ports to choose from.
    alone = ["unshare", "--map-root-user", "--net", "sh", "-c"]
    few = 'ip link set lo up && echo "40000 40001" >/proc/sys/net/ipv4/ip_local_port_range'
    if not shutil.which("unshare") or subprocess.run([*alone, few], capture_output=True, check=False).returncode:
        pytest.skip("needs a network namespace")
    assert failed([*alone, f'{few} && exec "$@"', "sh", *local("demo")], tmp_path) == (
        "This machine has no 7 free ports: Address already in use"
    )


def test_without_node_one_line_says_what_to_do(tmp_path: Path):
    assert failed(local("demo"), tmp_path, PATH="/nonexistent") == (
        "Node.js is missing: install Node.js 20 or newer, with npm"
    )
