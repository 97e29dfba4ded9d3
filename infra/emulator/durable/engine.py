"""Dispatch: takes ready steps, activities, entity batches and timers from the store, runs them, stores the outcome."""

import asyncio
import contextlib
import json
import logging
import sqlite3
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeVar

from infra.emulator.durable import entities
from infra.emulator.durable.callhttp import HttpFailed, Later, call_http
from infra.emulator.durable.lanes import PAUSE, Lane
from infra.emulator.durable.operations import ManagementStore
from infra.emulator.durable.protocol import HTTP_ACTIVITY, TIME
from infra.emulator.durable.rows import Woken
from infra.emulator.durable.turn import Turn

T = TypeVar("T")
Trigger = Literal["orchestrationTrigger", "activityTrigger", "entityTrigger"]
Invoke = Callable[[Trigger, str, str], Awaitable[str | None]]
LONGEST_SLEEP = 30.0  # seconds; bounded because the machine's clock may be changed during a wait
log = logging.getLogger(__name__)


class FunctionFailed(Exception):
    """A function raised; the message is the error text that the worker would report."""


class NotRunning(RuntimeError):
    """The engine has not been started, or has been stopped."""


class Dispatcher:
    """Runs all ready work until it is stopped."""

    def __init__(
        self,
        database: Path,
        invoke: Invoke,
        *,
        max_activities: int,
        max_orchestrators: int,
        max_entities: int,
        turn_seconds: float,
        schema: int,
        known: Callable[[str], bool],
    ):
        self.known = known
        self._database, self._invoke, self._turn_seconds, self._schema = database, invoke, turn_seconds, schema
        self._widths = (max_orchestrators, max_activities, max_entities)
        self._store: ManagementStore | None = None

    @property
    def store(self) -> ManagementStore:
        """The store, whose methods are run with `call`. Raises NotRunning."""
        if self._store is None:
            raise NotRunning
        return self._store

    async def start(self) -> None:
        """Open or create the database and continue all unfinished work. Raises DatabaseUnusable."""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="durable-store")
        self._loop = asyncio.get_running_loop()
        try:
            self._store = await self._loop.run_in_executor(self._thread, ManagementStore, self._database)
        except BaseException:
            self._thread.shutdown()
            raise
        orchestrators, activities, entity_batches = self._widths
        self._orchestrators: Lane[str] = Lane(orchestrators, self._turn)
        self._activities: Lane[int] = Lane(activities, self._activity)
        self._entities: Lane[str] = Lane(entity_batches, self._batch)
        self._timers_changed = asyncio.Event()
        self._calls: set[asyncio.Task[Any]] = set()
        self._clock = asyncio.create_task(self._fire_timers())
        await self.call(self.store.unfinished)

    async def stop(self) -> None:
        """Finish the transactions in progress and cancel all other work, which the next start repeats."""
        if self._store is None:
            return
        self._clock.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._clock
        for lane in (self._orchestrators, self._activities, self._entities):
            await lane.stop()
        store, self._store = self._store, None
        await asyncio.gather(*self._calls, return_exceptions=True)
        await self._loop.run_in_executor(self._thread, store.close)
        self._thread.shutdown()

    async def call(self, work: Callable[..., T], *arguments: Any) -> T:
        """Run one method of the store; it is completed even when the caller is cancelled."""
        task = asyncio.create_task(self._call(work, *arguments))
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)
        return await asyncio.shield(task)

    async def _call(self, work: Callable[..., T], *arguments: Any) -> T:
        result, woken = await self._loop.run_in_executor(self._thread, self.store.run, work, *arguments)
        self._wake(woken)
        return result

    def _wake(self, woken: Woken) -> None:
        for instance in woken.instances:
            self._orchestrators.ready(instance)
        for activity in woken.activities:
            self._activities.ready(activity)
        for entity in woken.entities:
            self._entities.ready(entity)
        if woken.timers:
            self._timers_changed.set()

    async def _turn(self, id: str) -> None:
        turn = await self.call(self.store.load, id)
        if turn is None or not (turn.consumed or turn.needs_function):
            return
        if turn.needs_function:
            await self._run_function(turn)
        if not await self.call(self.store.commit, turn):
            log.info("a step of orchestration %s was discarded: the instance was ended or restarted meanwhile", id)

    async def _run_function(self, turn: Turn) -> None:
        instance = turn.instance
        try:
            async with asyncio.timeout(self._turn_seconds):
                text = await self._invoke("orchestrationTrigger", instance.name, turn.payload(self._schema))
        except KeyError:
            turn.fail(
                f"the function '{instance.name}' does not exist, is disabled, or is not an orchestrator function."
            )
        except FunctionFailed as failure:
            turn.failed(str(failure))
        except TimeoutError:
            turn.fail(f"it did not yield within {self._turn_seconds:g} seconds.")
            log.error("orchestrator function %s exceeded its time limit and keeps its thread", instance.name)
        else:
            turn.answer(text or "null")
        if turn.status == "Failed":
            log.error("orchestration %s failed: %s", instance.id, json.loads(turn.output or "null"))

    async def _activity(self, number: int) -> None:
        call = await self.call(self.store.activity, number)
        if call is None:
            return
        result = error = None
        try:
            if call.name == HTTP_ACTIVITY:
                result = await call_http(call.input)
            else:
                result = await self._invoke("activityTrigger", call.name, call.input)
        except KeyError:
            error = f"The activity function '{call.name}' does not exist, is disabled, or is not an activity function."
        except FunctionFailed as failure:
            error = f"Activity function '{call.name}' failed: {failure}"
        except HttpFailed as failure:
            error = str(failure)
        if isinstance(result, Later):  # other activities may run until the next poll
            await self.call(self.store.activity_goes_on, number, result.request)
            self._loop.call_later(result.seconds, self._activities.ready, number)
        else:
            await self.call(self.store.activity_done, number, result, error)

    async def _batch(self, id: str) -> None:
        state, operations = await self.call(self.store.entity_batch, id)
        if not operations:
            return
        name, request = entities.batch(id, state, operations)
        try:
            state, replies = entities.results(await self._invoke("entityTrigger", name, request), operations)
        except (KeyError, ValueError, FunctionFailed) as failure:
            # The function failed as a whole: the state is unchanged, and running it again would fail again.
            log.error("entity function %s failed: %s", name, failure)
            replies = entities.failures(f"Entity function '{name}' failed: {failure}", operations)
        await self.call(self.store.entity_done, id, state, replies)

    async def _fire_timers(self) -> None:
        while True:
            self._timers_changed.clear()
            wait = LONGEST_SLEEP
            try:
                due = await self.call(self.store.fire_timers)
            except sqlite3.Error:
                log.exception("durable timers could not be read; the next try is in %s s", PAUSE)
                due, wait = None, PAUSE
            if due:
                until = datetime.strptime(due, TIME).replace(tzinfo=UTC) - datetime.now(UTC)
                wait = min(wait, max(0.0, until.total_seconds()))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):  # wait_for loses a cancellation that comes with the event
                    await self._timers_changed.wait()
