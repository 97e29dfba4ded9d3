"""The entry point of a job's container: downloads inputs, runs the command, pushes its output, files and exit.

Standard library only. The job comes as an `Order` (shared/order.py) in the environment variable `RUNYARD_JOB`, or, with
the argument `--wait`, as a line of standard input: then the program is started ahead of the job (worker.py).

It calls the app at the order's `url`: `POST /events?offset=N` takes output, whose byte offset is its sequence number,
so that a batch that arrives twice changes nothing, and may answer `stop` to end the command; `POST /inputs` answers
where to download files of a tree (tree.py), `POST /files` where to upload a file; `POST /captures` reports a file that
a line of output names, before that line is pushed; `POST /exit` brings the last output and ends the job; it is the only
push of a short one.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from base64 import b64encode
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capture import Capture
from files import MAX_TEXT, Kept, keep, read_report, readable
from inputs import fetch
from order import TREE_LIST, VARIABLE, MalformedOrder, Order  # pyright: ignore[reportMissingImports] - see redaction
from processes import Spoiled, adopt_orphans, kill_all
from push import PATIENCE, QUIET, TOGETHER, JobApi, Over, Pusher
from redaction import Redactor  # pyright: ignore[reportMissingImports] - the image holds it beside this file

if TYPE_CHECKING:
    from tree import Tree

WAIT = "--wait"  # the argument with which the program waits for its order
HOME = "RUNYARD_RUNNER"  # the variable that tells a command where this program is
STEP = 0.05  # seconds between two checks of a reader, and of a command
OVER = 75  # exit code when the app accepts no more from this job
UNUSABLE = 1  # exit code of a runner started ahead that has failed, or could not prepare its job
MALFORMED = 78  # exit code for an order that cannot be read
LINE = 500  # characters of a line about a file that was not kept
GRACE = 2.0  # seconds from SIGTERM to SIGKILL, and for the output of processes that outlive the command


def main() -> int:
    """Run the job and return the exit code of the container; to the program that has started this one ahead, 0.

    `UNUSABLE` when the command was not started.
    """
    hide()
    ahead = sys.argv[1:] == [WAIT]
    try:
        order = Order.from_json(awaited() if ahead else os.environ.pop(VARIABLE, ""))
    except MalformedOrder as error:
        print(f"runner: {VARIABLE} holds no order that this runner understands: {error}", file=sys.stderr)
        return MALFORMED
    try:
        code = work(order)
    except Over as error:
        print(f"runner: {error}", file=sys.stderr)
        return OVER
    return UNUSABLE if code is None else 0 if ahead else code


def awaited() -> str:
    """Say with a byte that the program is ready, and return the order that comes then."""
    os.write(1, b"\n")
    os.dup2(2, 1)
    return sys.stdin.buffer.readline().decode()


def hide() -> None:
    """Keep the order from the command, which runs as the same user: it cannot read this process in `/proc`."""
    with contextlib.suppress(ImportError, OSError, AttributeError):  # not on Linux
        import ctypes

        ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)  # PR_SET_DUMPABLE


def work(order: Order) -> int | None:
    """Carry out the order and report the exit; return the command's exit code, None when it was not started."""
    root, directory = Path.cwd(), Path(order.directory).resolve()
    api = JobApi(order.url, order.token)
    values = [os.environ.get(name, "").encode() for name in order.secrets]
    redactor = Redactor([line for value in values for line in value.splitlines()], words=order.mask_words)
    end: dict[str, Any] = {"exit_code": None, "reason": "unstartable", "message": ""}
    tree: Tree | None = None
    try:
        directory.mkdir(parents=True, exist_ok=True)
        fetch(order.inputs, directory)
        tree = prepared_tree(order, root, directory, api)
    except (OSError, Spoiled) as error:
        end["message"] = f"The command's input files could not be written: {error}"
        pusher = Pusher(JobApi(order.url, order.token))
    else:
        # Of a command that reports a result, people wait for that and not for its first output.
        pusher = Pusher(JobApi(order.url, order.token), QUIET if order.report else TOGETHER)
        sink: Pusher | Capture = pusher
        if order.capture:
            sink = Capture(order.capture, directory, root, JobApi(order.url, order.token), pusher)
        defaults = {HOME: str(Path(__file__).parent), "PYTHONUNBUFFERED": "1"}
        variables = {**os.environ, **defaults, **order.environment}
        killed = kills_for_memory()
        end |= run(order.command, directory, variables, order.timeout, redactor, pusher, sink, order.log_limit)
        if end["exit_code"] == 137 and kills_for_memory() > killed:
            end["message"] = "Ran out of memory"
    kept = keep(directory / order.keep, api) if order.keep else Kept()
    if tree is not None:
        kill_all()  # else a process that the command has left could change files while they are read
        end["removed"] = tree.keep(kept, api)
    if order.report and (report := read_report(directory / order.report, order.report, kept)) is not None:
        end["report"] = b64encode(report).decode()
    end |= kept.members
    for file in end["skipped"]:
        line = f"{file['name']} was not kept: {file['reason']}"[:LINE]
        pusher.write(b"\n" * pusher.in_line + redactor.feed(f"[{line}]\n".encode()))
    end["message"] = readable(end["message"])[:MAX_TEXT]
    end["size"], rest, end["ages"] = pusher.close()
    end["output"] = b64encode(rest).decode()
    report_exit(end, api)
    return end["exit_code"]


def prepared_tree(order: Order, root: Path, directory: Path, api: JobApi) -> "Tree | None":
    """Return the tree of the order with the files that it lists, None for an order without one.

    `OSError`; `Spoiled`.
    """
    if order.tree is None:
        return None
    from tree import Tree  # most jobs have none

    adopt_orphans()
    tree = Tree(root / order.tree, (directory / TREE_LIST).read_bytes())
    tree.prepare(api)
    return tree


def report_exit(end: dict[str, Any], api: JobApi) -> None:
    """Report how the job ended; without its files when the app refuses the report with them."""
    status, answer = api.post("/exit", json.dumps(end).encode(), "application/json")
    if status >= 400:
        print(f"runner: the exit was refused: {status} {answer}", file=sys.stderr)
        bare = {name: end[name] for name in ("exit_code", "reason", "size", "output", "report") if name in end}
        api.post("/exit", json.dumps(bare).encode(), "application/json")


def kills_for_memory() -> int:
    """Return how often the system has killed a process of this container for its memory; 0 where it does not say."""
    try:
        events = Path("/sys/fs/cgroup/memory.events").read_text().split()
    except OSError:
        return 0
    return int(events[events.index("oom_kill") + 1]) if "oom_kill" in events else 0


def run(
    command: list[str],
    directory: Path,
    environment: dict[str, str],
    timeout: float,
    redactor: Redactor,
    pusher: Pusher,
    sink: "Pusher | Capture",
    log_limit: int | None = None,
) -> dict[str, Any]:
    """Run the command in its own process group, its output going through `sink` to `pusher`; return how it ended.

    Output over `log_limit` bytes is read and dropped, so that the command goes on.
    """
    try:
        process = subprocess.Popen(
            command, cwd=directory, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    except (OSError, ValueError) as error:
        return {"exit_code": 127, "reason": "unstartable", "message": f"The command could not be started: {error}"}

    def stop(*_: object) -> None:
        end_group(process)
        sys.exit(143)

    started = time.monotonic()
    signal.signal(signal.SIGTERM, stop)
    reader = OutputReader(process, redactor, sink, log_limit)
    reader.start()
    reason, deadline = "exited", started + timeout
    while process.poll() is None:
        if reader.is_alive():  # at the end of the output, the end of the command is near
            reader.join(STEP)
        else:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STEP)
        if process.returncode is None and (pusher.over or pusher.stop or time.monotonic() >= deadline):
            reason = "exited" if pusher.stop else "timeout"
            end_group(process)
    reader.join(GRACE)  # a background process may keep the output open
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    reader.finish()
    code = process.wait()
    ran = round(time.monotonic() - started, 6)
    return {"exit_code": 128 - code if code < 0 else code, "reason": reason, "ran": ran}


class OutputReader(threading.Thread):
    """Reads a command's output to its end, masks secrets in it and writes it to a sink."""

    def __init__(
        self, process: "subprocess.Popen[bytes]", redactor: Redactor, sink: "Pusher | Capture", limit: int | None
    ):
        super().__init__(daemon=True)
        assert process.stdout
        self._output, self._redactor, self._sink = process.stdout.fileno(), redactor, sink
        self._limit, self._room = limit, limit
        self._reading = False

    def run(self) -> None:
        """Read and write; while the sink is full, the command waits."""
        while True:
            self._reading = True
            data = os.read(self._output, 1 << 16)
            self._reading = False
            if not data:
                break
            self._write(self._redactor.feed(data))
        self._write(self._redactor.finish())

    def _write(self, data: bytes) -> None:
        """Write output up to the limit; what is over is dropped, and one line says so."""
        if self._room is None or len(data) <= self._room:
            self._room = self._room and self._room - len(data)
            self._sink.write(data)
        elif self._limit is not None:
            self._sink.write(data[: self._room] + f"\n[output over {self._limit} bytes was dropped]\n".encode())
            self._room, self._limit = 0, None

    def finish(self) -> None:
        """Wait until all that was read is written, and at most `GRACE` seconds in total for more to read."""
        waited, since = 0.0, time.monotonic()
        while self.is_alive() and waited < GRACE and time.monotonic() - since < PATIENCE:
            waited += STEP if self._reading else 0.0
            self.join(STEP)
        if isinstance(self._sink, Capture):
            self._sink.finish()


def end_group(process: "subprocess.Popen[bytes]") -> None:
    """SIGTERM to the command's process group, SIGKILL after `GRACE` seconds."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


if __name__ == "__main__":
    sys.exit(main())
