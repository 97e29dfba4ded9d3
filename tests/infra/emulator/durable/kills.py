"""What must hold for an orchestration whose engine was killed before one of its database statements."""

import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Any

from infra.emulator.processes import python

OUTPUT = ["first 0", "first 1", '"go"', "left", "right", "retried", "child", 1]


async def lives(folder: Path, first: int, step: int) -> list[dict[str, Any]]:
    """Kill an engine before each `step`th statement from `first` on, check each outcome, and return the reports."""
    process = await asyncio.create_subprocess_exec(
        *python("tests.infra.emulator.durable.victim", str(folder), str(first), str(step)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    reports = [json.loads(line) for line in output.splitlines()]
    for report in reports:
        _nothing_lost_or_twice(report)
    return reports


def ran_twice(report: dict[str, Any]) -> list[str]:
    """The activities that ran a second time after the kill."""
    return [name for name, times in report["effects"].items() if times > 1]


def _nothing_lost_or_twice(report: dict[str, Any]) -> None:
    moment = f"killed before statement {report['killed_before']}"
    assert report["output"] == OUTPUT, moment
    assert set(report["answers_per_task"].values()) == {1}, moment
    assert report["left_over"] == [[], [], [], []], moment
    assert max(report["effects"].values()) <= 2, moment
    # Only activities whose result was not stored may run again.
    assert Counter(ran_twice(report)) <= Counter(report["unfinished_when_killed"]), moment
