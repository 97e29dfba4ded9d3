"""What requests do to container groups. Each operation returns before its work is done in the background."""

import asyncio
import functools
import hashlib
import json
import logging
import math
import time
from collections import deque
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from pathlib import Path
from typing import Any

from infra.emulator.containers import sandbox
from infra.emulator.containers.addresses import open_ports
from infra.emulator.containers.bodies import TYPE, ArmError, Json, check, fixed, invalid, not_found
from infra.emulator.containers.launch import Rules, forget, start_supervisor
from infra.emulator.containers.process import remove
from infra.emulator.containers.shares import Shares
from infra.emulator.containers.state import ContainerGroup
from infra.emulator.containers.supervisor import event
from infra.emulator.containers.ways import SOCKET, WayOut, WaysOut

log = logging.getLogger(__name__)

UPDATE_REFUSED = (
    "The updates on container group '{}' are invalid. To update the os type, restart policy, CPU, memory or GPU "
    "resources of a container group, delete it first and then create a new one."
)
IMAGE_REFUSED = (
    "The image '{}' in container group '{}' is not accessible. Please check the image and registry credential."
)
LOCATION_FULL = (
    "The requested resource is not available in the location '{}' at this moment. Please retry with a different "
    "resource request or in another location. Resource requested: '{cpu}' CPU '{memoryInGB}' GB memory 'Linux' OS"
)
QUOTA_REACHED = (
    "Resource type 'Microsoft.ContainerInstance/containerGroups' container group quota 'ContainerGroups' exceeded in "
    "region '{}'. Limit: '{}', Usage: '{}' Requested: '1'."
)
CORES_REACHED = (
    "Resource type 'Microsoft.ContainerInstance/containerGroups' container group quota 'StandardCores' exceeded in "
    "region '{}'. Limit: '{}', Usage: '{:g}' Requested: '{:g}'."
)
TOO_MANY_CREATES = "The limit of {} container group creations in {:g} seconds in region '{}' is reached."
LABEL_TAKEN = "The DNS name label '{}' in container group '{}' not available. Try using a different label."
ACCEPTED = ("location", "tags", "identity", "zones", "properties")


REMOVE_AGAIN = 1.0
"""Seconds until a deletion that has failed is tried again."""


class RegionLimits:
    """The quotas of the service, and the locations without room; requests to /local/limits change them.

    `groups` is the number of groups, `cores` that of the cores of all containers in a location; `creates` is how many
    groups may be created in a location in `window` seconds. None is no limit.
    """

    def __init__(self) -> None:
        self.groups = 1000
        self.cores: float | None = None
        self.creates: int | None = None
        self.window: float = 300
        self.full_locations: list[str] = []


class ContainerGroups:
    """The container groups of every subscription, kept under `folder`; `images` is the JSON file of the images.

    `kill_after` is the seconds after the grace period until a group that still runs is killed with its supervisor.
    """

    def __init__(self, folder: Path, images: Path, rules: Rules = Rules(), *, kill_after: float = 3):
        self.folder, self.images_file, self.rules, self.kill_after = folder, images, rules, kill_after
        self.ways_out = WaysOut(folder / SOCKET, self.ways)
        self.groups: dict[str, ContainerGroup] = {}
        self.shares = Shares(folder / "shares")
        self.limits = RegionLimits()
        self.creations: deque[tuple[float, str]] = deque()  # moment and location of each group within the window
        self.work: set[asyncio.Task[None]] = set()
        self.closing = False
        self.starters = ThreadPoolExecutor(4)  # separate threads, so that many starts do not delay the reading of logs
        self.starts = asyncio.Semaphore(rules.starts)

    def images(self) -> dict[str, sandbox.Image]:
        """The images by name, read from the file at each call."""
        return json.loads(self.images_file.read_text())

    def ways(self, folder: str) -> list[WayOut]:
        """The ways out of the group in this folder. Raises KeyError when there is none."""
        images = self.images()
        for group in self.groups.values():
            if group.folder.name == folder:
                return [way for name in group.images for way in images[name].get("ways_out", [])]
        raise KeyError(folder)

    def begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run this in the background; a failure is logged."""
        task = asyncio.create_task(work)
        self.work.add(task)
        task.add_done_callback(self.done)
        return task

    def done(self, task: asyncio.Task[None]) -> None:
        self.work.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("work on a container group failed", exc_info=error)

    async def open(self) -> None:
        """Continue with the groups of an earlier process, whose containers may run, have ended, or be due to start."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if sandbox.bubblewrap():
            await self.ways_out.open()
        for folder in self.folder.glob("groups/*"):
            if not (folder / "group.json").exists():  # its deletion, or its creation, was interrupted
                await asyncio.to_thread(remove, str(folder))
                continue
            group = ContainerGroup.load(folder)
            self.groups[group.id.lower()] = group
            if group.wanted == "deleted":
                group.removal = self.begin(self.remove(group))
            elif group.wanted == "stopped":
                self.begin(self.halt(group))
            else:
                self.begin(self.adopt(group))

    async def adopt(self, group: ContainerGroup) -> None:
        """Continue with a group that is to run."""
        while group.alive and not group.started:  # noqa: ASYNC110 - an earlier process ended while it started the supervisor
            await asyncio.sleep(0.02)
        if not group.alive and self.is_due(group):
            self.launch(group)

    def is_due(self, group: ContainerGroup) -> bool:
        """Whether to start a group that has no supervisor: it never ran, or its restart policy requires it."""
        status = group.status()
        policy = group.body["properties"].get("restartPolicy", "Always")
        states = [view["currentState"] for view in status["containers"].values()]
        if not states or policy == "Always":
            return True
        return policy == "OnFailure" and any(state.get("exitCode") != 0 for state in states)

    async def close(self) -> None:
        """End every container; the next `open` starts them again where the restart policy requires it."""
        self.closing = True
        await asyncio.gather(*self.work, return_exceptions=True)
        await asyncio.gather(*(group.stop(self.patience) for group in self.groups.values()))
        for group in self.groups.values():
            forget(group)
        await self.ways_out.close()

    @property
    def patience(self) -> float:
        """Seconds within which a group must have ended after a stop."""
        return self.rules.grace + self.kill_after

    def find(self, subscription: str, resource_group: str, name: str) -> ContainerGroup:
        try:
            return self.groups[ContainerGroup.id_of(subscription, resource_group, name).lower()]
        except KeyError:
            raise not_found(TYPE, name, resource_group) from None

    def select(self, subscription: str, resource_group: str | None = None) -> Iterator[ContainerGroup]:
        for group in self.groups.values():
            if group.subscription.lower() != subscription.lower():
                continue
            if resource_group is None or group.resource_group.lower() == resource_group.lower():
                yield group

    def create(self, subscription: str, resource_group: str, name: str, body: Json) -> tuple[ContainerGroup, bool]:
        """Accept a new group or a change of an existing one; returns the group, and whether it is new.

        Raises:
            ArmError: the request is invalid, not supported, or the region has no room.
        """
        body = {key: body[key] for key in ACCEPTED if body.get(key) is not None}
        try:
            check(name, body)
        except (AttributeError, KeyError, TypeError):
            raise invalid("InvalidRequestContent", "The request content is not that of a container group.") from None
        body["location"] = body["location"].lower().replace(" ", "")
        images = self.images()
        for container in self.containers(body):
            if (image := container["properties"]["image"]) not in images:
                raise invalid("InaccessibleImage", IMAGE_REFUSED.format(image, name))
        identity = ContainerGroup.id_of(subscription, resource_group, name).lower()
        group = self.groups.get(identity)
        self.check_room(name, body, group)
        if group is None:
            folder = self.folder / "groups" / hashlib.sha256(identity.encode()).hexdigest()[:24]
            group = ContainerGroup(folder, subscription, resource_group, name, body)
            self.creations.append((time.monotonic(), body["location"]))
            self.launch(group)
            self.groups[identity] = group
            return group, True
        self.check_steady(group)
        if fixed(group.body) != fixed(body):
            raise invalid("InvalidContainerGroupUpdate", UPDATE_REFUSED.format(name))
        same = {**group.body, "tags": None} == {**body, "tags": None}
        group.body = body
        if same and not group.failure:  # only the tags differ, so its containers need no restart
            group.save()
        else:
            self.launch(group)
        return group, False

    @staticmethod
    def containers(body: Json) -> list[Json]:
        return [*body["properties"]["containers"], *(body["properties"].get("initContainers") or [])]

    def check_room(self, name: str, body: Json, known: ContainerGroup | None) -> None:
        """Raise ArmError when the region has no room for a group, or its DNS name label is taken."""
        location = body["location"]
        others = [group for group in self.groups.values() if group is not known]
        if location in self.limits.full_locations:
            asked = body["properties"]["containers"][0]["properties"]["resources"]["requests"]
            raise ArmError(HTTPStatus.CONFLICT, "ServiceUnavailable", LOCATION_FULL.format(location, **asked))
        if len(others) >= self.limits.groups:
            message = QUOTA_REACHED.format(location, self.limits.groups, len(others))
            raise ArmError(HTTPStatus.CONFLICT, "ContainerGroupQuotaReached", message)
        if self.limits.cores is not None:
            used = sum(self.cores(group.body) for group in others if group.body["location"] == location)
            if used + self.cores(body) > self.limits.cores:
                message = CORES_REACHED.format(location, self.limits.cores, used, self.cores(body))
                raise ArmError(HTTPStatus.CONFLICT, "ContainerGroupQuotaReached", message)
        if known is None and self.limits.creates is not None:
            self.check_rate(location, self.limits.creates)
        label = (body["properties"].get("ipAddress") or {}).get("dnsNameLabel")
        if label and any((label, location) == group.label for group in others):
            raise invalid("DnsNameLabelNotAvailable", LABEL_TAKEN.format(label, name))

    def check_rate(self, location: str, creates: int) -> None:
        """Raise ArmError with the seconds to wait when too many groups were created in a location lately."""
        now, window = time.monotonic(), self.limits.window
        while self.creations and self.creations[0][0] <= now - window:
            self.creations.popleft()
        recent = [moment for moment, where in self.creations if where == location]
        if len(recent) >= creates:
            message = TOO_MANY_CREATES.format(creates, window, location)
            wait = math.ceil(recent[-creates] + window - now) if creates else math.ceil(window)
            raise ArmError(HTTPStatus.TOO_MANY_REQUESTS, "TooManyRequests", message, wait)

    @staticmethod
    def cores(body: Json) -> float:
        """The cores that the containers of a group request."""
        return sum(one["properties"]["resources"]["requests"]["cpu"] for one in body["properties"]["containers"])

    def check_steady(self, group: ContainerGroup) -> None:
        """Raise ArmError when the group is being changed or deleted."""
        if group.provisioning_state(group.status()) in ("Pending", "Creating", "Deleting"):
            message = f"The container group '{group.name}' is still transitioning, please retry later."
            raise ArmError(HTTPStatus.CONFLICT, "ContainerGroupTransitioning", message)

    def launch(self, group: ContainerGroup) -> None:
        """Start the group in the background; running containers are stopped first."""
        group.wanted, group.pending, group.failure = "running", True, []
        group.save()
        self.begin(self.run(group))

    async def run(self, group: ContainerGroup) -> None:
        """Start a group in its turn: all at once, they would share the processors until the last one has started."""
        async with self.starts:
            await self.start(group)
            until = time.monotonic() + self.rules.starting
            while time.monotonic() < until and group.alive and not self.closing:  # noqa: ASYNC110 - the end is a file lock's
                await asyncio.sleep(0.01)

    async def start(self, group: ContainerGroup) -> None:
        async with group.changing:
            if self.closing or group.wanted == "deleted":
                return
            try:
                await group.stop(self.patience)
                public = open_ports(group, self.groups.values())
                start = functools.partial(start_supervisor, group, self.images(), self.shares, self.rules, public)
                try:
                    await asyncio.get_running_loop().run_in_executor(self.starters, start)
                finally:
                    public.close()  # the supervisor has them now
            except (OSError, KeyError, ValueError) as error:
                log.warning("%s cannot be started: %s", group.name, error)
                group.failure = [event("Failed", str(error), "Warning")]
            group.pending = False

    def tag(self, group: ContainerGroup, tags: dict[str, str]) -> None:
        """Replace the tags of the group."""
        if group.removal:
            self.check_steady(group)
        group.body["tags"] = tags
        group.save()

    async def stop(self, group: ContainerGroup) -> None:
        """End the containers of the group, which can be started again."""
        if group.removal:
            self.check_steady(group)
        group.wanted = "stopped"
        group.save()
        await self.halt(group)

    async def halt(self, group: ContainerGroup) -> None:
        async with group.changing:
            await group.stop(self.patience)

    def delete(self, group: ContainerGroup) -> asyncio.Task[None]:
        """Begin to remove the group and its folder; the task ends when both are removed."""
        if group.removal is None:
            group.wanted = "deleted"
            group.save()
            group.removal = self.begin(self.remove(group))
        return group.removal

    async def remove(self, group: ContainerGroup) -> None:
        """Remove the group and its folder; what fails is tried again, because a deletion that was accepted must end."""
        while True:
            try:
                async with group.changing:
                    await group.stop(self.patience)
                    forget(group)
                    await asyncio.to_thread(remove, str(group.folder))
                    del self.groups[group.id.lower()]
                    return
            except Exception:
                log.exception("%s could not be removed yet", group.name)
                await asyncio.sleep(REMOVE_AGAIN)
