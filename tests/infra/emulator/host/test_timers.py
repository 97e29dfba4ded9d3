"""Timer functions on a running host."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from infra.emulator.host.index import Function
from infra.emulator.host.operations import Invoker
from infra.emulator.host.settings import InvalidApp
from infra.emulator.host.timers import Timers
from tests.infra.emulator.host.harness import Serve, ServedApp, eventually, shared

NEVER = "0 0 0 1 1 *"


def runs(served: ServedApp, name: str) -> list[Any]:
    """The JSON objects that runs of `name` wrote to the log after the word RUN."""
    return [
        json.loads(line.split("RUN ")[1]) for line in served.log.splitlines() if f" {name} " in line and "RUN " in line
    ]


APP = f'''
import json

def note(timer, **more):
    status = timer.schedule_status
    logging.info("RUN %s", json.dumps({{"past_due": timer.past_due, "status": status, "at": time.time(), **more}}))

@app.timer_trigger(arg_name="timer", schedule="* * * * * *")
async def every_second(timer: func.TimerRequest):
    note(timer)

@app.timer_trigger(arg_name="timer", schedule="* * * * * *")
async def slow(timer: func.TimerRequest):
    note(timer, phase="begins")
    await asyncio.sleep(1.1)
    note(timer, phase="ends")

@app.timer_trigger(arg_name="timer", schedule="{NEVER}", run_on_startup=True)
def at_start(timer: func.TimerRequest, context: func.Context):
    note(timer, id=context.invocation_id)

@app.timer_trigger(arg_name="timer", schedule="%RARELY%")
def by_hand(timer: func.TimerRequest):
    note(timer)

@app.timer_trigger(arg_name="timer", schedule="* * * * * *", run_on_startup=True)
def switched_off(timer: func.TimerRequest):
    note(timer)

@app.timer_trigger(arg_name="timer", schedule="{NEVER}")
def fails(timer: func.TimerRequest):
    raise ValueError("no luck")
'''


@pytest.fixture(scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServedApp]:
    """One host for all tests that neither stop it nor look at its timer `by_hand` before another one has started it."""
    env = {"RARELY": NEVER, "AzureWebJobs.switched_off.Disabled": "true"}
    async with shared(tmp_path_factory.mktemp("timers"), APP, env=env) as served:
        yield served


async def test_timers_run_on_schedule_and_at_start_and_one_run_at_a_time(served: ServedApp):
    await eventually(lambda: len(runs(served, "every_second")) >= 2 and len(runs(served, "slow")) >= 3)
    times = [run["at"] for run in runs(served, "every_second")]
    assert len({int(time) for time in times}) == len(times)
    assert [run["phase"] for run in runs(served, "slow")[:3]] == ["begins", "ends", "begins"]
    assert len(runs(served, "at_start")) == 1
    assert not any(run["past_due"] for run in runs(served, "every_second"))


@pytest.mark.parametrize("name", ["by_hand", "switched_off"])
async def test_a_timer_that_is_not_due_or_is_disabled_runs_only_when_a_request_starts_it(served: ServedApp, name: str):
    await eventually(lambda: len(runs(served, "every_second")) >= 2)
    assert runs(served, name) == []
    answer = await served.http.post(f"/admin/functions/{name}", json={"input": ""})
    assert (answer.status_code, answer.content) == (202, b"")
    await eventually(lambda: len(runs(served, name)) == 1)


async def test_a_failed_timer_is_logged_and_the_host_continues(served: ServedApp):
    await served.http.post("/admin/functions/fails", json={})
    await eventually(lambda: "ValueError: no luck" in served.log)
    assert (await served.http.get("/admin/host/ping")).status_code == 200


async def test_a_missed_run_is_made_up_once_and_is_marked_as_past_due(serve: Serve):
    longer_ago = datetime.now(UTC) - timedelta(days=3 * 366)
    record = {"Last": longer_ago.isoformat(), "Next": "", "LastUpdated": longer_ago.isoformat()}
    served = await serve(APP, env={"RARELY": NEVER}, timers={"by_hand": record})
    status = served.state / "timers" / "by_hand.json"
    [late] = await eventually(lambda: runs(served, "by_hand"))
    assert late["past_due"]
    assert late["status"]["Last"] == longer_ago.isoformat()
    # The host records a run after its end, which is later than the function's line in the log.
    await eventually(lambda: datetime.fromisoformat(json.loads(status.read_text())["Last"]) > longer_ago)
    await eventually(lambda: len(runs(served, "at_start")) == 1)
    await served.restart()
    await eventually(lambda: len(runs(served, "at_start")) == 2)
    assert len(runs(served, "by_hand")) == 1


async def test_an_interrupted_run_counts_as_missed(serve: Serve):
    before = (datetime.now(UTC) - timedelta(minutes=2)).isoformat()
    served = await serve(
        """
        @app.timer_trigger(arg_name="timer", schedule="0 * * * * *")
        async def long(timer: func.TimerRequest):
            logging.info("begins, late: %s", timer.past_due)
            await asyncio.sleep(60)
        """,
        timers={"long": {"Last": before, "Next": before, "LastUpdated": before}},
    )
    await eventually(lambda: served.log.count("begins, late: True") == 1)
    await served.restart()
    await eventually(lambda: served.log.count("begins, late: True") == 2)
    served.kill()


async def test_a_timer_without_a_monitor_does_not_make_up_missed_runs(serve: Serve):
    served = await serve(
        """
        @app.timer_trigger(arg_name="timer", schedule="0 0 * * * *", use_monitor=False)
        async def hourly(timer: func.TimerRequest):
            logging.info("ran")
        """
    )
    await served.http.post("/admin/functions/hourly", json={})
    await eventually(lambda: "ran" in served.log)
    assert not (served.state / "timers").exists()


async def test_a_stopping_host_lets_a_timer_finish(serve: Serve):
    served = await serve(
        f"""
        @app.timer_trigger(arg_name="timer", schedule="{NEVER}", run_on_startup=True)
        async def long(timer: func.TimerRequest):
            logging.info("begins")
            await asyncio.sleep(1)
            logging.info("finished")
        """
    )
    await eventually(lambda: "begins" in served.log)
    assert served.child and served.child.process
    served.child.process.terminate()
    assert await asyncio.wait_for(served.child.process.wait(), 60) == 0
    assert "finished" in served.log


@pytest.mark.parametrize("schedule", ["0 0 0 31 2 *", "hourly", "%NOT_SET%"])
def test_an_invalid_schedule_is_refused_with_the_name_of_its_function(tmp_path: Path, schedule: str):
    trigger = {"type": "timerTrigger", "name": "timer", "schedule": schedule}
    keeper = Function(name="keeper", trigger=trigger, call=print, clients=(), wants_context=False)
    with pytest.raises(InvalidApp, match=r"^keeper: "):
        Timers([keeper], Invoker(tmp_path, timeout=None, threads=1), tmp_path)
