"""The processes of one running container: their start, limits, memory and end."""

# The supervisor imports this module and must start fast, so pathlib and typing are not used.
# ruff: noqa: PTH103, PTH110, PTH112, PTH123, PTH208, PTH211

from __future__ import annotations

import fcntl
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
ENVIRONMENT_FILE, READY_FILE = 3, 4
"""Files that the first process of a sandboxed container inherits: a shell script with the environment of the command,
and a pipe that has something to read, or ends, when the network is ready."""
LISTS_CHILDREN = os.path.exists(f"/proc/self/task/{os.getpid()}/children")
"""False where Linux is built without these lists, and on systems without /proc; `ps` is used there."""


class ContainerProcess:
    """The processes of one container, from its start to the end of the last of them."""

    def __init__(self, plan: ContainerPlan, ready: int | None):
        """Start the container; its command waits for the pipe `ready` if there is one."""
        self.plan = plan
        self.silent = False  # its output is closed although it still runs
        fresh_root(plan)
        if plan["cgroup"]:
            os.makedirs(plan["cgroup"], exist_ok=True)
            put(plan["cgroup"] + "/pids.max", str(plan["processes"]))
        self.output, write = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            _become(plan, write, ready)
        os.close(write)
        os.set_blocking(self.output, False)

    def main(self) -> int | None:
        """The id of the process that runs the container's command; None before it starts and after it ends."""
        pid = self.pid
        for _ in range(2 if self.plan["sandboxed"] else 1):
            below = children(pid)
            if not below:
                return None
            pid = below[0]
        return pid

    def terminate(self) -> None:
        """Send SIGTERM to the command; like in the service, its child processes do not get the signal."""
        for _ in range(40):
            if main := self.main():
                send(main, signal.SIGTERM)
                return
            time.sleep(0.005)  # it is starting or ending at this moment

    def kill(self) -> None:
        """Kill every process of the container; in a sandbox they end when its init process is killed."""
        for pid in descendants(self.pid) or [self.pid]:
            send(pid, signal.SIGKILL)

    def read(self) -> bytes | None:
        """The available output; b"" at the end of the output, None when there is none at the moment."""
        try:
            return os.read(self.output, 65536)
        except BlockingIOError:
            return None


def fresh_root(plan: ContainerPlan) -> None:
    """Create the container's files anew, so that a start finds nothing of the run before."""
    root = plan["root"]
    remove(root)
    for folder in plan["directories"]:
        os.makedirs(root + folder, exist_ok=True)
    for name, text in plan["files"].items():
        with open(root + name, "w") as file:
            file.write(text)
    for name, target in plan["links"].items():
        os.symlink(target, root + name)


def put(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)


def remove(folder: str) -> None:
    """Remove a folder and everything below it, also what is write-protected."""
    if call("/bin/rm", "-rf", "--", folder) != 0:
        call("/bin/chmod", "-R", "u+rwX", "--", folder)
        call("/bin/rm", "-rf", "--", folder)


def call(*command: str) -> int:
    """Run a program and return its exit code; faster than `subprocess`, and safe in a process with threads."""
    return exit_code(os.waitpid(os.posix_spawn(command[0], command, {}), 0)[1])


def _become(plan: ContainerPlan, output: int, ready: int | None) -> NoReturn:
    """Turn this forked process into the first process of the container."""
    try:
        signal.set_wakeup_fd(-1)
        # Python ignores the last two, and programs inherit ignored signals.
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        os.setsid()
        files = [os.open("/dev/null", os.O_RDWR), output, output]
        if plan["sandboxed"]:
            files += [environment_file(plan["environment"]), files[0] if ready is None else ready]
        inherit(files)
        if plan["cgroup"]:
            put(plan["cgroup"] + "/cgroup.procs", "0")
        limit(plan)
        os.chdir(plan["working_dir"])
        if plan["sandboxed"]:
            # Without any variable: the loader obeys some, which would run a program of the container outside of it.
            os.execve(plan["argv"][0], plan["argv"], {})
        os._exit(init(plan))
    except OSError as error:
        os.write(2, f"{error}\n".encode())
    finally:
        os._exit(127)


def environment_file(variables: dict[str, str]) -> int:
    """A file in memory with a shell script that sets the variables: they are in no command line."""
    file = os.memfd_create("environment", 0)
    for name, value in variables.items():
        os.write(file, os.fsencode("export {}='{}'\n".format(name, value.replace("'", "'\\''"))))
    return file


def inherit(files: list[int]) -> None:
    """Give a program that is executed now these files, numbered from 0, and no other."""
    high = [fcntl.fcntl(file, fcntl.F_DUPFD, 100) for file in files]  # above the numbers that they get
    for number, file in enumerate(high):
        os.dup2(file, number)
    os.closerange(len(files), 1024)  # `init` does not exec, so it would keep the supervisor's control pipe open


def limit(plan: ContainerPlan) -> None:
    """Set the limits of the plan for this process and every process that it starts."""
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
    """Act as the init process of a container without a sandbox: adopt orphans, and end all of them with the command."""
    signal.signal(signal.SIGTERM, orphaned)
    if sys.platform == "linux":
        import ctypes

        prctl = ctypes.CDLL(None).prctl
        prctl(36, 1)  # PR_SET_CHILD_SUBREAPER
        prctl(1, int(signal.SIGTERM))  # PR_SET_PDEATHSIG
    # Blocked meanwhile, so that a signal for the command cannot run this handler in the command's process.
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
    """End the container because its supervisor has ended."""
    kill_below()
    os._exit(137)


def kill_below() -> None:
    """Kill every descendant of this process and wait for them."""
    while rest := descendants(os.getpid()):
        for pid in rest:
            send(pid, signal.SIGKILL)
        try:
            os.wait()
        except ChildProcessError:
            return


def exit_code(status: int) -> int:
    """The exit code of a wait status; as in a shell, 128 + the number of the signal for a killed process."""
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def send(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def children(pid: int) -> list[int]:
    """The ids of the child processes of all threads, oldest first."""
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
    """The ids of all processes below this one, parents before their children."""
    found = children(pid)
    for child in found:
        found += children(child)
    return found


def private_memory(pid: int) -> int:
    """The memory of a process that is shared with no file, in bytes; all its memory where the system has no /proc."""
    if not os.path.isdir("/proc/self"):
        return sum(size for process, _, size in processes() if process == pid)
    try:
        with open(f"/proc/{pid}/statm") as file:
            _, resident, shared, *_ = map(int, file.read().split())
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return (resident - shared) * PAGE


def processes() -> list[tuple[int, int, int]]:
    """Every process of this machine, from `ps`: its id, the id of its parent, and its resident memory in bytes."""
    with os.popen("ps -A -o pid=,ppid=,rss=") as lines:
        rows = [line.split() for line in lines]
    return [(int(pid), int(parent), int(kib) * 1024) for pid, parent, kib in rows]
