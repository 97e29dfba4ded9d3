"""The engine for tools that ask for nothing outside: QuickJS, in a process of its own that can do nothing else."""

import asyncio
import contextlib
import json
import logging
import os
import shutil
import signal
import sys
import tempfile
from asyncio.subprocess import DEVNULL, PIPE
from dataclasses import asdict
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from functions.ownpilot.core.tool_context import ToolResult
from functions.ownpilot.custom_tools.work import (
    ENGINE,
    LATE,
    MAX_CALLS,
    MAX_DEPTH,
    SECONDS,
    ToolOutcome,
    UseOther,
    Work,
    failed,
    outcome_of,
)

log = logging.getLogger(__name__)

CPU_SECONDS = 5.0
"""Of processor time for a tool's code."""

LONGEST_LINE = 16 * 1024 * 1024
"""Bytes of what the process may say at once: a result of a million characters as JSON, and what it has logged."""

MOST_ASKED = 10 * MAX_CALLS
"""Calls of other tools, refused ones too, after which a run is ended."""

AT_ONCE = 8
"""Processes of this instance for runs of one depth, so that those inside others need not wait for them."""

AT_ONCE_OF_ONE = 3
"""Those of one person."""

PATIENCE = 30
"""Seconds for which a run waits for a place."""

_own_places = WeakValueDictionary[tuple[Any, int], asyncio.Semaphore]()
_places = [asyncio.Semaphore(AT_ONCE) for _ in range(MAX_DEPTH + 1)]


@cache
def _package() -> str:
    """Return the folder of the engine's package: the process has no path of its own to find it by."""
    found = find_spec("_quickjs")
    if found is None or not found.origin:
        raise RuntimeError("the package quickjs-ng is not installed")
    return str(Path(found.origin).parent)


def _environment() -> dict[str, str]:
    """Return what the process gets of this one's environment: where the interpreter's own libraries are, if needed."""
    return {name: value for name, value in os.environ.items() if name == "LD_LIBRARY_PATH"}


async def run_in_quickjs(work: Work, depth: int, use_other: UseOther) -> ToolOutcome:
    """Run a tool; `depth` counts the tools around it. The process never outlives this call."""
    depth = min(depth, MAX_DEPTH)
    own = _own_places.setdefault((work.context.get("userId"), depth), asyncio.Semaphore(AT_ONCE_OF_ONE))
    async with contextlib.AsyncExitStack() as places:
        try:
            async with asyncio.timeout(PATIENCE):
                for each in (own, _places[depth]):
                    await places.enter_async_context(each)
        except TimeoutError:
            return failed("Too many tools are running: try again")
        try:
            async with asyncio.timeout(SECONDS):
                return await _run(work, use_other)
        except TimeoutError:
            return failed(LATE)


async def _run(work: Work, use_other: UseOther) -> ToolOutcome:
    folder = tempfile.mkdtemp()
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-S", str(ENGINE / "child.py"), _package(), str(CPU_SECONDS), str(ENGINE),
            stdin=PIPE, stdout=PIPE, stderr=DEVNULL, env=_environment(), cwd=folder, start_new_session=True,
            limit=LONGEST_LINE,
        )  # fmt: skip
        try:
            return await _converse(process, work, use_other)
        finally:
            await _end(process)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def _end(process: asyncio.subprocess.Process) -> None:
    """End a process with its group."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


async def _converse(process: asyncio.subprocess.Process, work: Work, use_other: UseOther) -> ToolOutcome:
    """Give a process its work, and use other tools for it until it says what came of the work."""
    assert process.stdin and process.stdout
    answers: set[asyncio.Task[None]] = set()

    async def say(value: Any) -> None:
        assert process.stdin
        with contextlib.suppress(ConnectionError):  # it has ended, which its output will tell
            process.stdin.write(json.dumps(value).encode() + b"\n")
            await process.stdin.drain()

    async def answer(number: int, name: str, arguments: str) -> None:
        try:
            result = await use_other(name, arguments)
        except Exception:  # a call without an answer would keep the run waiting to its end
            log.exception("a custom tool cannot use the tool %s", name)
            result = ToolResult(f"The tool {name} could not be used", is_error=True)
        await say({"id": number, "ok": not result.is_error, "text": result.content})

    try:
        await say(asdict(work))
        while line := await process.stdout.readline():
            message = json.loads(line)
            if "outcome" in message:
                if answers:  # calls that the tool has not waited for are not left half-done
                    await asyncio.wait(answers)
                return outcome_of(message["outcome"])
            if len(answers) + len(message["calls"]) > MOST_ASKED:
                return failed(f"The tool has asked for more than {MOST_ASKED} other tools")
            for call in message["calls"]:
                answers.add(asyncio.create_task(answer(int(call["id"]), str(call["name"]), str(call["arguments"]))))
    except (ValueError, KeyError, TypeError, RecursionError):
        log.exception("the process of a custom tool said what cannot be understood")
        return failed("The tool's result cannot be read")
    finally:
        for task in answers:
            task.cancel()
    code = await process.wait()
    log.warning("the process of a custom tool ended with code %d", code)
    return failed("The tool was stopped: it used too much memory or processor time")
