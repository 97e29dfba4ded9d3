"""What code of custom tools cannot do: each limit, with code that breaks it."""

import asyncio
import os
import signal
from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from functions.ownpilot.core.tool_context import ToolResult
from functions.ownpilot.custom_tools import quickjs
from functions.ownpilot.custom_tools.quickjs import run_in_quickjs
from functions.ownpilot.custom_tools.work import ToolOutcome, Work, outcome_of_json

CPU = 0.2
TOO_LONG = f"The tool used more than {CPU} seconds of processor time"
NEVER = "The tool waits for something that never happens"
MEMORY = "out of memory"


async def nobody(name: str, arguments: str) -> ToolResult:
    return ToolResult(arguments)


def work(code: str, **args: Any) -> Work:
    return Work(code, args, {}, {}, [])


async def run(code: str, **args: Any) -> ToolOutcome:
    return await run_in_quickjs(work(code, **args), 0, nobody)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("while (true) {}", TOO_LONG),
        ("try { while (true) {} } finally { while (true) {} }", TOO_LONG),
        ("while (true) await null;", TOO_LONG),
        ("const again = () => Promise.resolve().then(again); await again();", TOO_LONG),
        ("return /(a+)+$/.test('a'.repeat(40) + 'b');", TOO_LONG),
        ("for (let i = 0; i < 999; i++) utils.callTool('x'); await new Promise(() => {});", "more than 200"),
        ("await new Promise(() => {});", NEVER),
        ("await Promise.race([]);", NEVER),
        ("let text = 'x'; while (true) text += text;", ""),
        ("return 'x'.repeat(2 ** 30).length;", ""),
        ("const all = []; while (true) all.push('x'.repeat(2e7) + all.length);", MEMORY),
        ("return new Uint8Array(2 ** 30).length;", MEMORY),
        ("const deep = () => deep() + 1; return deep();", "call stack"),
        ("let deep = []; for (let i = 0; i < 1e5; i++) deep = [deep]; return deep;", ""),
        ("return 'x'.repeat(1_000_001);", "too long: 1000001 characters"),
        ("const value = {}; value.value = value; return value;", "circular"),
        ("Object.prototype.toJSON = () => { throw new Error('caught'); }; return {};", "caught"),
        ("Array.prototype.push = () => { while (true) {} }; console.log(1);", TOO_LONG),
        ("const error = new Error(); Object.defineProperty(error, 'message', { get() { throw 1; } }); throw error;",
         "cannot be shown"),
        ("throw { toJSON() { while (true) {} } };", TOO_LONG),
        ("return import.meta;", "SyntaxError"),
    ],
)  # fmt: skip
async def test_what_is_too_much_ends_with_the_reason(code: str, reason: str, monkeypatch: pytest.MonkeyPatch):
    if reason == TOO_LONG:
        monkeypatch.setattr(quickjs, "CPU_SECONDS", CPU)
    done = await run(code)
    assert done.is_error and reason in done.text, done


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("Promise.prototype.then = null; JSON.stringify = null; JSON.parse = null; return { a: 1 };", '{"a":1}'),
        ("Promise = null; Map = null; Array = null; String = null; return 1;", "1"),
        ("Promise.reject(new Error('nobody hears of it')); return 2;", "2"),
        ("utils.hash = null; return 3;", "TypeError"),
        ("return Object.getPrototypeOf(async () => {}).constructor ?? 4;", "4"),
        ("return this === undefined ? 5 : 6;", "5"),
        ("utils.callTool('x'); return 7;", "7"),
    ],
)
async def test_changes_of_the_language_harm_nobody_else(code: str, text: str):
    assert text in (await run(code)).text


async def test_of_ten_thousand_lines_two_hundred_are_kept_and_long_ones_cut():
    done = await run("for (let i = 0; i < 10_000; i++) console.warn(i, 'x'.repeat(2000)); return 'done';")
    assert done.text == "done" and len(done.console) == 201
    assert done.console[0].startswith("warn: 0 xxx") and len(done.console[0]) == len("warn: ") + 1000
    assert done.console[-1] == "[9800 more lines]"


class TestProcess:
    @pytest.fixture
    def begun(self, monkeypatch: pytest.MonkeyPatch) -> list[asyncio.subprocess.Process]:
        """The processes that were begun."""
        found: list[asyncio.subprocess.Process] = []
        begin = asyncio.create_subprocess_exec

        async def note(*args: Any, **options: Any) -> asyncio.subprocess.Process:
            found.append(await begin(*args, **options))
            return found[-1]

        monkeypatch.setattr(quickjs.asyncio, "create_subprocess_exec", note)
        return found

    async def test_it_has_nothing_and_may_do_nothing(
        self, begun: list[asyncio.subprocess.Process], monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.delenv("LD_LIBRARY_PATH", raising=False)
        monkeypatch.setenv("A_SECRET", "of the app")
        seen: dict[str, str] = {}

        async def look(name: str, arguments: str) -> ToolResult:
            proc = Path(f"/proc/{begun[0].pid}")
            seen.update({each: (proc / each).read_text() for each in ("environ", "limits", "status")})
            seen["folder"] = str((proc / "cwd").resolve())
            return ToolResult("ok")

        assert (await run_in_quickjs(work("return utils.callTool('look');"), 0, look)).text == "ok"
        assert seen["environ"] == ""
        limits = {line[:26].strip(): line[26:].split()[:2] for line in seen["limits"].splitlines()[1:]}
        for name in ("Max file size", "Max open files", "Max processes", "Max core file size"):
            assert limits[name] == ["0", "0"], name
        assert limits["Max address space"] == [str(256 * 1024 * 1024)] * 2 and limits["Max cpu time"] == ["6", "6"]
        if os.getuid() == 0:
            assert "Uid:\t65534\t65534\t65534\t65534" in seen["status"] and "Groups:\t \n" in seen["status"]
        assert not Path(seen["folder"]).exists()

    async def test_it_ends_with_the_time_of_the_run(
        self, begun: list[asyncio.subprocess.Process], monkeypatch: pytest.MonkeyPatch
    ):
        async def never(name: str, arguments: str) -> ToolResult:
            await asyncio.Event().wait()
            raise AssertionError

        monkeypatch.setattr(quickjs, "SECONDS", 0.5)
        done = await run_in_quickjs(work("return utils.callTool('never');"), 0, never)
        assert done.is_error and "did not end within" in done.text
        assert begun[0].returncode == -signal.SIGKILL

    async def test_a_run_whose_process_is_killed_fails_alone(self, begun: list[asyncio.subprocess.Process]):
        async def kill(name: str, arguments: str) -> ToolResult:
            begun[0].kill()
            return ToolResult("ok")

        done, other = await asyncio.gather(
            run_in_quickjs(work("return utils.callTool('kill');"), 0, kill), run("return 'alive';")
        )
        assert done.is_error and "was stopped" in done.text
        assert other.text == "alive"

    async def test_a_call_that_fails_in_an_unknown_way_is_answered(self):
        async def fail(name: str, arguments: str) -> ToolResult:
            raise RuntimeError

        done = await run_in_quickjs(work("return utils.callTool('fail').catch((e) => e.message);"), 0, fail)
        assert done.text == "The tool fail could not be used" and not done.is_error

    async def test_one_person_leaves_places_for_others(self, monkeypatch: pytest.MonkeyPatch):
        reached, end = asyncio.Semaphore(0), asyncio.Event()

        async def wait(name: str, arguments: str) -> ToolResult:
            reached.release()
            await end.wait()
            return ToolResult("ok")

        def run_for(person: str, code: str) -> Coroutine[Any, Any, ToolOutcome]:
            return run_in_quickjs(replace(work(code), context={"userId": person}), 0, wait)

        tasks = [asyncio.create_task(run_for("one", "return utils.callTool('wait');")) for _ in range(3)]
        for _ in tasks:
            await reached.acquire()
        monkeypatch.setattr(quickjs, "PATIENCE", 0.1)
        assert (await run_for("one", "return 1;")).text == "Too many tools are running: try again"
        assert (await run_for("other", "return 1;")).text == "1"
        end.set()
        assert {each.text for each in await asyncio.gather(*tasks)} == {"ok"}

    async def test_a_caller_that_leaves_takes_it_along(self, begun: list[asyncio.subprocess.Process]):
        reached = asyncio.Event()

        async def never(name: str, arguments: str) -> ToolResult:
            reached.set()
            await asyncio.Event().wait()
            raise AssertionError

        task = asyncio.create_task(run_in_quickjs(work("return utils.callTool('never');"), 0, never))
        await reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert begun[0].returncode == -signal.SIGKILL

    async def test_no_more_than_eight_run_at_once_and_those_inside_need_not_wait(
        self, begun: list[asyncio.subprocess.Process]
    ):
        most = 0

        async def inner(name: str, arguments: str) -> ToolResult:
            nonlocal most
            most = max(most, sum(each.returncode is None for each in begun))
            return ToolResult((await run_in_quickjs(work("return 1;"), 1, nobody)).text)

        outer = work("return utils.callTool('inner');")
        done = await asyncio.gather(*(run_in_quickjs(outer, 0, inner) for _ in range(12)))
        assert [each.text for each in done] == ["1"] * 12
        assert most <= 2 * quickjs.AT_ONCE


@pytest.mark.parametrize("report", ["", "null", "[]", "{}", '{"text": 1}', '{"text"', "[" * 100_000, '{"console": 5}'])
def test_a_report_that_makes_no_sense_is_a_failure(report: str):
    assert outcome_of_json(report).is_error
