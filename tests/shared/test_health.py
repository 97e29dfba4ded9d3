"""Health checks: run side by side, and their results kept for a while."""

import asyncio
from pathlib import Path

import pytest

from shared import health
from shared.health import Checks, Probe
from shared.settings import Settings


def keep_results(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Keep the results of checks for so many seconds."""
    given = Settings.model_validate({"RUNYARD_HEALTH_FRESH": seconds})
    monkeypatch.setattr(health, "settings", lambda: given)


class Asked:
    """A probe that counts its calls, and fails when `fails`."""

    def __init__(self, *, fails: bool = False):
        self.times, self.fails = 0, fails

    async def __call__(self) -> None:
        self.times += 1
        if self.fails:
            raise ConnectionError("unreachable")


async def test_checks_run_side_by_side():
    all_three = asyncio.Barrier(3)
    checks = Checks({name: Probe(all_three.wait) for name in ("a", "b", "c")})
    assert await checks.results() == {"a": True, "b": True, "c": True}


async def test_a_failing_check_does_not_stop_the_others():
    assert await Checks({"a": Probe(Asked(fails=True)), "b": Probe(Asked())}).results() == {"a": False, "b": True}


async def test_only_the_named_checks_run():
    a, b = Asked(), Asked()
    assert await Checks({"a": Probe(a), "b": Probe(b)}).results("a") == {"a": True}
    assert (a.times, b.times) == (1, 0)


async def test_a_service_that_does_not_answer_in_time_fails(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(health, "LIMIT", 0.05)
    assert await Checks({"a": Probe(asyncio.Event().wait)}).results() == {"a": False}


async def test_the_first_import_of_an_sdk_does_not_count_as_the_services_time(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    (tmp_path / "an_sdk_that_loads_slowly.py").write_text("import time\ntime.sleep(0.3)\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(health, "LIMIT", 0.1)
    assert await Checks({"a": Probe(Asked(), "an_sdk_that_loads_slowly")}).results() == {"a": True}


@pytest.mark.parametrize(("seconds", "times"), [(1000, 1), (0, 2)])
async def test_a_result_is_kept_for_the_configured_time(monkeypatch: pytest.MonkeyPatch, seconds: float, times: int):
    keep_results(monkeypatch, seconds)
    asked = Asked()
    checks = Checks({"a": Probe(asked)})
    for _ in range(2):
        await checks.results()
    assert asked.times == times


async def test_a_kept_result_is_returned_without_waiting_for_anything(monkeypatch: pytest.MonkeyPatch):
    keep_results(monkeypatch, 1000)
    checks = Checks({"a": Probe(Asked()), "b": Probe(Asked(fails=True))})
    results = await checks.results()
    with pytest.raises(StopIteration) as ended:
        checks.results().send(None)
    assert ended.value.value == results == {"a": True, "b": False}


async def test_apis_share_the_result_of_a_probe(monkeypatch: pytest.MonkeyPatch):
    keep_results(monkeypatch, 1000)
    asked = Asked()
    probe = Probe(asked)
    assert await Checks({"database": probe}).results() == {"database": True}
    assert await Checks({"storage": probe}).results() == {"storage": True}
    assert asked.times == 1


async def test_concurrent_callers_share_one_check(monkeypatch: pytest.MonkeyPatch):
    keep_results(monkeypatch, 1000)
    asked = Asked()
    checks = Checks({"a": Probe(asked)})
    await asyncio.gather(*(checks.results() for _ in range(5)))
    assert asked.times == 1


async def test_a_result_is_forgotten_from_some_age_on(monkeypatch: pytest.MonkeyPatch):
    keep_results(monkeypatch, 1000)
    asked = Asked()
    probe = Probe(asked)
    for older, times in ((0, 1), (1000, 1), (0, 2)):
        probe.forget(older=older)
        await Checks({"a": probe}).results()
        assert asked.times == times
