"""What `make` says when it cannot install what the commands need."""

import http.server
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.emulator.processes import ROOT

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
PYTHON, NODE, IDE = ".venv/.ready", "infra/local/node_modules/.ready", "infra/local/ide/node_modules/.ready"
CLOSED = "http://127.0.0.1:9/"
"""An address at which no server listens."""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A source tree without installed packages, in a folder whose name must be quoted."""
    tree = tmp_path / "it's a tree"
    for name in ("Makefile", "infra/local/setup.sh", "requirements.txt", "requirements-dev.txt",
                 "infra/local/package.json", "infra/local/package-lock.json",
                 "infra/local/ide/package.json", "infra/local/ide/package-lock.json"):  # fmt: skip
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tree / name)
    return tree


@pytest.fixture
def empty_index() -> Iterator[str]:
    """The address of a package index that answers 404 to every request."""

    class NotFound(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_error(404)

        def log_message(self, format: str, *args: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), NotFound) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def make(tree: Path, target: str, *programs: str, python: str = "python3", **environment: str) -> tuple[int, str]:
    """Make a target with only these programs on the PATH; returns the exit code and what it says."""
    path = tree / "bin"
    path.mkdir(exist_ok=True)
    for program in ("sh", "touch", "sed", "cat", "mktemp", "rm", *programs):
        (path / program).symlink_to(shutil.which(program) or "/nonexistent")
    done = subprocess.run(
        [shutil.which("make") or "make", target, f"PYTHON={python}"], cwd=tree,
        env={"PATH": str(path), "HOME": str(tree), **environment},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout.strip()


def a_python(tree: Path, script: str) -> str:
    """The path of a program that stands for another Python."""
    program = tree / "another python"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return str(program)


def test_no_node(tree: Path):
    assert make(tree, NODE) == (2, "Node.js is missing: install Node.js 20 or newer, with npm")


def test_no_python(tree: Path):
    assert make(tree, PYTHON, python="python9") == (2, "Python is missing: install Python 3.11 or newer")


def test_an_old_python(tree: Path):
    old = a_python(tree, '[ "$1" = --version ] && echo Python 3.8.1 && exit\nexit 1')
    assert make(tree, PYTHON, python=old) == (
        2, "Python 3.8.1 is too old: install Python 3.11 or newer, or run make PYTHON=/path/to/python3.11"
    )  # fmt: skip


class TestCodeServer:
    def test_another_node(self, tree: Path):
        a_node(tree, "22")
        assert make(tree, IDE) == (2, "code-server 4.100.3 needs Node.js 20, and this is v22")

    def test_no_compiler(self, tree: Path):
        a_node(tree, "20")
        said = "c++ is missing: code-server has modules in C++ that are built here"
        assert make(tree, IDE) == (2, said)

    def test_no_headers(self, tree: Path):
        a_node(tree, "20")
        said = "The headers of Node.js are missing: /nowhere/include/node/node.h"
        assert make(tree, IDE, "c++", "make", "python3") == (2, said)


def a_node(tree: Path, version: str) -> None:
    """A program that stands for Node.js of this version, whose headers are nowhere."""
    node = tree / "bin/node"
    node.parent.mkdir()
    node.write_text(
        f"#!/bin/sh\ncase $1 in --version) echo v{version} ;; -e) [ {version} = 20 ] ;; -p) echo /nowhere ;; esac\n"
    )
    node.chmod(0o755)


class TestPythonPackages:
    @pytest.fixture(autouse=True)
    def python(self, tree: Path) -> str:
        """A Python that makes no new environment, which takes seconds; a dry run installs nothing into this one."""
        (tree / ".venv/bin").mkdir(parents=True)
        (tree / ".venv/bin/python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
        (tree / ".venv/bin/python").chmod(0o755)
        (tree / "requirements-dev.txt").write_text("nobody-has-this==99.0\n")
        return a_python(tree, "exit 0")

    def make(self, tree: Path, python: str, index: str) -> tuple[int, str]:
        pip = {"PIP_INDEX_URL": index, "PIP_RETRIES": "1", "PIP_DRY_RUN": "1", "PIP_CONFIG_FILE": "/dev/null"}
        code, said = make(tree, PYTHON, python=python, **pip)
        return code, said.removeprefix("Installing Python packages into .venv (once)...\n")

    def test_without_network(self, tree: Path, python: str):
        code, said = self.make(tree, python, CLOSED)
        assert code == 2 and len(said.splitlines()) == 1
        assert said.startswith("Cannot reach the Python package index: ") and "Connection refused" in said

    def test_a_pin_that_does_not_exist(self, tree: Path, python: str, empty_index: str):
        assert self.make(tree, python, empty_index) == (
            2, "The Python package index does not have this, which requirements.txt names: nobody-has-this==99.0"
        )  # fmt: skip


@pytest.mark.skipif(shutil.which("npm") is None, reason="needs npm")
class TestNodePackages:
    def make(self, tree: Path, registry: str) -> tuple[int, str]:
        """Make the target with one package only."""
        package = {"name": "tree", "dependencies": {"nobody-has-this": "99.0.0"}}
        locked = {"": package, "node_modules/nobody-has-this": {"version": "99.0.0"}}
        lock = {"name": "tree", "lockfileVersion": 3, "requires": True, "packages": locked}
        (tree / "infra/local/package.json").write_text(json.dumps(package))
        (tree / "infra/local/package-lock.json").write_text(json.dumps(lock))
        npm = {
            "npm_config_registry": registry,
            "npm_config_cache": str(tree / "cache"),
            "npm_config_fetch_retries": "0",
        }
        code, said = make(tree, NODE, "node", "npm", **npm)
        return code, said.removeprefix("Installing the storage emulator into infra/local/node_modules (once)...\n")

    def test_without_network(self, tree: Path):
        assert self.make(tree, CLOSED) == (2, "Cannot reach the npm registry: connect ECONNREFUSED 127.0.0.1:9")

    def test_a_pin_that_does_not_exist(self, tree: Path, empty_index: str):
        code, said = self.make(tree, empty_index)
        assert code == 2 and len(said.splitlines()) == 1
        assert said.startswith(
            "The npm registry does not have this, which infra/local/package-lock.json names: 'nobody-has-this@99.0.0'"
        )
