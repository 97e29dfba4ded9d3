"""Sweeps: one item that fails does not stop the others, and one fault is reported for all of them."""

import pytest

from shared import faults


@pytest.fixture
def reported(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """The faults that were reported."""
    found: list[tuple[str, str]] = []

    async def report(cause: str, message: str) -> None:
        found.append((cause, message))

    monkeypatch.setattr(faults, "reporters", [report])
    return found


async def test_failing_items_are_counted_and_reported_once(reported: list[tuple[str, str]]):
    done: list[int] = []
    async with faults.Sweep("counting") as sweep:
        for number in range(6):
            with sweep.item(f"number {number}"):
                if number % 2:
                    raise OverflowError("too large")
                done.append(number)
    assert (done, sweep.failed) == ([0, 2, 4], 3)
    assert reported == [("sweep: counting", "counting failed for 3 items, first for number 1 (OverflowError)")]


async def test_a_sweep_without_a_failure_reports_nothing(reported: list[tuple[str, str]]):
    async with faults.Sweep("counting") as sweep:
        with sweep.item("1"):
            pass
    assert reported == []


async def test_a_sweep_gives_up_when_every_item_fails(reported: list[tuple[str, str]]):
    tried = 0
    with pytest.raises(OSError, match="storage is away"):
        async with faults.Sweep("counting") as sweep:
            for number in range(1000):
                with sweep.item(str(number)):
                    tried += 1
                    raise OSError("storage is away")
    assert tried == faults.OUTAGE + 1
    assert len(reported) == 1
