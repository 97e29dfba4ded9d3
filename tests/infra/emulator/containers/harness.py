"""The emulator as a process, and a client of it through the vendor's SDK."""

import asyncio
import functools
import itertools
import shutil
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import aiohttp
import pytest
from azure.core.credentials import AccessToken, AzureKeyCredential
from azure.core.pipeline.policies import AzureKeyCredentialPolicy
from azure.mgmt.containerinstance.aio import ContainerInstanceManagementClient
from azure.mgmt.containerinstance.models import (
    AzureFileVolume,
    Container,
    ContainerGroup,
    ContainerPropertiesInstanceView,
    ContainerState,
    EnvironmentVariable,
    ResourceRequests,
    ResourceRequirements,
)
from azure.mgmt.storage.aio import StorageManagementClient
from azure.mgmt.storage.models import FileShare, FileShareProperties

from infra.emulator.processes import Child, free_ports, listening, python

IMAGES = {
    "test/shell:1": {"entrypoint": ["/bin/sh", "-c", "echo the entry point"]},
    "test/limited:1": {"entrypoint": ["/bin/sh"], "limits": {"CPU": 1, "FSIZE": 1_000_000, "NOFILE": 20}},
}
TOKEN = "the-token-of-the-tests"
SUBSCRIPTION = "00000000-0000-0000-0000-000000000001"
T = TypeVar("T")
# Whether they work here is not asked: where they are installed and do not work, tests must fail.
sandboxed = pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed")
connected = pytest.mark.skipif(shutil.which("slirp4netns") is None, reason="slirp4netns is not installed")
names = (f"group-{number}" for number in itertools.count())


class EmulatorProcess:
    """The emulator as a process, which can be ended and started again with the same state."""

    def __init__(self, state: Path, images: Path, *options: str, environment: dict[str, str] | None = None):
        self.state, self.images, self.options, self.environment = state, images, options, environment
        self.port = free_ports(1)[0]
        self.log = state.parent / "service.log"

    async def start(self) -> None:
        options = ["--port", str(self.port), "--state", str(self.state), "--images", str(self.images)]
        command = python("infra.emulator.containers", *options, "--restart-delay", "0.1", "--grace", "1", *self.options)
        environment = {"SECRET_OF_THE_MACHINE": "leak", "CONTAINERS_TOKEN": TOKEN, **(self.environment or {})}
        self.child = Child("containers", command, log=self.log, env=environment)
        await self.child.start(functools.partial(listening, self.port))

    async def stop(self) -> None:
        await self.child.stop()

    async def kill(self) -> None:
        await self.child.kill()


class Groups:
    """The container groups of one emulator: the SDK's client, and short methods for frequent calls."""

    def __init__(self, port: int):
        self.url = f"http://127.0.0.1:{port}"
        # The SDK's own policy sends tokens over https only.
        policy: Any = AzureKeyCredentialPolicy(AzureKeyCredential(TOKEN), "Authorization", prefix="Bearer")
        self.client = ContainerInstanceManagementClient(
            NoCredential(), SUBSCRIPTION, base_url=self.url, authentication_policy=policy
        )
        self.sdk = self.client.container_groups
        self.storage: Any = StorageManagementClient(
            cast(Any, NoCredential()), SUBSCRIPTION, base_url=self.url, authentication_policy=policy
        )

    async def __aenter__(self) -> "Groups":
        self.http = aiohttp.ClientSession(self.url, headers={"Authorization": f"Bearer {TOKEN}"})
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.close()
        await self.storage.close()
        await self.http.close()

    async def create(self, group: ContainerGroup, name: str = "", resource_group: str = "tests") -> str:
        """Create a group and wait until it is provisioned; returns its name."""
        name = name or next(names)
        await (await self.sdk.begin_create_or_update(resource_group, name, group)).result()
        return name

    async def run(self, *command: str, **options: Any) -> str:
        """Create a group of one container with this command, and wait for its end; returns the name of the group."""
        name = await self.create(group(container(*command, **options)))
        await self.ended(name)
        return name

    async def get(self, name: str, resource_group: str = "tests") -> ContainerGroup:
        return await self.sdk.get(resource_group, name)

    async def state(self, name: str) -> str:
        view = (await self.get(name)).instance_view
        assert view and view.state
        return view.state

    async def view(self, name: str, container: str = "main") -> ContainerPropertiesInstanceView:
        for one in [*(await self.get(name)).containers, *((await self.get(name)).init_containers or [])]:
            if one.name == container:
                return cast(ContainerPropertiesInstanceView, one.instance_view)
        raise AssertionError(f"{name} has no container {container}")

    async def last(self, name: str, container: str = "main") -> ContainerState:
        state = (await self.view(name, container)).current_state
        assert state
        return state

    async def ended(self, name: str, seconds: float = 20) -> str:
        """Wait until all containers have ended and are not restarted; returns the state of the group."""
        return await eventually(lambda: self.state(name), lambda state: state in ("Succeeded", "Failed"), seconds)

    async def logs(self, name: str, container: str = "main", **options: Any) -> str:
        return (await self.client.containers.list_logs("tests", name, container, **options)).content or ""

    async def said(self, name: str, text: str, container: str = "main") -> str:
        """Wait until the log of the container contains this text; returns the log."""
        return await eventually(lambda: self.logs(name, container), lambda log: text in log)

    async def delete(self, name: str) -> None:
        await (await self.sdk.begin_delete("tests", name)).wait()

    async def share(self, name: str, account: str = "files", **properties: Any) -> AzureFileVolume:
        """Create a file share, or change it; returns the volume with which a group mounts it."""
        body = FileShare(file_share_properties=FileShareProperties(**properties))
        await self.storage.file_shares.create("tests", account, name, body)
        key, _ = (await self.storage.storage_accounts.list_keys("tests", account)).keys_property
        return AzureFileVolume(share_name=name, storage_account_name=account, storage_account_key=key.value)

    async def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Call an operation of the management API by its path; returns status and body."""
        async with self.http.request(method, path, params={"api-version": "2023-05-01"}, json=body) as answer:
            return answer.status, await answer.json(content_type=None)


class NoCredential:
    async def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        raise AssertionError("no token is asked for")

    async def close(self) -> None: ...

    async def __aenter__(self) -> "NoCredential":
        return self

    async def __aexit__(self, *_: Any, **__: Any) -> None: ...


def container(
    *command: str, name: str = "main", image: str = "test/shell:1", memory: float = 1, **more: Any
) -> Container:
    """A container that runs one line of shell, a command of several words, or the entry point of its image."""
    words = ["/bin/sh", "-c", *command] if len(command) == 1 else list(command) or None
    secure = more.pop("secure", {})
    variables = [
        *(EnvironmentVariable(name=key, value=value) for key, value in more.pop("environment", {}).items()),
        *(EnvironmentVariable(name=key, secure_value=value) for key, value in secure.items()),
    ]
    return Container(
        name=name,
        image=image,
        command=words,
        environment_variables=variables,
        resources=ResourceRequirements(requests=ResourceRequests(cpu=1, memory_in_gb=memory)),
        **more,
    )


def group(*containers: Container, policy: str = "Never", **more: Any) -> ContainerGroup:
    return ContainerGroup(
        location="westeurope", os_type="Linux", restart_policy=policy, containers=list(containers), **more
    )


async def eventually(look: Callable[[], Awaitable[T]], enough: Callable[[T], bool], seconds: float = 20) -> T:
    """Call `look` until `enough` accepts its result, and return that; AssertionError after `seconds`."""
    deadline = time.monotonic() + seconds
    while not enough(seen := await look()):
        assert time.monotonic() < deadline, seen
        await asyncio.sleep(0.02)
    return seen


async def processes(command: str) -> list[Path]:
    """The /proc folders of the processes with this command line."""
    found: list[Path] = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes()
        except OSError:  # it ended meanwhile
            continue
        if words.rstrip(b"\0").replace(b"\0", b" ") == command.encode():
            found.append(folder)
    return found
