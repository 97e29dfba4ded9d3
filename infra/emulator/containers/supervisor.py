"""Runs the containers of one group: starts, restarts, limits and ends them, and records their states.

Each run of a group has a supervisor process of its own, so that containers and their states outlive the server. The
supervisor reads a `GroupPlan` from standard input (so that no secret is in a command line), prints `ready`, obeys the
commands from the pipe `control`, writes `status.json` at every change, and ends with its last container. Until then it
holds the file lock that it inherits. Its imports are few, because a hundred supervisors may start on two cores.
"""

# It must start fast, so pathlib and typing are not used.
# ruff: noqa: PTH105, PTH123

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time

from infra.emulator.containers.logs import LogWriter, now
from infra.emulator.containers.network import Network
from infra.emulator.containers.process import ContainerProcess, descendants, exit_code
from infra.emulator.containers.usage import DiskUse, MemoryUse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from infra.emulator.containers.plans import ContainerPlan, GroupPlan

WATCH = 0.25
"""Seconds between two checks of the limits while a container uses more than a quarter of its memory."""
IDLE = 1.0
"""Seconds between two checks of the limits otherwise."""
OWN_PROCESSES = 2
"""Processes of bubblewrap in every container."""
QUIET = 600
"""Seconds after which a running container gets the first restart delay again."""
LONGEST_DELAY = 300
"""Upper bound of the restart delay in seconds."""


def event(name: str, message: str, kind: str = "Normal") -> dict[str, Any]:
    """An event of this moment, in the form of instance views."""
    moment = now()
    times = {"firstTimestamp": moment, "lastTimestamp": moment}
    return {"count": 1, **times, "name": name, "message": message, "type": kind}


class Container:
    """One container with all its restarts; `view` is its instance view in the JSON of the service."""

    def __init__(self, plan: ContainerPlan, policy: str, delay: float, network: Network | None, problems: list[str]):
        self.plan, self.policy, self.first_delay, self.delay = plan, policy, delay, delay
        self.network = network
        self.process: ContainerProcess | None = None
        self.log: LogWriter | None = None
        self.began = 0.0
        self.due: float | None = None  # when it is restarted
        self.kill_at: float | None = None
        self.exceeded = ""
        """The detail status that says which limit it exceeded; empty otherwise."""
        self.view: dict[str, Any] = {
            "restartCount": 0,
            "currentState": {"state": "Waiting", "detailStatus": ""},
            "events": [],
        }
        for problem in problems:
            self.note("Failed", problem, "Warning")

    def note(self, name: str, message: str, kind: str = "Normal") -> None:
        """Record an event; the count of an equal earlier event is increased instead."""
        for one in self.view["events"]:
            if (one["name"], one["message"]) == (name, message):
                one["count"] += 1
                one["lastTimestamp"] = now()
                return
        self.view["events"].append(event(name, message, kind))

    def start(self) -> None:
        self.due, self.kill_at, self.exceeded, self.began = None, None, "", time.monotonic()
        self.view["currentState"] = {"state": "Running", "startTime": now(), "detailStatus": ""}
        try:
            self.log = LogWriter(self.plan["log"])
            self.memory = MemoryUse()
            self.process = ContainerProcess(self.plan, self.network and self.network.ready)
            self.disk = DiskUse([self.plan["root"], *self.plan["volumes"]], self.plan["disk"])
        except OSError as error:  # such as no more processes, or a full disk
            self.view["currentState"] |= {"state": "Terminated", "exitCode": 128, "detailStatus": "Error"}
            self.note("Failed", f"Error: Failed to start container {self.plan['name']}: {error}", "Warning")
        else:
            self.note("Started", "Started container")

    def pump(self) -> bool:
        """Append the available output to the log; returns False at the end of the output."""
        if self.process is None or self.log is None:
            return False
        output = self.process.read()
        if output:
            self.log.write(output)
        return output != b""

    def watch(self) -> float:
        """Plan its kill when it exceeds a limit; returns the used share of its memory (0.5: half)."""
        if self.process is None:
            return 0.0
        pids, plan = descendants(self.process.pid), self.plan
        share = self.memory.of(pids, plan["memory"]) / plan["memory"]
        if self.exceeded:
            return share
        if share > 1:
            self.exceed("OOMKilled", f"ran out of memory ({plan['memory'] / 1024**3:.3g} GB)")
        elif len(pids) > plan["processes"] + OWN_PROCESSES:
            self.exceed("TooManyProcesses", f"had more than {plan['processes']} processes")
        elif self.disk.full(pids):
            self.exceed("DiskExceeded", f"used more than {plan['disk'] / 1024**3:.3g} GB of disk")
        return share

    def exceed(self, detail: str, what: str) -> None:
        """Plan its kill, and say why in its events and its log."""
        self.exceeded, self.kill_at = detail, time.monotonic()
        message = f"The container {what} and was killed."
        self.note(detail, message, "Warning")
        if self.log:
            self.log.write(f"{message}\n".encode())

    def ended(self, status: int, *, stopping: bool) -> None:
        """Record the end of its processes, and plan its restart where the policy requires one."""
        assert self.process and self.log
        while self.pump() and select.select([self.process.output], [], [], 0)[0]:
            pass
        os.close(self.process.output)
        self.log.close()
        self.process = None
        code = 137 if self.exceeded else exit_code(status)
        detail = self.exceeded or ("Completed" if code == 0 else "Error")
        state = {**self.view["currentState"], "state": "Terminated", "exitCode": code}
        self.view["currentState"] = {**state, "finishTime": now(), "detailStatus": detail}
        if stopping:
            self.note("Killing", f"Killing container with id {self.plan['name']}.")
        elif self.policy == "Always" or (self.policy == "OnFailure" and code != 0):
            if time.monotonic() - self.began > QUIET:
                self.delay = self.first_delay
            self.view["previousState"] = self.view["currentState"]
            self.view["currentState"] = {"state": "Waiting", "detailStatus": "CrashLoopBackOff: Back-off restarting"}
            self.due = time.monotonic() + self.delay
            self.delay = min(self.delay * 2, LONGEST_DELAY)

    def restart(self) -> None:
        self.view["restartCount"] += 1
        self.start()

    def stop(self, grace: float) -> None:
        """Send SIGTERM, and plan SIGKILL after `grace` seconds; a planned restart is cancelled."""
        if self.due:
            self.due, self.view["currentState"] = None, self.view["previousState"]
        if self.process:
            self.kill_at = time.monotonic() + grace
            self.process.terminate()

    @property
    def failed(self) -> bool:
        return self.process is None and self.due is None and self.view["currentState"].get("exitCode", 0) != 0


class Supervisor:
    """The event loop of one group."""

    def __init__(self, plan: GroupPlan, network: Network | None):
        once = "Never" if plan["policy"] == "Never" else "OnFailure"
        delay, problems = plan["restart_delay"], plan["problems"]
        self.grace = plan["grace"]
        self.init = [Container(one, once, delay, network, problems) for one in plan["init"]]
        policy = plan["policy"]
        self.containers = [Container(one, policy, delay, network, problems) for one in plan["containers"]]
        self.all = self.init + self.containers
        # A step starts after the one before has succeeded: the init containers one by one, then all others.
        self.waiting = [[one] for one in self.init] + [self.containers]
        self.stopping = False
        self.look_at = 0.0

    def run(self, control: int) -> None:
        """Run the group until no container runs or is due to start."""
        woken, wake = os.pipe()
        for end in (woken, wake):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(wake)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, self.stop)
        step: list[Container] = []
        while True:
            if not self.stopping and self.waiting and all(self.succeeded(one) for one in step):
                step = self.waiting.pop(0)
                for one in step:
                    one.start()
                self.write()
            if not any(one.process or one.due for one in self.all):
                break
            self.wait([control, woken])
            self.drain(woken)
            if b"stop" in self.drain(control):
                self.stop()
            self.reap()
            self.act()
        self.write(ended=True)

    def succeeded(self, one: Container) -> bool:
        return one.view["currentState"].get("exitCode") == 0

    def wait(self, pipes: list[int]) -> None:
        """Wait for output, a command, the end of a process, or the next planned moment; copy output to the logs."""
        running = [one.process.output for one in self.all if one.process and not one.process.silent]
        moments = [moment for one in self.all for moment in (one.due, one.process and one.kill_at) if moment]
        timeout = max(0.0, min([self.look_at, *moments]) - time.monotonic())
        ready = select.select(pipes + running, [], [], timeout)[0]
        for one in self.all:
            if one.process and one.process.output in ready:
                one.process.silent = not one.pump()

    def drain(self, pipe: int) -> bytes:
        try:
            return os.read(pipe, 4096)
        except BlockingIOError:
            return b""

    def stop(self, *_: object) -> None:
        """Send SIGTERM to every container; `act` kills those that still run after the grace period."""
        if self.stopping:
            return
        self.stopping = True
        for one in self.all:
            one.stop(self.grace)

    def reap(self) -> None:
        for one in self.all:
            if one.process:
                pid, status = os.waitpid(one.process.pid, os.WNOHANG)
                if pid:
                    one.ended(status, stopping=self.stopping)
                    self.write()

    def act(self) -> None:
        """Do what is due: check memory, kill, restart."""
        moment = time.monotonic()
        if moment >= self.look_at:
            share = max(one.watch() for one in self.all)
            self.look_at = moment + (WATCH if share > 0.25 else IDLE)
        for one in self.all:
            if one.process and one.kill_at and moment >= one.kill_at:
                one.process.kill()
                one.kill_at = moment + WATCH
            if one.due and moment >= one.due:
                one.restart()
                self.write()

    def write(self, *, ended: bool = False) -> None:
        """Replace status.json as a whole."""
        provisioned = not self.waiting or any(one.failed for one in self.init) or self.stopping
        views = {one.plan["name"]: one.view for one in self.all}
        with open("status.json.new", "w") as file:
            json.dump({"provisioned": provisioned, "ended": ended, "containers": views}, file)
        os.replace("status.json.new", "status.json")


def main() -> NoReturn:
    """Run the plan of standard input in the group's folder, which is the working directory."""
    plan: GroupPlan = json.load(sys.stdin)
    control = os.open(
        "control", os.O_RDWR | os.O_NONBLOCK
    )  # opened for writing too, so that it never reports an end of file
    network = Network(plan["network"]) if plan["network"] else None
    supervisor = Supervisor(plan, network)
    supervisor.write()
    try:
        os.write(1, b"ready\n")
    except BrokenPipeError:
        pass  # the server has ended; the supervisor has all that it needs
    null = os.open("/dev/null", os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    supervisor.run(control)
    if network:
        network.close()
    sys.exit(0)
