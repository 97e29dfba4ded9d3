"""Runs inside a container: imports an agent in a process of its own, calls its handler, and reports how that ended.

Standard library only. `boot.py call <MB>` unpacks `ready.tar.gz` and calls the handler with the object in
`payload.json`; `boot.py check <MB>` only looks for the handler of the agent that is unpacked already. `<MB>` is the
memory of the container. The folder `agent` holds `tree` (the archive), `packages` (its dependencies) and `entry.json`.
It runs with `python3 -SEu`: so an agent sees the packages that it brings and no others, and starts sooner, and what it
prints is seen at once.

What the agent prints goes to standard output, each line as `2024-01-01T00:00:00.000000 O text`, with E in place of O
for standard error. The report is `report.json`: `error`, the reason of a failure, or `result`, the handler's result
as JSON text; null when that is in `kept/result.json` because it is long. `log` are the newest lines of the output,
absent when they are long.
"""

import builtins
import contextlib
import importlib
import json
import os
import resource
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from supervision import MAX_ERROR, MAX_RESULT, Log, Refused, supervise, whole

MAX_REPORTED = 3_900_000  # bytes of the report; a longer result is kept as a file
MAX_LOG = 32 * 1024  # bytes of the newest lines together, for which they are in the report

FOLDER, TREE, PACKAGES, ENTRY = Path("agent"), Path("agent/tree"), Path("agent/packages"), Path("agent/entry.json")
READY, PAYLOAD, REPORT, KEPT = Path("ready.tar.gz"), Path("payload.json"), Path("report.json"), Path("kept")


def main(mode: str, megabytes: int) -> None:
    """Import the agent, call its handler in the mode `call`, and write the report."""
    log = Log()
    report: dict[str, Any]
    try:
        if mode == "call":
            unpack(READY, FOLDER, members=200_000, size=2_000_000_000)
        report = outcome(supervise(lambda control: run(mode, control, megabytes), log))
    except (Refused, OSError, EOFError, ValueError, tarfile.TarError) as error:
        report = {"error": str(error)[:MAX_ERROR]}
    newest = b"".join(log.newest)
    if len(newest) <= MAX_LOG:
        report["log"] = newest.decode("utf-8", "replace")
    REPORT.write_text(json.dumps(report))


def unpack(archive: Path, folder: Path, members: int, size: int) -> None:
    """Unpack a .tar.gz of at most so many members and bytes. `Refused`, `TarError`, `OSError`, `EOFError`."""
    with tarfile.open(archive, "r:gz") as tar:
        for number, member in enumerate(tar, 1):
            size -= member.size
            if number > members:
                raise Refused(f"it has more than {members} members")
            if size < 0:
                raise Refused("it is too large when unpacked")
            if member.name.startswith("/"):
                raise Refused(f"{member.name} is an absolute name")
            tar.extract(member, folder, filter="data")  # refuses what would land outside, and devices


def run(mode: str, control: int, megabytes: int) -> NoReturn:
    """Import the agent and call its handler; write `C` before the call, then `R` and the result, or `E` and an error.

    Ends this process at once, because threads of the agent may never end.
    """
    limit = megabytes * 900_000  # the rest is for the processes that report
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    builtins.exit = builtins.quit = sys.exit  # the module `site`, which is not imported, would define them
    answer = b"R"
    try:
        handler = load(json.loads(ENTRY.read_text()))
        if mode == "call":
            payload = json.loads(PAYLOAD.read_text())
            send(control, b"C")
            answer = b"R" + encoded(handler(payload))
    except Refused as error:
        answer = failure(str(error))
    except MemoryError as error:
        print_traceback(error)
        answer = failure(f"Ran out of memory ({megabytes / 1000:g} GB)")
    except SystemExit as error:
        answer = failure(f"The agent exited with code {error.code or 0}")
    except BaseException as error:
        print_traceback(error)
        answer = failure(described(error))
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # the agent may have closed or replaced it
            stream.flush()
    send(control, answer + b"\n")
    os._exit(0)


def send(control: int, data: bytes) -> None:
    """Write all of these bytes."""
    while data:
        data = data[os.write(control, data) :]


def load(entry: dict[str, str]) -> Callable[[Any], Any]:
    """Return the handler. `Refused` when the import fails, or there is no such function."""
    root, module_name, name = TREE / entry["root"], entry["module"], entry["function"]
    sys.path[0:1] = [str(path.resolve()) for path in dict.fromkeys((root, TREE, PACKAGES))]
    sys.modules.pop("supervision", None)  # the agent may have a module of this name, or a package
    try:
        module = importlib.import_module(module_name)
    except MemoryError:
        raise
    except BaseException as error:
        print_traceback(error)
        raise Refused(f"Importing {module_name} failed: {type(error).__name__}: {described(error)}") from None
    if not hasattr(module, name):
        raise Refused(f"{module_name} has no function {name}")
    handler = getattr(module, name)
    if not callable(handler):
        raise Refused(f"{name} in {module_name} is not callable")
    return handler


def encoded(result: Any) -> bytes:
    """Return the handler's result as JSON: an object; anything else becomes its member `result`. `Refused`."""
    if hasattr(result, "__await__"):
        import asyncio

        result = asyncio.run(awaited(result))
    try:
        text = json.dumps(result if isinstance(result, dict) else {"result": result}, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise Refused(f"The result cannot be represented as JSON: {error}") from None
    if len(text) > MAX_RESULT:
        raise Refused(f"The result is larger than {MAX_RESULT} bytes")
    return text.encode()


async def awaited(result: Any) -> Any:
    """Return what an asynchronous handler returns."""
    return await result


def failure(text: str) -> bytes:
    """Return the answer that says why there is no result."""
    return b"E" + json.dumps(whole(text)[:MAX_ERROR]).encode()


def described(error: BaseException) -> str:
    """Return an error's text, or its name when it has none."""
    try:
        return str(error) or type(error).__name__
    except Exception:  # the agent's own class may fail
        return type(error).__name__


def print_traceback(error: BaseException) -> None:
    """Print where in the agent an error was raised."""
    trace = error.__traceback__
    while trace and trace.tb_frame.f_code.co_filename.startswith((__file__, importlib.__file__, "<frozen importlib")):
        trace = trace.tb_next
    with contextlib.suppress(Exception):  # the agent may have closed the stream, or have its own module `token`
        import traceback

        traceback.print_exception(type(error), error, trace)


def outcome(answer: bytes) -> dict[str, Any]:
    """Return the report for the answer of the agent's process, which the agent may have forged."""
    text = answer.removeprefix(b"C").decode("utf-8", "replace")
    kind, text = text[:1], text[1:]
    if kind == "E":
        return {"error": json.loads(text)}
    if len(json.dumps(text)) <= MAX_REPORTED:
        return {"result": text}
    KEPT.mkdir()
    (KEPT / "result.json").write_text(text)
    return {"result": None}


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
