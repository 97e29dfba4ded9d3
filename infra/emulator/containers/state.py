"""Container groups, each in a folder of its own: the requested body, and the status that its supervisor writes."""

import asyncio
import fcntl
import json
import logging
import os
import signal
import subprocess
from pathlib import Path

from infra.emulator.containers.bodies import TYPE, Json, shown
from infra.emulator.containers.process import send

log = logging.getLogger(__name__)


class ContainerGroup:
    """One container group; `folder` holds all its files."""

    def __init__(self, folder: Path, subscription: str, resource_group: str, name: str, body: Json):
        self.folder, self.subscription, self.resource_group, self.name = folder, subscription, resource_group, name
        self.body = body
        self.wanted = "running"  # or stopped, or deleted
        self.pending = True  # accepted, but its supervisor does not run yet
        self.address: str | None = None  # its public one, from its first start on
        self.failure: list[Json] = []  # the event that says why its supervisor could not be started
        self.changing = asyncio.Lock()
        self.removal: asyncio.Task[None] | None = None
        self.process: subprocess.Popen[bytes] | None = None

    @staticmethod
    def id_of(subscription: str, resource_group: str, name: str) -> str:
        return f"/subscriptions/{subscription}/resourceGroups/{resource_group}/providers/{TYPE}/{name}"

    @property
    def id(self) -> str:
        return self.id_of(self.subscription, self.resource_group, self.name)

    @property
    def images(self) -> set[str]:
        """The names of the images of its containers."""
        properties = self.body["properties"]
        containers = [*properties["containers"], *(properties.get("initContainers") or [])]
        return {one["properties"]["image"] for one in containers}

    @property
    def public_ports(self) -> list[int]:
        """Its TCP ports that are open at its public address."""
        ports = (self.body["properties"].get("ipAddress") or {}).get("ports") or []
        return [one["port"] for one in ports if one.get("protocol", "TCP").upper() == "TCP"]

    @property
    def label(self) -> tuple[str | None, str]:
        """Its DNS name label (None without one) and the location in which the label must be unique."""
        address = self.body["properties"].get("ipAddress") or {}
        return address.get("dnsNameLabel"), self.body["location"].lower()

    def save(self) -> None:
        """Write it to its folder, readable by the owner only because it may hold secrets."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = self.folder / "group.json.new"
        names = {"subscription": self.subscription, "resource_group": self.resource_group, "name": self.name}
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump({**names, "wanted": self.wanted, "address": self.address, "body": self.body}, file)
        new.replace(self.folder / "group.json")

    @classmethod
    def load(cls, folder: Path) -> "ContainerGroup":
        kept = json.loads((folder / "group.json").read_text())
        group = cls(folder, kept["subscription"], kept["resource_group"], kept["name"], kept["body"])
        group.wanted, group.address, group.pending = kept["wanted"], kept.get("address"), False
        return group

    @property
    def alive(self) -> bool:
        """Whether its supervisor runs, which holds the lock until it ends. Not valid while the group is pending."""
        try:
            lock = os.open(self.folder / "lock", os.O_RDONLY)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(lock)
        if self.process:
            self.process.poll()
        return False

    def status(self) -> Json:
        """The status that its supervisor wrote last.

        When the supervisor was killed, its running containers are reported as terminated with exit code 137.
        """
        alive = (
            self.pending or self.alive
        )  # tested before reading: a supervisor that has ended has written its last status
        try:
            status = json.loads((self.folder / "status.json").read_text())
        except FileNotFoundError:
            return {"provisioned": False, "containers": {}}
        if not alive and not status["ended"]:
            status["provisioned"] = True
            for view in status["containers"].values():
                if view["currentState"]["state"] != "Terminated":
                    view["currentState"] |= {"state": "Terminated", "exitCode": 137, "detailStatus": "Error"}
        return status

    def provisioning_state(self, status: Json) -> str:
        if self.wanted == "deleted":
            return "Deleting"
        if self.failure:
            return "Failed"
        if self.wanted == "stopped" and not self.pending:
            return "Succeeded"
        return "Pending" if self.pending else "Succeeded" if status["provisioned"] else "Creating"

    def state(self, status: Json) -> str:
        """The state of the group as a whole."""
        if self.wanted == "stopped":
            return "Stopped"
        if self.failure:
            return "Failed"
        if self.pending or not status["provisioned"]:
            return "Pending"
        states = [view["currentState"] for view in status["containers"].values()]
        if any(state["state"] == "Running" for state in states):
            return "Running"
        if any(state.get("exitCode") for state in states):
            return "Failed"
        return "Succeeded" if all(state["state"] == "Terminated" for state in states) else "Waiting"

    def view(self, *, instance: bool = True) -> Json:
        """The resource in the JSON of the service; lists omit the instance views."""
        status = self.status()
        body = shown(self.body)
        properties = body["properties"]
        properties.setdefault("restartPolicy", "Always")
        properties.setdefault("sku", "Standard")
        properties["provisioningState"] = self.provisioning_state(status)
        if address := properties.get("ipAddress"):
            if self.address:
                address["ip"] = self.address
            if label := address.get("dnsNameLabel"):
                address["fqdn"] = f"{label}.{body['location']}.azurecontainer.io"
        if instance:
            properties["instanceView"] = {"events": self.failure, "state": self.state(status)}
            for container in [*properties["containers"], *(properties.get("initContainers") or [])]:
                if view := status["containers"].get(container["name"]):
                    container["properties"]["instanceView"] = view
        return {"id": self.id, "name": self.name, "type": TYPE, **body}

    def send(self, command: str) -> None:
        """Send a command to the supervisor; does nothing when no supervisor runs, or it is not ready yet."""
        try:
            pipe = os.open(self.folder / "control", os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            return
        os.write(pipe, command.encode())
        os.close(pipe)

    async def stop(self, seconds: float) -> None:
        """End its containers and wait until they have ended; after `seconds` the supervisor is killed with them."""
        deadline = asyncio.get_running_loop().time() + seconds
        while self.alive:
            self.send("stop\n")
            await asyncio.sleep(0.02)
            if asyncio.get_running_loop().time() > deadline:
                log.warning("the supervisor of %s does not end and is killed", self.name)
                send(int((self.folder / "lock").read_text()), signal.SIGKILL)
                deadline += 1

    @property
    def started(self) -> bool:
        """Whether a supervisor has written a status."""
        return (self.folder / "status.json").exists()
