"""Campaigns: long series of kills, floods and hostile input. `make campaign` runs a sample of each, seeded.

`FULL=1` in the environment runs them whole, `SEED=<number>` repeats the choices of an earlier run.
"""

import os
import random
from collections.abc import Generator
from dataclasses import dataclass

import pytest

FULL = os.environ.get("FULL", "") not in ("", "0")
SEED = int(os.environ.get("SEED") or random.randrange(10**6))
os.environ["SEED"] = str(SEED)  # the workers inherit it


@dataclass(frozen=True)
class Campaign:
    """How much of a campaign to run, and where its choices come from."""

    seed: int
    chance: random.Random
    full: bool

    def rounds(self, sample: int, full: int) -> int:
        """The number of repetitions: `sample` or, when campaigns are run whole, `full`."""
        return full if self.full else sample


@pytest.fixture
def campaign(request: pytest.FixtureRequest) -> Campaign:
    """The size and the choices of this test, which do not depend on the tests before it."""
    return Campaign(SEED, random.Random(f"{SEED} {request.node.name}"), FULL)


def _settings() -> str:
    return f"SEED={SEED}{' FULL=1' if FULL else ''}"


def pytest_sessionstart(session: pytest.Session) -> None:
    """Print the seed first, so that a run that is interrupted can be repeated too."""
    terminal = session.config.pluginmanager.get_plugin("terminalreporter")
    if terminal is not None and not hasattr(session.config, "workerinput"):
        terminal.write_line(f"Campaigns, {'whole' if FULL else 'a sample of each'}: make campaign {_settings()}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Print with a failure the command that repeats it."""
    report = yield
    if report.failed:
        report.sections.append(("Repeat with", f"{_settings()} .venv/bin/python -m pytest '{item.nodeid}'"))
    return report
