"""From a container's request to the plan of its processes: in bubblewrap where that works, else as a plain process."""

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
"""What a container sees of the machine's programs, to read only."""
CONFIGURATION = (
    "/etc/alternatives", "/etc/ca-certificates", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d",
    "/etc/localtime", "/etc/mime.types", "/etc/nsswitch.conf", "/etc/pki", "/etc/protocols", "/etc/resolv.conf",
    "/etc/services", "/etc/ssl",
)  # fmt: skip
"""What it sees of the machine's settings: nothing that names its users or secrets."""
ISOLATION = (
    "--unshare-user", "--uid", "0", "--gid", "0", "--unshare-pid", "--unshare-ipc", "--unshare-uts",
    "--unshare-cgroup-try", "--die-with-parent", "--cap-drop", "ALL",
)  # fmt: skip
PROGRAMS = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Image(TypedDict):
    """What an image is here: a command, and what it needs of the machine."""

    entrypoint: list[str]
    read_only: NotRequired[list[str]]  # paths of the machine that it sees
    working_dir: NotRequired[str]
    limits: NotRequired[dict[str, int]]  # of the operating system: "CPU" seconds, "FSIZE" bytes, "NOFILE" files, ...


class Mount(TypedDict):
    """A volume in a container."""

    source: str
    target: str
    read_only: bool


@functools.cache
def bubblewrap() -> str | None:
    """Where bubblewrap is, if it may make namespaces here."""
    program = shutil.which("bwrap")
    if program:
        probe = [program, *ISOLATION, "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "/bin/sh", "-c", ":"]
        answer = subprocess.run(probe, capture_output=True, timeout=20, check=False)
        if answer.returncode == 0:
            return program
        reason = answer.stderr.decode(errors="replace").strip()
    else:
        reason = "bwrap is not installed"
    log.warning("containers are NOT isolated from this machine, they are plain processes: %s", reason)
    return None


@functools.cache
def runtimes() -> tuple[str, ...]:
    """Where Python and Node live when the system's folders do not hold them: what every image may count on."""
    node = shutil.which("node")
    homes = [sys.base_prefix, *([str(Path(node).resolve().parents[1])] if node else [])]
    return tuple(dict.fromkeys(home for home in homes if not home.startswith("/usr")))


def environment(variables: dict[str, str], home: str, temporary: str) -> dict[str, str]:
    """What a container's command sees: what the request gives, and the least that programs need."""
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
    """How container `name` of the group in `folder` is to run; `memory` in GiB."""
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
    shell = ["/bin/sh", "-c", 'exec "$@"', "sh"]  # answers 127 and 126 for what is not there or not a program
    common["argv"] = [
        program, *ISOLATION, "--hostname", host,
        "--bind", str(root), "/", *view(image), "--proc", "/proc", "--dev", "/dev", *volumes(mounts),
        "--chdir", working_dir, "--", *shell, *command,
    ]  # fmt: skip
    return common


def view(image: Image) -> list[str]:
    """The arguments that show a container the programs of this machine and the paths of its image."""
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
    """Without a sandbox: its folder is its working directory, and volumes are links there."""
    common["environment"] = environment(variables, f"{root}/root", f"{root}/tmp")
    common["working_dir"] = f"{root}{working_dir}"
    common["directories"] += [str(Path(mount["target"]).parent) for mount in mounts]
    common["links"] = {mount["target"].rstrip("/"): mount["source"] for mount in mounts}
    return common
