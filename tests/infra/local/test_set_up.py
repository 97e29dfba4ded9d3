"""What `make` says when it cannot install what the commands need."""

import shutil
import subprocess
from pathlib import Path

import pytest

from infra.emulator.processes import ROOT


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
