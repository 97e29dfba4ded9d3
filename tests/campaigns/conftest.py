"""Campaigns: long series of kills, floods and hostile input. `make campaign` runs a sample of each, seeded.

`FULL=1` in the environment runs them whole, `SEED=<number>` repeats the choices of an earlier run.
"""

from collections.abc import Generator

import pytest

from tests.support.campaign import Campaign


@pytest.fixture
def campaign(request: pytest.FixtureRequest) -> Campaign:
    """The size of this campaign, and its choices."""
    return Campaign.named(request.node.name)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Print the seed first, so that a run that is interrupted can be repeated too."""
    terminal = session.config.pluginmanager.get_plugin("terminalreporter")
    if terminal is not None and not hasattr(session.config, "workerinput"):
        terminal.write_line(f"Repeat with: make campaign {Campaign.named('all').settings}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Print with a failure the command that repeats it."""
    report = yield
    if report.failed:
        command = f"{Campaign.named(item.name).settings} .venv/bin/python -m pytest '{item.nodeid}'"
        report.sections.append(("Repeat with", command))
    return report
