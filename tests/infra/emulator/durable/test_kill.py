"""An engine that is killed (kill -9) at any moment and started again."""

import asyncio
import json
from collections import Counter
from pathlib import Path

from infra.emulator.processes import python

PROCESSES = 2  # in parallel, each with every second moment
OUTPUT = ["first 0", "first 1", '"go"', "left", "right", "retried", "child", 1]


async def test_killed_before_any_statement_it_loses_nothing_and_applies_nothing_twice(tmp_path: Path):
    runs = await asyncio.gather(*(_lives(tmp_path, first) for first in range(1, PROCESSES + 1)))
    reports = [report for run in runs for report in run]
    moments = sorted(report["killed_before"] for report in reports)
    assert moments[:200] == list(range(1, 201))
    twice = Counter[str]()
    for report in reports:
        moment = f"killed before statement {report['killed_before']}"
        assert report["output"] == OUTPUT, moment
        assert set(report["answers_per_task"].values()) == {1}, moment
        assert report["left_over"] == [[], [], [], []], moment
        ran_twice = [name for name, times in report["effects"].items() if times > 1]
        assert max(report["effects"].values()) <= 2, moment
        # Only activities whose result was not stored may run again.
        assert set(ran_twice) <= set(report["unfinished_when_killed"]), moment
        twice.update(ran_twice)
    print(f"{len(moments)} moments; ran twice: {dict(twice)}")
    assert twice, "no activity was interrupted, so the test does not test anything"


async def _lives(folder: Path, first: int) -> list[dict]:
    process = await asyncio.create_subprocess_exec(
        *python("tests.infra.emulator.durable.victim", str(folder), str(first), str(PROCESSES)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return [json.loads(line) for line in output.splitlines()]
