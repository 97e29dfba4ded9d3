"""One running container: its processes, their limits and their end."""

# The supervisor loads this and must start fast, so: no pathlib, no typing.
# ruff: noqa: PTH103, PTH110, PTH112, PTH123, PTH208, PTH211

from __future__ import annotations

import os
import resource
import signal
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from infra.emulator.containers.plans import ContainerPlan

PAGE = os.sysconf("SC_PAGE_SIZE")
LISTS_CHILDREN = os.path.exists(f"/proc/self/task/{os.getpid()}/children")
"""Linux may be built without these lists, other systems have no /proc: `ps` has to serve then."""


class ContainerProcess:
    """The processes of one container, from its start to the end of the last of them."""

    def __init__(self, plan: ContainerPlan):
        self.plan = plan
        self.silent = False  # its output is closed though it lives
        fresh_root(plan)
        self.output, write = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            _become(plan, write)
        os.close(write)
        os.set_blocking(self.output, False)

    def main(self) -> int | None:
        """The process that runs the container's command; None when it is not there yet, or no more."""
        pid = self.pid
        for _ in range(2 if self.plan["sandboxed"] else 1):
            below = children(pid)
            if not below:
                return None
            pid = below[0]
        return pid

    def terminate(self) -> None:
        """Ask the command to end, as the service does: only it gets the signal."""
        for _ in range(40):
            if main := self.main():
                send(main, signal.SIGTERM)
                return
            time.sleep(0.005)  # it is just being started, or just ending

    def kill(self) -> None:
        """End every process of the container; those in a sandbox go with its init."""
        for pid in descendants(self.pid) or [self.pid]:
            send(pid, signal.SIGKILL)

    def memory(self) -> int:
        """Bytes that belong to the container alone."""
        return sum(private_memory(pid) for pid in descendants(self.pid))

    def read(self) -> bytes | None:
        """Output that is there now; b"" at its end, None when there is none at the moment."""
        try:
            return os.read(self.output, 65536)
        except BlockingIOError:
            return None


def fresh_root(plan: ContainerPlan) -> None:
    """Every start of a container finds the files of its image and nothing of the run before."""
    root = plan["root"]
    remove(root)
    for folder in plan["directories"]:
        os.makedirs(root + folder, exist_ok=True)
    for name, text in plan["files"].items():
        with open(root + name, "w") as file:
            file.write(text)
    for name, target in plan["links"].items():
        os.symlink(target, root + name)


def remove(folder: str) -> None:
    """Remove a folder and all that is below, also what its owner has forbidden to change."""
    if call("/bin/rm", "-rf", "--", folder) != 0:
        call("/bin/chmod", "-R", "u+rwX", "--", folder)
        call("/bin/rm", "-rf", "--", folder)


def call(*command: str) -> int:
    """Run a program and answer its exit code; lighter than `subprocess`, and safe beside threads."""
    return exit_code(os.waitpid(os.posix_spawn(command[0], command, os.environ), 0)[1])


def _become(plan: ContainerPlan, output: int) -> NoReturn:
    """Turn this forked process into the container."""
    try:
        signal.set_wakeup_fd(-1)
        # Python ignores the last two, and a program inherits what is ignored.
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        os.setsid()
        os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.closerange(3, 1024)  # an init does not exec: it would hold the supervisor's control pipe open
        limit(plan)
        os.chdir(plan["working_dir"])
        if plan["sandboxed"]:
            os.execvpe(plan["argv"][0], plan["argv"], plan["environment"])
        os._exit(init(plan))
    except OSError as error:
        os.write(2, f"{error}\n".encode())
    finally:
        os._exit(127)


def limit(plan: ContainerPlan) -> None:
    """Put the limits of the request on this process and all that it starts."""
    for name, value in plan["limits"].items():
        number = getattr(resource, f"RLIMIT_{name}")
        hard = resource.getrlimit(number)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(number, (value, value))
    if sys.platform == "linux":
        cores = sorted(os.sched_getaffinity(0))
        first = os.getpid() % len(cores)
        os.sched_setaffinity(0, (cores[first:] + cores[:first])[: plan["cores"]])


def init(plan: ContainerPlan) -> int:
    """Be the init of a container without a sandbox: adopt its orphans, and leave none behind when the command ends."""
    signal.signal(signal.SIGTERM, orphaned)
    if sys.platform == "linux":
        import ctypes

        prctl = ctypes.CDLL(None).prctl
        prctl(36, 1)  # PR_SET_CHILD_SUBREAPER
        prctl(1, int(signal.SIGTERM))  # PR_SET_PDEATHSIG
    # Held back meanwhile: a signal for the command must not find this handler in it.
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    command = os.fork()
    if command == 0:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
    if command == 0:
        try:
            os.execvpe(plan["argv"][0], plan["argv"], plan["environment"])
        except OSError as error:
            os.write(2, f"{plan['argv'][0]}: {error.strerror}\n".encode())
            os._exit(126 if isinstance(error, PermissionError) else 127)
    while True:
        pid, status = os.wait()
        if pid == command:
            break
    kill_below()
    return exit_code(status)


def orphaned(*_: object) -> NoReturn:
    """The supervisor is gone: so is the container."""
    kill_below()
    os._exit(137)


def kill_below() -> None:
    """End every process below this one."""
    while rest := descendants(os.getpid()):
        for pid in rest:
            send(pid, signal.SIGKILL)
        try:
            os.wait()
        except ChildProcessError:
            return


def exit_code(status: int) -> int:
    """The exit code of a wait status as shells count: 128 + the signal that ended it."""
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def send(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def children(pid: int) -> list[int]:
    """Child processes, of every thread, oldest first."""
    if not LISTS_CHILDREN:
        return [child for child, parent, _ in processes() if parent == pid]
    found: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children") as file:
                found += map(int, file.read().split())
    except (FileNotFoundError, ProcessLookupError):
        pass
    return found


def descendants(pid: int) -> list[int]:
    """Every process below this one; parents before their children."""
    found = children(pid)
    for child in found:
        found += children(child)
    return found


def private_memory(pid: int) -> int:
    """Bytes of memory that this process shares with no file, where the system tells that; else all that it holds."""
    if not os.path.isdir("/proc/self"):
        return sum(size for process, _, size in processes() if process == pid)
    try:
        with open(f"/proc/{pid}/statm") as file:
            _, resident, shared, *_ = map(int, file.read().split())
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return (resident - shared) * PAGE


def processes() -> list[tuple[int, int, int]]:
    """Every process of a machine that does not list children: its id, its parent and the bytes it holds in memory."""
    with os.popen("ps -A -o pid=,ppid=,rss=") as lines:
        rows = [line.split() for line in lines]
    return [(int(pid), int(parent), int(kib) * 1024) for pid, parent, kib in rows]
