"""Timer functions: run on schedule, one run at a time, and once after a restart when a run was missed."""

import asyncio
import contextlib
import os
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

from azure.functions.timer import TimerRequest

from infra.emulator.host.index import Function
from infra.emulator.host.ncrontab import Schedule
from infra.emulator.host.operations import InvocationFailed, Invoker
from infra.emulator.host.settings import InvalidApp, is_disabled
from infra.emulator.host.state import TimerRecord

# A schedule with shorter intervals is not monitored, as in the service.
MONITOR_SECONDS = 60
# Seconds; after the machine was suspended, the new time is noticed within this time.
LONGEST_SLEEP = 30.0


class Timers:
    """The timer functions of an app; their last runs are recorded in `folder`.

    Raises:
        InvalidApp: a schedule is invalid.
    """

    def __init__(self, functions: list[Function], invoker: Invoker, folder: Path):
        self._invoker = invoker
        self._timers = {f.name: Timer(f, folder) for f in functions if f.kind == "timerTrigger"}
        self._runs: set[asyncio.Task[None]] = set()

    def fire(self, function: Function, *, past_due: bool = False) -> asyncio.Task[None]:
        """Run a timer function once in the background; a failure is logged."""
        task = asyncio.create_task(self._run(self._timers[function.name], past_due))
        self._runs.add(task)
        task.add_done_callback(self._runs.discard)
        return task

    @contextlib.asynccontextmanager
    async def running(self, *, drain_seconds: float) -> AsyncIterator[None]:
        """Run every timer that is not disabled on schedule; at the end, current runs have `drain_seconds` to finish."""
        kept = [timer for name, timer in self._timers.items() if not is_disabled(name)]
        loops = [asyncio.create_task(self._keep(timer)) for timer in kept]
        try:
            yield
        finally:
            for task in loops:
                task.cancel()
            await asyncio.gather(*loops, return_exceptions=True)
            if runs := set(self._runs):
                await asyncio.wait(runs, timeout=drain_seconds)
            for task in runs:
                task.cancel()
            await asyncio.gather(*runs, return_exceptions=True)

    async def _keep(self, timer: "Timer") -> None:
        past_due = timer.next_due() <= datetime.now(UTC)
        if past_due or timer.function.trigger.get("runOnStartup"):
            await asyncio.shield(self.fire(timer.function, past_due=past_due))
        while True:
            # Counted from the present, so that times that passed during a run are skipped.
            due = timer.schedule.after(datetime.now(UTC))
            await _until(due)
            await asyncio.shield(self.fire(timer.function))

    async def _run(self, timer: "Timer", past_due: bool) -> None:
        started = datetime.now(UTC)
        request = TimerRequest(past_due=past_due, schedule_status=timer.status(), schedule={"AdjustForDST": True})
        with contextlib.suppress(InvocationFailed), self._invoker.invocation(timer.function) as invocation:
            await self._invoker.run(timer.function, invocation, **{timer.function.trigger["name"]: request})
        # Recorded after the run, so that an interrupted run counts as missed.
        timer.record(started)


class Timer:
    """The schedule of one timer function, and the record of its last run.

    Raises:
        InvalidApp: the schedule is invalid.
    """

    def __init__(self, function: Function, folder: Path):
        self.function = function
        try:
            self.schedule = Schedule(resolve(function.trigger["schedule"]))
        except ValueError as error:
            raise InvalidApp(f"{function.name}: {error}") from None
        first = self.schedule.after(datetime.now(UTC))
        dense = (self.schedule.after(first) - first).total_seconds() < MONITOR_SECONDS
        self._monitored = not dense and function.trigger.get("useMonitor") is not False
        self._record = TimerRecord(folder, function.name)

    def next_due(self) -> datetime:
        """When it is due after the last recorded run; in the past when a run was missed."""
        if not self.status():
            self.record(datetime.now(UTC))
        last = self.status().get("Last")
        return self.schedule.after(datetime.fromisoformat(last) if last else datetime.now(UTC))

    def status(self) -> dict[str, str]:
        """`Last`, `Next` and `LastUpdated` as ISO times; empty for a timer that is not monitored."""
        return self._record.read() if self._monitored else {}

    def record(self, last: datetime) -> None:
        """Record that it ran at this time."""
        if self._monitored:
            self._record.write(last=last, due=self.schedule.after(datetime.now(UTC)))


async def _until(moment: datetime) -> None:
    while True:
        wait = (moment - datetime.now(UTC)).total_seconds()
        if wait <= 0:
            return
        await asyncio.sleep(min(wait, LONGEST_SLEEP))


def resolve(expression: str) -> str:
    """A binding expression with each `%NAME%` replaced by that app setting. Raises ValueError for a missing setting."""

    def setting(match: re.Match[str]) -> str:
        if match[1] not in os.environ:
            raise ValueError(f"the app setting {match[1]} is not set")
        return os.environ[match[1]]

    return re.sub("%([^%]+)%", setting, expression)
