"""A run's output arrives complete and in order, whatever its bytes are."""

import hashlib
import json
import time
from collections.abc import AsyncIterator

import aiohttp
import pytest

from infra.local.environment import Environment
from tests.support.gateway import Gateway


@pytest.fixture
async def socket(stack: Environment, gateway: Gateway) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """An authenticated WebSocket of the gateway."""
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{stack.url}/gateway/ws") as socket:
        await socket.send_json({"type": "auth", "api_key": gateway.key})
        while (await socket.receive_json(timeout=10))["type"] != "auth_success":
            continue  # events of other tests' runs may come before it
        yield socket


async def whole_log(gateway: Gateway, program: str, model: str = "python") -> bytes:
    """Run a program that must complete; return its log."""
    run = await gateway.reach((await gateway.run(program, model))["id"], seconds=90)
    assert run["status"] == "completed", run["error"]
    return await gateway.download((await gateway.artifacts(run["id"]))["claude.log"]["id"])


async def test_a_hundred_thousand_lines_are_logged_in_order(gateway: Gateway):
    log = await whole_log(gateway, "for i in range(100_000): print(f'line {i}')")
    assert log == b"".join(b"line %d\n" % i for i in range(100_000))


async def test_a_line_of_five_megabytes_is_logged_whole(gateway: Gateway):
    log = await whole_log(gateway, "print(''.join(chr(97 + i % 26) for i in range(5_000_000)))")
    assert log == bytes(97 + i % 26 for i in range(5_000_000)) + b"\n"


async def test_bytes_that_are_not_utf8_are_logged_unchanged(gateway: Gateway):
    log = await whole_log(gateway, "import os; os.write(1, bytes(range(256)) * 100)")
    assert log == bytes(range(256)) * 100


async def test_output_without_a_newline_at_its_end_is_logged_whole(gateway: Gateway):
    assert await whole_log(gateway, "printf 'one\\ntwo'", "bash") == b"one\ntwo"


async def test_a_run_without_output_has_an_empty_result_and_no_log(gateway: Gateway):
    run = await gateway.reach((await gateway.run("true"))["id"])
    assert (run["status"], run["result"], run["artifact_count"]) == ("completed", "", 0)


async def test_lines_of_standard_error_and_standard_output_keep_their_order(gateway: Gateway):
    assert await whole_log(gateway, "echo a; echo b >&2; echo c", "bash") == b"a\nb\nc\n"


async def test_output_of_a_background_process_is_awaited_for_a_limited_time(gateway: Gateway):
    start = time.monotonic()
    log = await whole_log(gateway, "(sleep 1; echo late; sleep 600; echo never) & echo now", "bash")
    assert log == b"now\nlate\n"
    assert time.monotonic() - start < 300


async def test_a_long_result_is_shortened_and_the_log_is_whole(gateway: Gateway):
    run = await gateway.reach((await gateway.run("print('x' * 1_000_000 + 'end')", "python"))["id"], seconds=60)
    assert run["result"].startswith("[the first ")
    assert run["result"].endswith("xend\n")
    assert len(run["result"]) < 270_000
    files = await gateway.artifacts(run["id"])
    assert files["claude.log"]["size"] == 1_000_004


async def test_secrets_are_masked_in_result_log_and_events(gateway: Gateway, socket: aiohttp.ClientWebSocketResponse):
    run = await gateway.run("echo sk-abcdefghijklmnopqrstuvwxyz; echo password=hunter22")
    shown = await events_of(socket, run["id"])
    done = await gateway.get(run["id"])
    assert done["result"] == "[REDACTED]\npassword=[REDACTED]\n"
    log = await gateway.download((await gateway.artifacts(run["id"]))["claude.log"]["id"])
    assert log == done["result"].encode()
    assert "hunter22" not in json.dumps(shown)
    assert "sk-abc" not in json.dumps(shown)


async def events_of(socket: aiohttp.ClientWebSocketResponse, run_id: str) -> list[dict[str, object]]:
    """Receive the events of one run up to its end; return them."""
    events: list[dict[str, object]] = []
    while True:
        event = await socket.receive_json(timeout=30)
        if event.get("run_id") == run_id:
            events.append(event)
            if event["type"] == "run_complete":
                return events


async def test_lines_are_sent_while_the_program_runs_and_events_in_order(
    gateway: Gateway, socket: aiohttp.ClientWebSocketResponse
):
    program = "import time\nfor i in range(4):\n    print(time.time(), flush=True)\n    time.sleep(0.7)\n"
    run = await gateway.run(program, "python")
    events = await events_of(socket, run["id"])
    kinds = [(event["type"], event.get("status")) for event in events]
    assert kinds[0] == ("run_update", "running")
    assert kinds[-2:] == [("run_update", "completed"), ("run_complete", "completed")]
    output = events[1:-2]
    assert {event["type"] for event in output} == {"run_output"}
    assert len(output) >= 3, "the lines came in one piece, not live"
    assert "".join(str(event["text"]) for event in output) == events[-1]["result"]


class TestFiles:
    async def test_a_file_of_a_hundred_megabytes_is_downloaded_unchanged(self, gateway: Gateway):
        program = (
            "import hashlib, pathlib, random\n"
            "pathlib.Path('artifacts').mkdir()\n"
            "data = random.Random(1).randbytes(100_000_000)\n"
            "pathlib.Path('artifacts/big.bin').write_bytes(data)\n"
            "print(hashlib.sha256(data).hexdigest())\n"
        )
        run = await gateway.reach((await gateway.run(program, "python"))["id"], seconds=90)
        assert run["status"] == "completed", run["error"]
        file = (await gateway.artifacts(run["id"]))["big.bin"]
        digest, size = hashlib.sha256(), 0
        async with gateway.http.stream("GET", f"/gateway/api/artifacts/{file['id']}") as answer:
            assert answer.headers["content-length"] == "100000000"
            async for chunk in answer.aiter_bytes():
                digest.update(chunk)
                size += len(chunk)
        assert (size, digest.hexdigest()) == (100_000_000, run["result"].strip())

    async def test_links_out_of_the_folder_are_not_kept(self, gateway: Gateway):
        program = "mkdir artifacts; ln -s /etc/services artifacts/link; ln -s / artifacts/root; echo x > artifacts/own"
        run = await gateway.reach((await gateway.run(program))["id"])
        assert set(await gateway.artifacts(run["id"])) == {"own"}

    async def test_names_are_cleaned_and_files_in_folders_are_kept(self, gateway: Gateway):
        program = "mkdir -p 'artifacts/a b'; echo 1 > 'artifacts/a b/x y.txt'; echo 22 > artifacts/ü.txt"
        run = await gateway.reach((await gateway.run(program))["id"])
        files = await gateway.artifacts(run["id"])
        assert {name: file["size"] for name, file in files.items()} == {"a_b_x_y.txt": 2, "_.txt": 3}
