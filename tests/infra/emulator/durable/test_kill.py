"""An engine that is killed (kill -9) and started again; `tests/campaigns/test_engine.py` does it at every moment."""

from pathlib import Path

from tests.infra.emulator.durable.kills import lives


async def test_killed_before_a_statement_it_loses_nothing_and_applies_nothing_twice(tmp_path: Path):
    reports = await lives(tmp_path, first=10, step=40)
    assert [report["killed_before"] for report in reports][:5] == [10, 50, 90, 130, 170]
