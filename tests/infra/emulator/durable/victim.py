"""A process that runs one orchestration with every feature, and is killed before a given database statement.

`python -m tests.infra.emulator.durable.victim FOLDER FIRST STEP`: for every STEPth statement from FIRST on: run
until just before that statement, end by SIGKILL, run again to the end, and print a JSON line with the outcome. It ends
when the orchestration completes before the statement is reached.
"""

import asyncio
import contextlib
import json
import os
import signal
import sqlite3
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Generator
from datetime import timedelta
from pathlib import Path
from typing import Any

import azure.durable_functions as df
import httpx

from infra.emulator.durable import Engine
from tests.infra.emulator.durable.harness import FINISHED, Functions, eventually

SOON = timedelta(milliseconds=5)
app = df.DFApp()
folder = Path()


def effect(what: str) -> None:
    with (folder / "effects").open("a") as file:
        file.write(what + "\n")


@app.activity_trigger(input_name="what")
def note(what: str) -> str:
    effect(what)
    return what


@app.activity_trigger(input_name="what")
def second_time(what: str) -> str:
    """Fails unless an attempt has failed before."""
    failed = folder / "failed-once"
    if not failed.exists():
        failed.touch()
        raise ValueError("the first time")
    effect(what)
    return what


@app.orchestration_trigger(context_name="ctx")
def child(ctx: Any) -> Generator[Any, Any, Any]:
    return (yield ctx.call_activity("note", "child"))


@app.entity_trigger(context_name="ctx")
def counter(ctx: Any) -> None:
    value = ctx.get_state(lambda: 0) + 1
    ctx.set_state(value)
    ctx.set_result(value)


@app.orchestration_trigger(context_name="ctx")
def story(ctx: Any) -> Generator[Any, Any, Any]:
    told = ctx.get_input()
    told.append((yield ctx.call_activity("note", f"first {len(told)}")))
    if len(told) == 1:
        ctx.continue_as_new(told)
        return None
    late = ctx.create_timer(ctx.current_utc_datetime + timedelta(hours=1))
    go = ctx.wait_for_external_event("go")
    yield ctx.task_any([go, late])
    late.cancel()
    told.append(go.result)
    yield ctx.create_timer(ctx.current_utc_datetime + SOON)
    told += yield ctx.task_all([ctx.call_activity("note", name) for name in ("left", "right")])
    told.append((yield ctx.call_activity_with_retry("second_time", df.RetryOptions(5, 3), "retried")))
    told.append((yield ctx.call_sub_orchestrator("child", None, "the-child")))
    told.append((yield ctx.call_entity(df.EntityId("counter", "one"), "add", 1)))
    return told


functions = Functions(app)


async def live(database: Path) -> dict[str, Any]:
    """Start or continue the orchestration and wait for its end; returns its final status."""
    engine = Engine(database, functions)
    await engine.start()
    base = "http://engine/runtime/webhooks/durabletask"
    accepted = folder / "accepted"
    async with httpx.AsyncClient(transport=httpx.ASGITransport(engine)) as http:
        if (await http.get(f"{base}/instances/one")).status_code == 404:
            await http.post(f"{base}/orchestrators/story/one", json="[]")
        if not accepted.exists():
            assert (await http.post(f"{base}/instances/one/raiseEvent/go", json='"go"')).status_code == 202
            accepted.touch()

        async def ended() -> Any:
            status = (await http.get(f"{base}/instances/one")).json()
            return status["runtimeStatus"] in FINISHED and status

        status = await eventually(ended)
    await engine.stop()
    return status


def die_before(statement: int) -> Callable[[str], None]:
    """A trace callback that kills this process before the nth statement that changes the database."""
    seen = 0

    def trace(sql: str) -> None:
        nonlocal seen
        seen += not sql.startswith(("SELECT", "PRAGMA"))
        if seen == statement:
            os.kill(os.getpid(), signal.SIGKILL)

    return trace


def in_child(work: Callable[[], None]) -> bool:
    """Run `work` in a fork of this process; returns whether the fork was killed."""
    pid = os.fork()
    if not pid:
        try:
            work()
            os._exit(0)
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        return True
    assert status == 0, f"exit {os.waitstatus_to_exitcode(status)}"
    return False


def first_life(statement: int) -> None:
    connect = sqlite3.connect

    def traced(*arguments: Any, **options: Any) -> sqlite3.Connection:
        connection = connect(*arguments, **options)
        connection.set_trace_callback(die_before(statement))
        return connection

    sqlite3.connect = traced
    asyncio.run(live(folder / "durable.db"))


def second_life() -> None:
    status = asyncio.run(live(folder / "durable.db"))
    (folder / "status").write_text(json.dumps(status))


def rows(sql: str) -> list[tuple[Any, ...]]:
    with contextlib.closing(sqlite3.connect(folder / "durable.db")) as database:
        try:
            return database.execute(sql).fetchall()
        except sqlite3.OperationalError:  # it was killed before the tables were created
            return []


def main() -> None:
    global folder
    warnings.simplefilter("ignore")
    root, statement, step = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    while True:
        folder = root / str(statement)
        folder.mkdir()
        at = statement
        if not in_child(lambda at=at: first_life(at)):
            return
        unfinished = [json.loads(data) for (data,) in rows("SELECT input FROM activity")]
        in_child(second_life)
        effects = Counter((folder / "effects").read_text().split("\n")[:-1])
        events = [json.loads(text) for (text,) in rows("SELECT event FROM history WHERE instance = 'one'")]
        report = {
            "killed_before": statement,
            "output": json.loads((folder / "status").read_text())["output"],
            "effects": effects,
            "unfinished_when_killed": unfinished,
            "answers_per_task": Counter(e["TaskScheduledId"] for e in events if "TaskScheduledId" in e),
            "left_over": [rows(f"SELECT * FROM {table}") for table in ("activity", "timer", "operation", "message")],
        }
        print(json.dumps(report), flush=True)
        statement += step


if __name__ == "__main__":
    main()
