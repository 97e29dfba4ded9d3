"""The entry point of a job's container: fetches the inputs, runs the command, pushes output, files and the exit.

Standard library only. The job comes as JSON in the variable `RUNYARD_JOB`, a secure value of the container group:

    url        where to push, `https://app/jobs/<id>`       token      this job's own bearer token
    command    list of arguments                            directory  where it runs; made if absent
    timeout    seconds, from the command's start            keep       folder whose files are kept, or null
    inputs     [{path, url}], written below `directory`     secrets    names of variables whose values are masked

Output is pushed as it is to `POST {url}/events?offset=N`; the offset is its sequence number, so a batch that arrives
twice changes nothing. `POST {url}/files` answers where a file may be put; `POST {url}/exit` ends the job.
"""

import contextlib
import hashlib
import json
import mimetypes
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from push import Api, Over, Pusher, connect
from redact import Redactor

GRACE = 2.0  # seconds from the signal to the kill, and for output of what the command left behind
MAX_FILES = 1000


def main() -> int:
    """Run the job; answers the exit code of the container."""
    job = json.loads(os.environ.pop("RUNYARD_JOB"))
    directory = Path(job["directory"]).resolve()
    directory.mkdir(parents=True, exist_ok=True)
    api = Api(job["url"], job["token"])
    values = [os.environ.get(name, "").encode() for name in job["secrets"]]
    redactor = Redactor([line for value in values for line in value.splitlines()])
    try:
        end: dict[str, Any] = {"exit_code": None, "reason": "unstartable", "message": "", "files": [], "skipped": []}
        try:
            fetch(job["inputs"], directory)
        except OSError as error:
            end["message"] = f"Inputs could not be fetched: {error}"
            pusher = Pusher(api)
        else:
            pusher = Pusher(api)
            end |= run(job["command"], directory, job["timeout"], redactor, pusher)
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
    """Download the inputs; each is tried a few times. `OSError` when one cannot be had."""
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


def run(command: list[str], directory: Path, timeout: float, redactor: Redactor, pusher: Pusher) -> dict[str, Any]:
    """Run the command in a process group of its own, its output to `pusher`; answers how it ended."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
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
    reader = threading.Thread(target=pump, args=(process, redactor, pusher), daemon=True)
    reader.start()
    reason, deadline = "exited", time.monotonic() + timeout
    while process.poll() is None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(max(0.0, min(0.5, deadline - time.monotonic())))
        if process.returncode is None and (pusher.over or time.monotonic() >= deadline):
            reason = "timeout"
            end_group(process)
    reader.join(GRACE)  # something in the background may hold the output open
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    reader.join(GRACE)
    code = process.wait()
    return {"exit_code": 128 - code if code < 0 else code, "reason": reason}


def pump(process: "subprocess.Popen[bytes]", redactor: Redactor, pusher: Pusher) -> None:
    """Pass the output on until its end."""
    assert process.stdout
    while data := os.read(process.stdout.fileno(), 1 << 16):
        pusher.write(redactor.feed(data))
    pusher.write(redactor.finish())


def end_group(process: "subprocess.Popen[bytes]") -> None:
    """SIGTERM to the command's process group, SIGKILL after `GRACE` seconds."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def keep(folder: Path, api: Api) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """Put the regular files below `folder` where the app says; answers (kept, skipped with the reason)."""
    kept: list[dict[str, Any]] = []
    skipped: list[dict[str, str]] = []
    for number, path in enumerate(regular_files(folder)):
        name = path.relative_to(folder).as_posix()
        try:
            if number >= MAX_FILES:
                raise ValueError(f"more than {MAX_FILES} files")
            kept.append(put(path, name, api))
        except (OSError, ValueError) as error:
            skipped.append({"name": name, "reason": str(error)})
    return kept, skipped


def regular_files(folder: Path) -> Iterator[Path]:
    """Files below a folder in the order of their names; links are neither followed nor kept."""
    for root, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files):
            path = Path(root, name)
            if path.is_file() and not path.is_symlink():
                yield path


def put(path: Path, name: str, api: Api) -> dict[str, Any]:
    """Upload one file as it is now; answers its record. `ValueError` when the app refuses it, `OSError` otherwise."""
    size = path.stat().st_size
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    status, place = api.post("/files", json.dumps({"name": name, "size": size}).encode(), "application/json")
    if status != 201:
        raise ValueError(place.get("error", f"refused with {status}"))
    target = urlsplit(place["url"])
    for pause in (0.2, 1, None):
        digest = hashlib.sha256()
        connection = connect(target.scheme, target.netloc)
        try:
            with path.open("rb") as file:
                connection.request(
                    "PUT", f"{target.path}?{target.query}", body(file, size, digest),
                    {"Content-Length": str(size), "Content-Type": kind, "x-ms-blob-type": "BlockBlob",
                     "x-ms-version": "2024-11-04"},
                )  # fmt: skip
                response = connection.getresponse()
                response.read()
            if response.status == 201:
                break
            if pause is None:
                raise OSError(f"storage answered {response.status}")
        except OSError:
            if pause is None:
                raise
        finally:
            connection.close()
        time.sleep(pause or 0)
    return {"name": name, "size": size, "sha256": digest.hexdigest(), "content_type": kind, "blob": place["blob"]}


def body(file: Any, size: int, digest: Any) -> Iterator[bytes]:
    """Exactly `size` bytes of a file; one that shrank meanwhile is an error."""
    while size:
        chunk = file.read(min(1 << 20, size))
        if not chunk:
            raise OSError("file shrank while it was read")
        digest.update(chunk)
        size -= len(chunk)
        yield chunk


if __name__ == "__main__":
    sys.exit(main())
