"""The command of a warm container, with a hub and an app of the test's own."""

import contextlib
import json
import os
import queue
import socket
import subprocess
import sys
import threading
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import Server, ServerConnection, serve

from shared.job_orders import listed_tree
from shared.order import TREE_LIST, InputFile, Order
from tests.infra.runner.harness import JobsServer

WAIT = 60  # seconds; nothing here takes so long

LEAVES_PROCESSES = """
import os, signal, socket, time
for _ in range(3):
    if os.fork() == 0:
        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        connection = socket.create_connection(("127.0.0.1", {port}))
        os.closerange(0, 3)
        time.sleep(600)
"""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a worker needs Linux")


@dataclass
class Hub:
    """A hub with one client."""

    socket: ServerConnection | None = None
    heard: "queue.Queue[dict[str, Any]]" = field(default_factory=lambda: queue.Queue())
    path: str = ""
    closed: threading.Event = field(default_factory=threading.Event)

    def serve(self, socket: ServerConnection) -> None:
        assert socket.request
        self.path, self.socket = socket.request.path, socket
        with contextlib.suppress(ConnectionClosed):
            for text in socket:
                self.heard.put(json.loads(text))
        self.closed.set()

    def send(self, kind: str, **members: Any) -> None:
        assert self.socket
        self.socket.send(json.dumps({"type": kind, **members}))

    def hears(self, kind: str) -> dict[str, Any]:
        """The next message, which must be of this kind; that the worker has an owner may come before any other."""
        while (message := self.heard.get(timeout=WAIT))["type"] == "taken" != kind:
            pass
        assert message["type"] == kind, message
        return message


@dataclass
class Container:
    """A worker, its hub and its app; `root` is the root folder of the container."""

    hub: Hub
    app: JobsServer
    root: Path
    process: "subprocess.Popen[bytes]"

    def order(self, job: str, command: list[str], owner: str = "ann", **members: Any) -> None:
        url = f"http://127.0.0.1:{self.app.server_port}/jobs/{job}"
        order = Order(url=url, token="t", command=command, directory="workspace", timeout=60, **members)
        self.hub.send("order", job=job, owner=owner, order=order.to_json())

    def exit_of(self, job: str) -> dict[str, Any]:
        return next(body for path, body in self.app.posts if path == f"/jobs/{job}/exit")


@pytest.fixture
def hub() -> Iterator[tuple[Hub, Server]]:
    hub = Hub()
    server = serve(hub.serve, "127.0.0.1", 0)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield hub, server
    server.shutdown()
    thread.join()


@pytest.fixture
def start(hub: tuple[Hub, Server], jobs_server: JobsServer, image: Path, tmp_path: Path) -> Iterator[Any]:
    """Starts a worker, which must say that it is ready."""
    started: list[subprocess.Popen[bytes]] = []

    def one(idle: float = 600, age: float = 600) -> Container:
        (tmp_path / "worker").mkdir()
        port = hub[1].socket.getsockname()[1]
        environment = {
            **os.environ,
            "RUNYARD_WARM_URL": f"ws://127.0.0.1:{port}/client/hubs/warm",
            "RUNYARD_WARM_TOKEN": "secret token",
            "RUNYARD_WARM_FOLDER": "workspace",
            "RUNYARD_WARM_IDLE": str(idle),
            "RUNYARD_WARM_AGE": str(age),
        }
        command = [sys.executable, "-SEs", str(image / "worker.py")]
        process = subprocess.Popen(command, cwd=tmp_path / "worker", env=environment)
        started.append(process)
        hub[0].hears("ready")
        return Container(hub[0], jobs_server, tmp_path, process)

    yield one
    for process in started:
        process.kill()
        process.wait()


def test_runs_one_job_after_the_other_each_in_a_new_folder_without_the_token(start: Any):
    container: Container = start()
    assert container.hub.path == "/client/hubs/warm?access_token=secret%20token"
    container.order("1", ["sh", "-c", "env; touch left; mkdir -p a/b; chmod 0 a; exit 3"])
    assert container.hub.hears("accepted") == {"type": "accepted", "job": "1"}
    assert container.hub.hears("done") == {"type": "done", "job": "1", "reported": True}
    assert not (container.root / "workspace").exists()
    assert container.exit_of("1")["exit_code"] == 3
    assert "secret" not in container.app.output("1") and "RUNYARD_WARM" not in container.app.output("1")
    container.order("2", ["ls", "-A"])
    container.hub.hears("accepted")
    container.hub.hears("done")
    assert container.app.output("2") == ""


def test_the_tree_of_an_order_stays_for_the_next_job_and_what_a_job_has_left_cannot_change_it(
    start: Any, tmp_path: Path
):
    container: Container = start()
    tree = {"tree": "files", "inputs": [InputFile(TREE_LIST, data=b64encode(listed_tree({})).decode())]}
    leaves = "echo new > ../files/a; (trap '' HUP TERM; setsid sh -c 'sleep 987655; echo late > ../files/a' &)"
    container.order("1", ["sh", "-c", leaves], **tree)
    container.hub.hears("accepted")
    container.hub.hears("done")
    assert "removed" in container.exit_of("1")
    assert (container.root / "files").exists() and not (container.root / "workspace").exists()
    container.order("2", ["sh", "-c", "ls ../files; ps ax | grep 98765[5]; true"], **tree)
    container.hub.hears("accepted")
    container.hub.hears("done")
    assert container.app.output("2") == ""  # the app does not list the file, as it could not be uploaded


def test_says_once_that_it_has_an_owner_while_its_first_job_goes_on(start: Any):
    container: Container = start()
    container.order("1", ["sleep", "600"])
    container.hub.hears("accepted")
    assert container.hub.hears("taken") == {"type": "taken", "job": "1"}
    container.hub.send("stop", job="1")
    container.hub.hears("done")
    container.order("2", ["true"])
    kinds = [container.hub.heard.get(timeout=WAIT)["type"] for _ in range(2)]
    assert kinds == ["accepted", "done"]
    container.order("3", ["true"])
    assert container.hub.heard.get(timeout=WAIT)["type"] == "accepted"


def test_refuses_a_second_job_meanwhile_and_jobs_of_another_owner(start: Any):
    container: Container = start()
    container.order("1", ["sleep", "600"])
    container.hub.hears("accepted")
    container.order("2", ["true"])
    assert container.hub.hears("refused")["job"] == "2"
    container.hub.send("stop", job="another")
    container.hub.send("stop", job="1")
    assert container.hub.hears("done") == {"type": "done", "job": "1", "reported": False}
    container.order("3", ["true"], owner="bob")
    assert container.hub.hears("refused")["job"] == "3"


def test_every_process_that_a_job_has_left_is_killed(start: Any, tmp_path: Path):
    container: Container = start()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        program = LEAVES_PROCESSES.format(port=listener.getsockname()[1])
        container.order("1", [sys.executable, "-c", program])
        connections = [listener.accept()[0] for _ in range(3)]
    container.hub.hears("accepted")
    container.hub.hears("done")
    for connection in connections:
        connection.settimeout(WAIT)
        assert connection.recv(1) == b"", "the process lives"
        connection.close()


@pytest.mark.parametrize("why", ["end", "disconnected", "idle", "age"])
def test_ends_when_it_is_not_needed_any_more(start: Any, why: str):
    container: Container = start(idle=0 if why == "idle" else 600, age=0 if why == "age" else 600)
    if why == "idle":
        container.order("1", ["true"])
    elif why == "end":
        container.hub.send("end")
    elif why == "disconnected":
        assert container.hub.socket
        container.hub.socket.close()
    assert container.process.wait(WAIT) == 0
    assert container.hub.closed.wait(WAIT)


def test_a_job_that_runs_at_the_end_of_the_connection_comes_to_its_end(start: Any):
    container: Container = start()
    container.order("1", ["sh", "-c", "sleep 1; echo whole"])
    container.hub.hears("accepted")
    assert container.hub.socket
    container.hub.socket.close()
    assert container.process.wait(WAIT) == 0
    assert (container.exit_of("1")["exit_code"], container.app.output("1")) == (0, "whole\n")


def test_a_malformed_order_is_reported_as_not_run(start: Any):
    container: Container = start()
    container.hub.send("order", job="1", owner="ann", order="{}")
    container.hub.hears("accepted")
    assert container.hub.hears("done")["reported"] is False


def test_ends_when_it_cannot_prepare_a_job_and_that_is_reported(start: Any):
    container: Container = start()
    container.order("1", ["true"], inputs=[InputFile("a/b", data=""), InputFile("a", data="")])
    container.hub.hears("accepted")
    assert container.process.wait(WAIT) == 1
    assert container.exit_of("1")["reason"] == "unstartable"


def test_an_end_by_the_system_takes_all_processes_along(start: Any):
    container: Container = start()
    container.order("1", ["sh", "-c", "trap '' TERM; echo up; sleep 600"])
    container.hub.hears("accepted")
    container.process.terminate()
    assert container.process.wait(WAIT) == 143
