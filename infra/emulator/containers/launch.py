"""Starting the supervisor of a container group, with the plan of its containers on standard input."""

import base64
import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path

from infra.emulator.containers import sandbox, shares
from infra.emulator.containers.bodies import Json
from infra.emulator.containers.plans import ContainerPlan, GroupPlan
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


def start_supervisor(
    group: ContainerGroup, images: Images, files: shares.Shares, grace: float, restart_delay: float
) -> None:
    """Start a supervisor for the group and wait until it reports that it is ready; blocks for some milliseconds.

    `grace` is the seconds between SIGTERM and SIGKILL, `restart_delay` the seconds before a first restart.

    Raises:
        OSError: the supervisor did not start, or a file share does not exist.
        KeyError: an image is not in `images`.
    """
    for name in ("logs", "roots", "volumes"):
        remove(str(group.folder / name))
        (group.folder / name).mkdir(mode=0o700)
    for name in ("control", "status.json"):
        (group.folder / name).unlink(missing_ok=True)
    os.mkfifo(group.folder / "control", 0o600)
    plan = _group_plan(group, images, files, grace, restart_delay)
    lock = _lock(group)
    with os.fdopen(lock), (group.folder / "supervisor.log").open("ab") as errors:
        group.process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", SUPERVISOR],
            cwd=group.folder,
            env={},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            pass_fds=[lock],  # the supervisor holds the lock until it ends
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


def _lock(group: ContainerGroup) -> int:
    """Take the group's lock, which the supervisor inherits; the file descriptor of the open file."""
    lock = os.open(group.folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    # Waits for a process that holds the lock for a moment to test it; a process forked by another thread may do that.
    fcntl.flock(lock, fcntl.LOCK_EX)
    return lock


def _group_plan(
    group: ContainerGroup, images: Images, files: shares.Shares, grace: float, restart_delay: float
) -> GroupPlan:
    properties = group.body["properties"]
    sources = {volume["name"]: _volume(group, volume, files) for volume in properties.get("volumes") or []}
    return GroupPlan(
        policy=properties.get("restartPolicy", "Always"),
        init=[_container_plan(group, one, images, sources) for one in properties.get("initContainers") or []],
        containers=[_container_plan(group, one, images, sources) for one in properties["containers"]],
        grace=grace,
        restart_delay=restart_delay,
    )


def _container_plan(group: ContainerGroup, container: Json, images: Images, sources: Sources) -> ContainerPlan:
    properties = container["properties"]
    image = images[properties["image"]]
    resources = properties.get("resources") or {"requests": {"cpu": 1, "memoryInGB": 1}}
    limits = {**resources["requests"], **(resources.get("limits") or {})}
    variables = properties.get("environmentVariables") or []
    return sandbox.plan(
        group.folder,
        container["name"],
        group.name,
        image,
        properties.get("command") or image["entrypoint"],
        {one["name"]: one.get("secureValue") or one.get("value") or "" for one in variables},
        [
            sandbox.Mount(
                source=str(sources[mount["name"]][0]),
                target=mount["mountPath"],
                read_only=sources[mount["name"]][1] or bool(mount.get("readOnly")),
            )
            for mount in properties.get("volumeMounts") or []
        ],
        cores=limits["cpu"],
        memory=limits["memoryInGB"],
    )


def _volume(group: ContainerGroup, volume: Json, files: shares.Shares) -> tuple[Path, bool]:
    """The folder of a volume, and whether it is read-only."""
    if share := volume.get("azureFile"):
        return files.folder(share["storageAccountName"], share["shareName"]), bool(share.get("readOnly"))
    folder = group.folder / "volumes" / volume["name"]
    folder.mkdir(mode=0o700)
    for name, value in (volume.get("secret") or {}).items():
        (folder / name).write_bytes(base64.b64decode(value))
    return folder, volume.get("secret") is not None
