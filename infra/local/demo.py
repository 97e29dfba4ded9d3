"""The demonstration: submit a run over HTTP, print its live events, and check its result and artifacts."""

import asyncio
import csv
import io
import struct
import time
from pathlib import Path
from typing import Any

import aiohttp

PROGRAM = Path(__file__).with_name("examples") / "letters.py"
SECONDS = 120


class DemoFailed(RuntimeError):
    """The demonstration failed; the message says why."""


async def show(url: str) -> None:
    """Submit a run to the gateway at `url` and print its events, result and artifacts. Raises DemoFailed."""
    api = f"{url}/gateway"
    async with aiohttp.ClientSession() as http:
        client = await _json(http.post(f"{api}/api/auth/login", json={"name": f"demo-{time.time_ns()}"}), 200)
        print(f"POST /gateway/api/auth/login  ->  client {client['id']}")
        headers = {"Authorization": f"Bearer {client['api_key']}"}
        async with http.ws_connect(f"{api}/ws") as socket:
            await socket.send_json({"type": "auth", "api_key": client["api_key"]})
            if (first := await socket.receive_json(timeout=SECONDS))["type"] != "auth_success":
                raise DemoFailed(f"the socket did not accept the key: {first}")
            print("WS   /gateway/ws              ->  authenticated")
            body = {"prompt": PROGRAM.read_text(), "model": "python", "options": {"timeout": 60}}
            run = await _json(http.post(f"{api}/api/runs", json=body, headers=headers), 201)
            print(f"POST /gateway/api/runs        ->  run {run['id']} {run['status']}\n")
            status, printed = await asyncio.wait_for(_follow(socket, run["id"]), SECONDS)
        run = await _json(http.get(f"{api}/api/runs/{run['id']}", headers=headers), 200)
        print(f"\nGET  /gateway/api/runs/…      ->  {run['status']}, {run['artifact_count']} artifacts")
        if status != "completed" or run["status"] != "completed":
            raise DemoFailed(f"the run ended as {run['status']}: {run['error']}")
        if printed != run["result"]:
            raise DemoFailed("the result is not what the socket showed")
        listed = await _json(http.get(f"{api}/api/runs/{run['id']}/artifacts", headers=headers), 200)
        files: dict[str, bytes] = {}
        for artifact in listed["artifacts"]:
            async with http.get(f"{api}/api/artifacts/{artifact['id']}", headers=headers) as answer:
                data = await answer.read()
            if len(data) != artifact["size"]:
                raise DemoFailed(f"{artifact['filename']} has {len(data)} bytes, not {artifact['size']}")
            files[artifact["filename"]] = data
            shown = f"{artifact['filename']}, {len(data)} bytes, {artifact['content_type']}"
            print(f"GET  /gateway/api/artifacts/… ->  {shown}")
        _check(files)


def _check(files: dict[str, bytes]) -> None:
    """Check that the files are complete and contain what the program found. Raises DemoFailed."""
    missing = {"letters.csv", "letters.png", "claude.log"} - files.keys()
    if missing:
        raise DemoFailed(f"artifacts are missing: {', '.join(sorted(missing))}")
    table = list(csv.reader(io.StringIO(files["letters.csv"].decode())))
    width, height = struct.unpack(">II", files["letters.png"][16:24])
    print(f"\nletters.csv: {len(table) - 1} letters, first {table[1]};  letters.png: {width} x {height}")
    if (
        table[0] != ["letter", "count"]
        or not files["letters.png"].startswith(b"\x89PNG")
        or b"IEND" not in files["letters.png"]
    ):
        raise DemoFailed("an artifact is damaged")


async def _follow(socket: aiohttp.ClientWebSocketResponse, run_id: str) -> tuple[str, str]:
    """Print a run's events as they arrive; returns its final status and its whole output."""
    start, printed = time.monotonic(), ""
    while True:
        event = await socket.receive_json()
        if event.get("run_id", run_id) != run_id:
            continue
        at = f"{time.monotonic() - start:6.2f} s"
        match event["type"]:
            case "run_output":
                printed += event["text"]
                for line in event["text"].splitlines():
                    print(f"  {at}  | {line}")
            case "run_complete":
                print(f"  {at}  {event['type']}: {event['status']}")
                return event["status"], printed
            case _:
                print(f"  {at}  {event['type']}: {event.get('status') or event.get('alert')}")


async def _json(request: Any, status: int) -> dict[str, Any]:
    async with request as answer:
        if answer.status != status:
            raise DemoFailed(f"{answer.method} {answer.url.path} answered {answer.status}: {await answer.text()}")
        return await answer.json()
