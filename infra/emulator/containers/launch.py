"""Starting the supervisor of a container group, with the plan of its containers on standard input."""

import base64
import contextlib
import fcntl
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from infra.emulator.containers import sandbox, shares, ways
from infra.emulator.containers.addresses import PublicPorts
from infra.emulator.containers.bodies import Json
from infra.emulator.containers.plans import ContainerPlan, GroupPlan, NetworkPlan
from infra.emulator.containers.process import remove
from infra.emulator.containers.state import ContainerGroup
from infra.emulator.processes import ROOT

SUPERVISOR = f"""
import sys
sys.path.append({str(ROOT)!r})
from infra.emulator.containers.supervisor import main
main()
"""

Images = dict[str, sandbox.Image]
Sources = dict[str, tuple[Path, bool]]
"""The folder of each volume by the volume's name, and whether it is read-only."""


@dataclass(frozen=True)
class Rules:
    """How containers run: seconds, the limits of each container, and how many groups may start at a time."""

    grace: float = 2  # from SIGTERM to SIGKILL
    restart_delay: float = 1  # before the first restart
    disk: int = 10 * sandbox.GIB  # bytes of its files
    processes: int = 1000
    starts: int = 3 * (os.cpu_count() or 1)
    starting: float = 0.5  # seconds after which a group that runs counts as started
    reachable: tuple[str, ...] = ()  # private IPv4 networks that containers with outgoing traffic reach all the same


def start_supervisor(
    group: ContainerGroup, images: Images, files: shares.Shares, rules: Rules, public: PublicPorts
) -> None:
    """Start a supervisor for the group and wait until it reports that it is ready; blocks for some milliseconds.

    It inherits the sockets of `public`.

    Raises:
        OSError: the supervisor did not start, a file share does not exist, or the key of its account is wrong.
        KeyError: an image is not in `images`.
    """
    for name in ("logs", "roots", "volumes"):
        remove(str(group.folder / name))
        (group.folder / name).mkdir(mode=0o700)
    for name in ("control", "status.json"):
        (group.folder / name).unlink(missing_ok=True)
    os.mkfifo(group.folder / "control", 0o600)
    plan = _group_plan(group, images, files, rules, public)
    lock = _lock(group)
    with os.fdopen(lock), (group.folder / "supervisor.log").open("ab") as errors:
        group.process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", SUPERVISOR],
            cwd=group.folder,
            env={},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            # The supervisor holds the lock until it ends.
            pass_fds=[lock, *(one.fileno() for one in public.sockets.values())],
            start_new_session=True,
        )
        os.ftruncate(lock, 0)
        os.pwrite(lock, str(group.process.pid).encode(), 0)
    assert group.process.stdin and group.process.stdout
    with group.process.stdin as writer, group.process.stdout as reader:
        writer.write(json.dumps(plan).encode())
        writer.close()
        if reader.readline() != b"ready\n":
            raise OSError("The supervisor did not start: " + (group.folder / "supervisor.log").read_text()[-500:])


def forget(group: ContainerGroup) -> None:
    """Remove what the containers of a group that has ended left outside of its folder."""
    for root in (group.folder / "roots").glob("*"):
        if folder := sandbox.cgroup(root):
            with contextlib.suppress(OSError):
                folder.rmdir()


def _lock(group: ContainerGroup) -> int:
    """Take the group's lock, which the supervisor inherits; the file descriptor of the open file."""
    lock = os.open(group.folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    # Waits for a process that holds the lock for a moment to test it; a process forked by another thread may do that.
    fcntl.flock(lock, fcntl.LOCK_EX)
    return lock


def _group_plan(
    group: ContainerGroup, images: Images, files: shares.Shares, rules: Rules, public: PublicPorts
) -> GroupPlan:
    properties = group.body["properties"]
    sources = {volume["name"]: _volume(group, volume, files) for volume in properties.get("volumes") or []}
    network = _network_plan(group, images, rules, public)

    def plan(container: Json) -> ContainerPlan:
        waits = network is not None and network["outgoing"] is not None
        return _container_plan(group, container, images, sources, rules, waits=waits)

    return GroupPlan(
        policy=properties.get("restartPolicy", "Always"),
        init=[plan(one) for one in properties.get("initContainers") or []],
        containers=[plan(one) for one in properties["containers"]],
        network=network,
        problems=public.problems,
        grace=rules.grace,
        restart_delay=rules.restart_delay,
    )


def _network_plan(group: ContainerGroup, images: Images, rules: Rules, public: PublicPorts) -> NetworkPlan | None:
    if not sandbox.bubblewrap():
        return None
    used = [images[name] for name in group.images]
    outgoing = sandbox.outgoing() if any(image.get("internet") for image in used) else None
    return NetworkPlan(
        service=f"../../{ways.SOCKET}",
        group=group.folder.name,
        ways=sorted({ways.port(way) for image in used for way in image.get("ways_out", [])}),
        doors=[(port, one.fileno()) for port, one in public.sockets.items()],
        outgoing={**outgoing, "reachable": list(rules.reachable)} if outgoing else None,
    )


def _container_plan(
    group: ContainerGroup, container: Json, images: Images, sources: Sources, rules: Rules, *, waits: bool
) -> ContainerPlan:
    properties = container["properties"]
    image = images[properties["image"]]
    resources = properties.get("resources") or {"requests": {"cpu": 1, "memoryInGB": 1}}
    limits = {**resources["requests"], **(resources.get("limits") or {})}
    variables = {
        one["name"]: one.get("secureValue") or one.get("value") or ""
        for one in properties.get("environmentVariables") or []
    }
    if group.address and not sandbox.bubblewrap():
        variables["LOCAL_ADDRESS"] = group.address  # its network is the machine's, so it listens there itself
    return sandbox.plan(
        group.folder,
        container["name"],
        group.name,
        image,
        properties.get("command") or image["entrypoint"],
        variables,
        [
            sandbox.Mount(
                source=str(sources[mount["name"]][0]),
                target=mount["mountPath"],
                read_only=sources[mount["name"]][1] or bool(mount.get("readOnly")),
                own=group.folder in sources[mount["name"]][0].parents,
            )
            for mount in properties.get("volumeMounts") or []
        ],
        waits=waits,
        cores=limits["cpu"],
        memory=limits["memoryInGB"],
        disk=rules.disk,
        processes=rules.processes,
    )


def _volume(group: ContainerGroup, volume: Json, files: shares.Shares) -> tuple[Path, bool]:
    """The folder of a volume, and whether it is read-only."""
    if share := volume.get("azureFile"):
        account, key = share["storageAccountName"], share.get("storageAccountKey") or ""
        return files.mounted(account, share["shareName"], key), bool(share.get("readOnly"))
    folder = group.folder / "volumes" / volume["name"]
    folder.mkdir(mode=0o700)
    for name, value in (volume.get("secret") or {}).items():
        (folder / name).write_bytes(base64.b64decode(value))
    return folder, volume.get("secret") is not None
