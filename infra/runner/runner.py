"""The entry point of a job's container: fetches the inputs, runs the command, pushes output, files and the exit.

Standard library only. The job comes as JSON in the variable `RUNYARD_JOB`, a secure value of the container group:

    url        where to push, `https://app/jobs/<id>`       token      this job's own bearer token
    command    list of arguments                            directory  where it runs; made if absent
    timeout    seconds, from the command's start            keep       folder whose files are kept, or null
    inputs     [{path, url}], written below `directory`     secrets    names of variables whose values are masked
    capture    regular expression on lines of output whose group `path` names a file to keep at once, or null
    environment  variables of the command, beside the container's own
    mask_words   whether values after words such as `key=` are masked too

Output is pushed as it is to `POST {url}/events?offset=N`; the offset is its sequence number, so a batch that arrives
twice changes nothing; when the answer has `stop`, the command is ended. `POST {url}/files` returns an upload address
for a file; `POST {url}/captures` reports a file that a line names, before that line; `POST {url}/exit` ends the job.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

from capture import Capture
from files import keep
from push import PATIENCE, JobApi, Over, Pusher
from redaction import Redactor  # pyright: ignore[reportMissingImports] - the image holds it beside this file

STEP = 0.05  # seconds between two checks of the reader
GRACE = 2.0  # seconds from SIGTERM to SIGKILL, and for output of processes that the command left running


def main() -> int:
    """Run the job; returns the exit code of the container."""
    job = json.loads(os.environ.pop("RUNYARD_JOB"))
    root, directory = Path.cwd(), Path(job["directory"]).resolve()
    api = JobApi(job["url"], job["token"])
    values = [os.environ.get(name, "").encode() for name in job["secrets"]]
    redactor = Redactor([line for value in values for line in value.splitlines()], words=job.get("mask_words", True))
    try:
        end: dict[str, Any] = {"exit_code": None, "reason": "unstartable", "message": "", "files": [], "skipped": []}
        try:
            directory.mkdir(parents=True, exist_ok=True)
            fetch(job["inputs"], directory)
        except OSError as error:
            end["message"] = f"The input files cannot be written: {error}"
            pusher = Pusher(api)
        else:
            pusher = Pusher(api)
            sink: Pusher | Capture = pusher
            if job.get("capture"):
                sink = Capture(job["capture"], directory, root, JobApi(job["url"], job["token"]), pusher)
            variables = {**os.environ, **job.get("environment", {}), "PYTHONUNBUFFERED": "1"}
            end |= run(job["command"], directory, variables, job["timeout"], redactor, pusher, sink)
        end["size"] = pusher.close()
        if job["keep"]:
            end["files"], end["skipped"] = keep(directory / job["keep"], api)
        api.post("/exit", json.dumps(end).encode(), "application/json")
    except Over as error:
        print(f"runner: {error}", file=sys.stderr)
        return 75
    code = end["exit_code"]
    return 1 if code is None else code


def fetch(inputs: list[dict[str, str]], directory: Path) -> None:
    """Download the inputs, with a few retries each. Raises OSError when one fails."""
    for item in inputs:
        target = directory / item["path"]
        target.parent.mkdir(parents=True, exist_ok=True)
        for pause in (0.2, 1, 5, None):
            try:
                with urllib.request.urlopen(item["url"], timeout=60) as source, target.open("wb") as file:
                    while chunk := source.read(1 << 20):
                        file.write(chunk)
                break
            except OSError as error:
                if pause is None:
                    raise OSError(f"{item['path']}: {error}") from None  # the address is a secret
                time.sleep(pause)


def run(
    command: list[str],
    directory: Path,
    environment: dict[str, str],
    timeout: float,
    redactor: Redactor,
    pusher: Pusher,
    sink: "Pusher | Capture",
) -> dict[str, Any]:
    """Run the command in its own process group, with its output through `sink` to `pusher`; returns how it ended."""
    try:
        process = subprocess.Popen(
            command, cwd=directory, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    except (OSError, ValueError) as error:
        return {"exit_code": 127, "reason": "unstartable", "message": f"Command cannot be started: {error}"}

    def stop(*_: object) -> None:
        end_group(process)
        sys.exit(143)

    signal.signal(signal.SIGTERM, stop)
    reader = OutputReader(process, redactor, sink)
    reader.start()
    reason, deadline = "exited", time.monotonic() + timeout
    while process.poll() is None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(max(0.0, min(0.5, deadline - time.monotonic())))
        if process.returncode is None and (pusher.over or pusher.stop or time.monotonic() >= deadline):
            reason = "exited" if pusher.stop else "timeout"
            end_group(process)
    reader.join(GRACE)  # a background process may keep the output open
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    reader.finish()
    code = process.wait()
    return {"exit_code": 128 - code if code < 0 else code, "reason": reason}


class OutputReader(threading.Thread):
    """Reads a command's output until its end and writes it to the sink."""

    def __init__(self, process: "subprocess.Popen[bytes]", redactor: Redactor, sink: "Pusher | Capture"):
        super().__init__(daemon=True)
        assert process.stdout
        self._output, self._redactor, self._sink = process.stdout.fileno(), redactor, sink
        self._reading = False

    def run(self) -> None:
        """Read and write; while the sink is full or uploads a file, the command has to wait."""
        while True:
            self._reading = True
            data = os.read(self._output, 1 << 16)
            self._reading = False
            if not data:
                break
            self._sink.write(self._redactor.feed(data))
        self._sink.write(self._redactor.finish())
        if isinstance(self._sink, Capture):
            self._sink.finish()

    def finish(self) -> None:
        """Wait until the output that was read is written, and at most `GRACE` seconds for further output."""
        waited, since = 0.0, time.monotonic()
        while self.is_alive() and waited < GRACE and time.monotonic() - since < PATIENCE:
            waited += STEP if self._reading else 0.0
            self.join(STEP)


def end_group(process: "subprocess.Popen[bytes]") -> None:
    """Send SIGTERM to the command's process group, and SIGKILL after `GRACE` seconds."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


if __name__ == "__main__":
    sys.exit(main())
