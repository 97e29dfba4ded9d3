"""The plan of a container's processes: in bubblewrap where it works, else as a plain process."""

import functools
import logging
import math
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NotRequired, TypedDict

from infra.emulator.containers.plans import ContainerPlan

log = logging.getLogger(__name__)

GIB = 1024**3
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
"""Programs of the machine that every container can read."""
CONFIGURATION = (
    "/etc/alternatives", "/etc/ca-certificates", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d",
    "/etc/localtime", "/etc/mime.types", "/etc/nsswitch.conf", "/etc/pki", "/etc/protocols", "/etc/resolv.conf",
    "/etc/services", "/etc/ssl",
)  # fmt: skip
"""Configuration of the machine that every container can read; none of it names users or secrets."""
ISOLATION = (
    "--unshare-user", "--uid", "0", "--gid", "0", "--unshare-pid", "--unshare-ipc", "--unshare-uts",
    "--unshare-cgroup-try", "--die-with-parent", "--cap-drop", "ALL",
)  # fmt: skip
PROGRAMS = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Image(TypedDict):
    """An image: a command, and what it needs of this machine."""

    entrypoint: list[str]
    read_only: NotRequired[list[str]]  # paths of the machine that the container can read
    working_dir: NotRequired[str]
    limits: NotRequired[dict[str, int]]  # of the operating system, such as "CPU" seconds, "FSIZE" bytes, "NOFILE" files


class Mount(TypedDict):
    """A volume in a container."""

    source: str
    target: str
    read_only: bool


@functools.cache
def bubblewrap() -> str | None:
    """The path of bubblewrap; None when it is not installed or the system does not let it create namespaces."""
    program = shutil.which("bwrap")
    if program:
        probe = [program, *ISOLATION, "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "/bin/sh", "-c", ":"]
        answer = subprocess.run(probe, capture_output=True, timeout=20, check=False)
        if answer.returncode == 0:
            return program
        reason = answer.stderr.decode(errors="replace").strip()
    else:
        reason = "bwrap is not installed"
    log.warning("containers are NOT isolated from this machine, they run as plain processes: %s", reason)
    return None


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
    cores: float,
    memory: float,
) -> ContainerPlan:
    """The plan for the container `name` of the group in `folder`.

    `host` is the host name in the container, `cores` its processors, `memory` its limit in GiB.
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
        directories=["", "/root", "/tmp", "/var/tmp", "/etc", working_dir],
        files={},
        links={},
        cores=math.ceil(cores),
        memory=int(memory * GIB),
        limits={"CORE": 0, "FSIZE": 50 * GIB, **image.get("limits", {})},
    )
    if program is None:
        return bare(common, root, working_dir, variables, mounts)
    common["files"] = {
        "/etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
        "/etc/group": "root:x:0:\nnogroup:x:65534:\n",
        "/etc/hosts": f"127.0.0.1 localhost {host}\n::1 localhost\n",
        "/etc/hostname": f"{host}\n",
    }
    shell = [
        "/bin/sh",
        "-c",
        'exec "$@"',
        "sh",
    ]  # exits with 127 for a missing command and 126 for one that cannot be executed
    common["argv"] = [
        program, *ISOLATION, "--hostname", host,
        "--bind", str(root), "/", *view(image), "--proc", "/proc", "--dev", "/dev", *volumes(mounts),
        "--chdir", working_dir, "--", *shell, *command,
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
