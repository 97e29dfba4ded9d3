"""The plan of a container's processes: in bubblewrap where it works, else as a plain process."""

import functools
import hashlib
import ipaddress
import json
import logging
import math
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import NotRequired, TypedDict

from infra.emulator.containers.network import NAMESERVER
from infra.emulator.containers.plans import ContainerPlan, NetworkPlan, OutgoingPlan
from infra.emulator.containers.process import ENVIRONMENT_FILE, READY_FILE
from infra.emulator.containers.ways import WayOut
from infra.emulator.processes import ROOT

log = logging.getLogger(__name__)

GIB = 1024**3
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
"""Programs of the machine that every container can read."""
CONFIGURATION = (
    "/etc/alternatives", "/etc/ca-certificates", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d",
    "/etc/localtime", "/etc/mime.types", "/etc/nsswitch.conf", "/etc/pki", "/etc/protocols", "/etc/services",
    "/etc/ssl",
)  # fmt: skip
"""Configuration of the machine that every container can read; none of it names users or secrets."""
ISOLATION = (
    "--unshare-user", "--uid", "0", "--gid", "0", "--unshare-pid", "--unshare-uts",
    "--unshare-cgroup-try", "--die-with-parent", "--cap-drop", "ALL",
)  # fmt: skip
CGROUPS = (Path("/sys/fs/cgroup/pids/containers"), Path("/sys/fs/cgroup/containers"))
"""Where root may limit processes, with version 1 and 2 of cgroups."""
NOT_CONTAINED = (
    "NOTHING CONTAINS the containers on this machine, they are plain processes of this user: they can read and change "
    "its files and reach its network"
)
NO_OUTGOING = "containers cannot reach other machines"
PROBE = f"""
import json, os, sys
sys.path.append({str(ROOT)!r})
from infra.emulator.containers.network import Network, isolate
plan, *command = sys.argv[1:]
if not command:
    ready = Network(json.loads(plan)).ready
    sys.exit(os.read(ready, 1) + os.read(ready, 1) != b"11")
isolate()
os.execve(command[0], command, {{}})
"""
SHELL = f'. /proc/self/fd/{ENVIRONMENT_FILE}; exec {ENVIRONMENT_FILE}<&-; exec "$@"'
"""Takes over the environment, and exits with 127 for a missing command and 126 for one that cannot be executed."""
PROGRAMS = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Image(TypedDict):
    """An image: a command, and what it needs of this machine."""

    entrypoint: list[str]
    read_only: NotRequired[list[str]]  # paths of the machine that the container can read
    working_dir: NotRequired[str]
    limits: NotRequired[dict[str, int]]  # of the operating system, such as "CPU" seconds, "FSIZE" bytes, "NOFILE" files
    internet: NotRequired[bool]  # whether its containers may reach other machines
    ways_out: NotRequired[list[WayOut]]  # what they may call on this machine


class Mount(TypedDict):
    """A volume in a container."""

    source: str
    target: str
    read_only: bool
    own: bool  # whether it lives and dies with the group


@functools.cache
def bubblewrap() -> str | None:
    """The path of bubblewrap; None when it is not installed or the system does not let it create namespaces."""
    program, reason = shutil.which("bwrap"), "bubblewrap is not installed"
    if program:
        view = ["--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev"]
        reason = refused("", program, *ISOLATION, *view, "/bin/sh", "-c", ":")
    if reason:
        warn(f"{NOT_CONTAINED}: {reason}")
    return None if reason else program


@functools.cache
def outgoing() -> OutgoingPlan | None:
    """The programs that let containers reach other machines; None when they are missing or do not work here."""
    if not bubblewrap():
        return None
    slirp4netns, ip = shutil.which("slirp4netns"), shutil.which("ip", path=PROGRAMS)
    if not slirp4netns or not ip:
        warn(f"{NO_OUTGOING}: {'ip (iproute2)' if slirp4netns else 'slirp4netns'} is not installed")
        return None
    plan = OutgoingPlan(slirp4netns=slirp4netns, ip=ip, reachable=[])
    if reason := refused(json.dumps(NetworkPlan(service="", group="", ways=[], doors=[], outgoing=plan))):
        warn(f"{NO_OUTGOING}: {reason}")
        return None
    return plan


def networks(host: str) -> list[str]:
    """The IPv4 networks of a host's name, an address, or a network. Raises ValueError for an unknown host."""
    try:
        return [str(ipaddress.IPv4Network(host))] if "/" in host else socket.gethostbyname_ex(host)[2]
    except OSError as error:
        raise ValueError(f"{host}: {error}") from None


def refused(*arguments: str) -> str:
    """Why the system does not let this user do what `PROBE` does with these arguments; empty when it does."""
    command = [sys.executable, "-I", "-S", "-c", PROBE, *arguments]
    answer = subprocess.run(command, capture_output=True, timeout=20, check=False, env={})
    lines = answer.stderr.decode(errors="replace").split("\n")
    return ([line for line in lines if line] or ["the system refuses it"])[-1] if answer.returncode else ""


_warnings: list[str] = []


def warn(text: str) -> None:
    log.warning("%s", text)
    _warnings.append(text)


def warnings() -> list[str]:
    """What the user of this machine must know about its containers, for the terminal; empty when all works."""
    outgoing()
    return list(_warnings)


def cgroup(root: Path) -> Path | None:
    """The cgroup of the container with this root: as root only, to whom the limits of a user do not apply."""
    folder = cgroups() if os.getuid() == 0 else None
    return folder and folder / hashlib.sha256(str(root).encode()).hexdigest()[:24]


@functools.cache
def cgroups() -> Path | None:
    """The folder of the cgroups; None where the system does not let this user limit processes with them."""
    for folder in CGROUPS:
        try:
            folder.mkdir(exist_ok=True)
            if folder == CGROUPS[1]:
                (folder / "cgroup.subtree_control").write_text("+pids")
            return folder
        except OSError:
            continue
    return None


def process_limits(processes: int) -> dict[str, int]:
    """Before Linux 5.14, a limit of processes counts all those of the user, and would be reached at once."""
    version = tuple(map(int, re.findall(r"\d+", platform.release())[:2]))
    return {"NPROC": processes} if os.getuid() != 0 and version >= (5, 14) else {}


@functools.cache
def runtimes() -> tuple[str, ...]:
    """Folders of Python and Node outside of the system's folders; every image can use these programs."""
    node = shutil.which("node")
    homes = [sys.base_prefix, *([str(Path(node).resolve().parents[1])] if node else [])]
    return tuple(dict.fromkeys(home for home in homes if not home.startswith("/usr")))


def environment(variables: dict[str, str], home: str, temporary: str) -> dict[str, str]:
    """The environment of a container's command: the variables of the request, and the ones that most programs need."""
    path = ":".join([*(f"{home}/bin" for home in runtimes()), PROGRAMS])
    return {"PATH": path, "HOME": home, "TMPDIR": temporary, "LANG": "C.UTF-8", **variables}


def plan(
    folder: Path,
    name: str,
    host: str,
    image: Image,
    command: list[str],
    variables: dict[str, str],
    mounts: list[Mount],
    *,
    waits: bool,
    cores: float,
    memory: float,
    disk: int,
    processes: int,
) -> ContainerPlan:
    """The plan for the container `name` of the group in `folder`.

    `host` is the host name in the container, `cores` its processors, `memory` its limit in GiB, `disk` that of files
    in bytes, `processes` their largest number. With `waits`, its command starts when outgoing traffic is possible.
    """
    root = folder / "roots" / name
    program = bubblewrap()
    working_dir = image.get("working_dir", "/")
    common = ContainerPlan(
        name=name,
        argv=command,
        environment=environment(variables, "/root", "/tmp"),
        root=str(root),
        working_dir=str(root),
        log=str(folder / "logs" / name),
        sandboxed=program is not None,
        directories=["", "/root", "/tmp", "/var/tmp", "/etc", "/dev/shm", working_dir],
        files={},
        links={},
        cores=math.ceil(cores),
        memory=int(memory * GIB),
        disk=disk,
        volumes=[mount["source"] for mount in mounts if mount["own"] and not mount["read_only"]],
        processes=processes,
        cgroup="",
        limits={"CORE": 0, "FSIZE": disk, **image.get("limits", {})},
    )
    if program is None:
        return bare(common, root, working_dir, variables, mounts)
    common["files"] = {
        "/etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
        "/etc/group": "root:x:0:\nnogroup:x:65534:\n",
        "/etc/hosts": f"127.0.0.1 localhost {host}\n::1 localhost\n",
        "/etc/hostname": f"{host}\n",
        "/etc/resolv.conf": f"nameserver {NAMESERVER}\n" if waits else "",
    }
    common["cgroup"] = str(cgroup(root) or "")
    common["limits"] |= process_limits(processes)
    block = ["--block-fd", str(READY_FILE)] if waits else []
    common["argv"] = [
        program, *ISOLATION, *block, "--hostname", host,
        "--bind", str(root), "/", *view(image), "--proc", "/proc", "--dev", "/dev",
        # Both would else be kept in memory that no limit counts.
        "--bind", f"{root}/dev/shm", "/dev/shm", "--remount-ro", "/dev", *volumes(mounts),
        "--chdir", working_dir, "--", "/bin/sh", "-c", SHELL, "sh", *command,
    ]  # fmt: skip
    return common


def view(image: Image) -> list[str]:
    """The bubblewrap arguments for the programs of this machine and the paths of the image, all read-only."""
    arguments: list[str] = []
    for path in map(Path, SYSTEM):
        if path.is_symlink():
            arguments += ["--symlink", str(path.readlink()), str(path)]
        elif path.exists():
            arguments += ["--ro-bind", str(path), str(path)]
    for path in map(Path, CONFIGURATION):
        arguments += ["--ro-bind-try", str(path.resolve()), str(path)]
    for path in (*runtimes(), *image.get("read_only", [])):
        arguments += ["--ro-bind", path, path]
    return arguments


def volumes(mounts: list[Mount]) -> list[str]:
    return [
        argument
        for mount in mounts
        for argument in ("--ro-bind" if mount["read_only"] else "--bind", mount["source"], mount["target"])
    ]


def bare(
    common: ContainerPlan, root: Path, working_dir: str, variables: dict[str, str], mounts: list[Mount]
) -> ContainerPlan:
    """The plan without a sandbox: its root is a folder, in which volumes are links."""
    common["environment"] = environment(variables, f"{root}/root", f"{root}/tmp")
    common["working_dir"] = f"{root}{working_dir}"
    common["directories"] += [str(Path(mount["target"]).parent) for mount in mounts]
    common["links"] = {mount["target"].rstrip("/"): mount["source"] for mount in mounts}
    return common
